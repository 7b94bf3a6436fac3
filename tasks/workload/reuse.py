"""How much of the prompts a cache of prefixes could have answered, where the log says which blocks they begin with."""

from dataclasses import dataclass

import numpy as np
import polars as pl


@dataclass(frozen=True, slots=True)
class PrefixReuse:
    """`known`: requests whose blocks the log tells. A block is shared when an earlier request began with it too; blocks
    are chained, so an equal number means an equal prompt up to there."""

    known: int
    requests_sharing: float  # share of the known ones whose first block was there before
    blocks: int
    blocks_shared: float  # share of all blocks: what a prefix cache without end could have kept
    block_tokens: int | None


def prefix_reuse(frame: pl.DataFrame, block_tokens: int | None) -> PrefixReuse | None:
    """Of a workload's rows, in the order of time; None where no request tells its blocks."""
    rows = frame.select("prefix_blocks").with_row_index("row").drop_nulls()
    blocks = rows.explode("prefix_blocks").drop_nulls()
    if blocks.is_empty():
        return None
    numbers, of_row = blocks["prefix_blocks"].to_numpy(), blocks["row"].to_numpy()
    _, first, inverse = np.unique(numbers, return_index=True, return_inverse=True)
    shared = of_row > of_row[first][inverse]
    opens = np.flatnonzero(np.diff(of_row, prepend=-1) != 0)
    return PrefixReuse(
        known=rows.height,
        requests_sharing=float(shared[opens].sum() / rows.height),
        blocks=len(numbers),
        blocks_shared=float(shared.mean()),
        block_tokens=block_tokens,
    )
