"""Mooncake's traces as JSON lines: timestamp (ms since the trace began), input_length, output_length, hash_ids.

`hash_ids` name the prompt's blocks of 512 tokens, each id standing for the block and all before it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tasks.workload.formats.adapter import Broken, Drop, Line, Row
from tasks.workload.formats.calls import UNNAMED
from tasks.workload.formats.fields import moment_ns, tokens
from tasks.workload.formats.table import rows, sample

FIELDS = frozenset({"timestamp", "input_length", "output_length", "hash_ids"})
NEEDED = FIELDS - {"hash_ids"}
BLOCK_TOKENS = 512


class Mooncake:
    """Adapter of kvcache-ai/Mooncake's trace files."""

    name = "mooncake"
    arrival_basis = "timestamp (milliseconds since the trace began)"
    block_tokens = BLOCK_TOKENS

    def recognises(self, head: Sequence[bytes]) -> bool:
        found = sample(head)
        return bool(found) and all(is_mooncakes(record) for record in found)

    def read(self, lines: Iterable[Line]) -> Iterator[Row | Drop]:
        return rows(lines, _row)


def is_mooncakes(record: Mapping[str, Any]) -> bool:
    """It has no field but Mooncake's own."""
    return NEEDED <= record.keys() <= FIELDS


def _row(number: int, record: dict[str, Any]) -> Row:
    start_ns = moment_ns(record.get("timestamp"), "timestamp", "ms")
    if start_ns is None:
        raise Broken("no timestamp")
    return Row(
        line=number,
        start_ns=start_ns,
        model=UNNAMED,
        input_tokens=tokens(record, "input_length"),
        output_tokens=tokens(record, "output_length"),
        prefix_blocks=blocks(record.get("hash_ids")),
    )


def blocks(value: Any) -> list[int] | None:
    """The ids of a prompt's blocks. Raises Broken."""
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(b, int) and not isinstance(b, bool) and b >= 0 for b in value):
        raise Broken("hash_ids is not a list of whole numbers")
    return value
