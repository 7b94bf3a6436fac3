"""Logs -> workload: read, redact, merge in time, one arrival a call, every row accounted for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from storage.errors import NothingMeasured, UsageError
from tasks.workload import twice
from tasks.workload.formats.adapter import Drop
from tasks.workload.formats.mapped import mapped
from tasks.workload.ledger import Ledger, Reject
from tasks.workload.prefixes import BLOCK_TOKENS
from tasks.workload.reading import STAGED, Reading, Skipped
from tasks.workload.redact import check_level, harmless, refuse_secrets, salt_id
from tasks.workload.sources import expand
from tasks.workload.steps import resolution
from tasks.workload.steps import spread as spread_out
from tasks.workload.trace import SCHEMA, Header, Workload, of_frame

COARSE_NS = 100_000_000  # a resolution from here on makes volleys of what was spread
NEVER_WRITTEN = ("call_id",)
DATED_NS = 946_684_800 * 10**9  # the year 2000: a stamp before it counts from the beginning of a trace


@dataclass(frozen=True, slots=True)
class Captured:
    """`rejects`: the rows that could not be read, at most 100,000 of them; `ledger` counts every row. `notes`: what
    else is to be known, in sentences."""

    workload: Workload
    ledger: Ledger
    rejects: tuple[Reject, ...]
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()


def capture(
    sources: Sequence[str | Path],
    *,
    format: str = "auto",
    privacy: str = "counts",
    salt: bytes | None = None,
    name: str | None = None,
    mapping: str | None = None,
    spread_seed: int | None = None,
) -> Captured:
    """Read logs (files, folders, globs; plain, gzip, zstd or Parquet), merged in time, into one workload.

    `mapping` names the columns of a table (`formats.mapped`) instead of a format. With `spread_seed`, arrivals are laid
    out within the step that their stamps were rounded to. Nothing is written. Raises UsageError (no such file, unknown
    format, a secret in what would be kept) and NothingMeasured (no request in the logs).
    """
    check_level(privacy, salt)
    table = None if mapping is None else mapped(mapping)
    if table is not None and format != "auto":
        raise UsageError(f"--map reads any table, --format {format} a format of its own: give one of the two")
    files = expand(sources)
    reading = Reading(privacy, salt)
    for index, path in enumerate(files):
        reading.file(index, path, format, table)
    staged = reading.frame()
    _refuse_nothing(reading, staged.height, files)
    staged = _one_clock_a_file(reading, staged, files)
    _refuse_two_clocks(staged, files)
    refuse_secrets(_texts(staged, files))
    merged = _one_row_a_call(staged)
    reading.dropped["duplicate call id"] += staged.height - merged.height
    ledger = Ledger.of(reading.read, merged.height, reading.dropped)
    step_ns = resolution(merged["start_ns"].to_numpy())
    if spread_seed is not None and step_ns is not None:
        merged = _spread(merged, step_ns, spread_seed)
    notes = (*twice.notes(merged, reading.formats, reading.sources), *_notes(reading, step_ns, spread_seed))
    notes = (*notes, *_unsaid(merged))
    header = _header(reading, merged, ledger, name or harmless(_name(sources, files), "workload"))
    if spread_seed is not None and step_ns is not None:
        header = replace(header, derived=(f"spread within {_in_words(step_ns)}, seed {spread_seed}",))
    return Captured(of_frame(_arrivals(merged), header), ledger, tuple(reading.rejects), tuple(reading.skipped), notes)


def _name(sources: Sequence[str | Path], files: Sequence[Path]) -> str:
    """The folder's, where one was named; else the first file's, without its endings."""
    one = Path(sources[0]) if len(sources) == 1 else files[0]
    return one.resolve().name if one.is_dir() else files[0].name.split(".")[0]


def _refuse_nothing(reading: Reading, kept: int, files: Sequence[Path]) -> None:
    """Raises UsageError where nothing could be read, NothingMeasured where no request was in it."""
    where = ", ".join(str(path) for path in files)
    if kept:
        return
    if reading.skipped and not reading.recognised:
        more = len(reading.skipped) - 1
        raise UsageError(reading.skipped[0].why + (f"; nor could {more} more files be read" if more else ""))
    if reading.rejects and reading.recognised == 0:
        first = reading.rejects[0]
        formats = ", ".join(reading.adapters)
        raise UsageError(f"{where}: no row can be read as {formats}; {first.source}: line {first.line}: {first.reason}")
    if not reading.read:
        raise NothingMeasured(f"{where}: empty, there is nothing to capture")
    raise NothingMeasured(f"{where}: no chat request in it: {Ledger.of(reading.read, 0, reading.dropped).in_words()}")


def _one_clock_a_file(reading: Reading, staged: pl.DataFrame, files: Sequence[Path]) -> pl.DataFrame:
    """A row whose stamp has no date where most rows of its file have one, or the other way round, is broken."""
    dated = pl.col("start_ns") >= DATED_NS
    odd = dated != (dated.mean().over("source") >= 0.5)
    for source, line in staged.filter(odd).select("source", "line").iter_rows():
        reading.lose(str(files[source]), Drop(line, "a time of another clock than the rest of its file", broken=True))
    return staged.filter(~odd)


def _refuse_two_clocks(staged: pl.DataFrame, files: Sequence[Path]) -> None:
    """Raises UsageError where some stamps have a date and some count from the beginning of a trace."""
    dated = staged.group_by(pl.col("start_ns") >= DATED_NS).agg(pl.col("source").min()).sort("start_ns")
    if dated.height == 2:
        without, having = (files[index] for index in dated["source"])
        raise UsageError(
            f"{without} counts time from its beginning and {having} has dates: they cannot be merged in time; "
            "capture them apart"
        )


def _texts(staged: pl.DataFrame, files: Sequence[Path]) -> Iterator[tuple[str, str]]:
    """Every text that may be written, each once, with the line it first stands in."""
    for name, dtype in STAGED.items():
        if dtype == pl.String and name not in NEVER_WRITTEN:
            for source, line, text in (
                staged.select("source", "line", name)
                .drop_nulls()
                .unique(name, keep="first", maintain_order=True)
                .iter_rows()
            ):
                yield f"{files[source]}: line {line}: {name}", text


def _spread(merged: pl.DataFrame, step_ns: int, seed: int) -> pl.DataFrame:
    """Every stamp of a row moves along with its start."""
    ordered = merged.sort("start_ns", "source", "line")
    moved = pl.Series("moved", spread_out(ordered["start_ns"].to_numpy(), step_ns, seed))
    by = moved - ordered["start_ns"]
    return ordered.with_columns(moved.alias("start_ns"), pl.col("end_ns") + by, pl.col("first_token_ns") + by)


def _notes(reading: Reading, step_ns: int | None, seed: int | None) -> Iterator[str]:
    """What the ledger does not tell, a sentence each."""
    for skipped in reading.skipped:
        yield f"left aside: {skipped.why}"
    if reading.unordered:
        stood = "1 row stood" if reading.unordered == 1 else f"{reading.unordered:,} rows stood"
        yield f"{stood} out of order in the file; all are sorted in time"
    if step_ns is not None and step_ns >= COARSE_NS:
        step = _in_words(step_ns)
        yield (
            f"arrivals were stamped in steps of {step}; they are spread out within them, seed {seed}"
            if seed is not None
            else f"arrivals are stamped in steps of {step}: replayed as they are they come in volleys; "
            "--spread lays them out within each step"
        )
    if reading.labels:
        yield f"{len(reading.labels):,} names of models do not look like one; they are kept as model-1 and so on"
    for adapter in sorted(reading.adapters.values(), key=lambda adapter: adapter.name):
        yield f"arrivals of {adapter.name}: {adapter.arrival_basis}"


def _unsaid(merged: pl.DataFrame) -> Iterator[str]:
    """What the logs do not tell of the requests themselves, a sentence each."""
    if guessed := merged["approximate"].sum():
        yield f"token counts of {guessed:,} of {merged.height:,} requests are guessed from bytes: their log counts none"
    if _token_basis(merged) == "unknown":
        yield "no log tells how many tokens a request had, or bytes to guess them from"
    if unknown := merged["stream"].null_count():
        yield f"no log tells of {unknown:,} requests whether they were streamed; they count as not streamed"


def _in_words(step_ns: int) -> str:
    return f"{step_ns / 1e9:g} s" if step_ns >= 10**9 else f"{step_ns / 1e6:g} ms"


def _one_row_a_call(staged: pl.DataFrame) -> pl.DataFrame:
    """Rows that share a call id are retries and fallbacks of one request: its earliest start, the group that was asked
    (that of the attempt that failed first; a fallback may carry an earlier stamp), and the outcome of the success, or
    of the last failure where there is none."""
    twice = pl.col("call_id").is_not_null() & pl.col("call_id").is_duplicated()
    several = staged.filter(twice)
    if several.is_empty():
        return staged
    ok, end = pl.col("failure").is_null(), pl.col("end_ns").fill_null(pl.col("start_ns"))
    asked = [ok, end, pl.col("source"), pl.col("line")]
    outcome = [~ok, -end, pl.col("source"), pl.col("line")]

    def first(name: str, order: list[pl.Expr], *, skip_nulls: bool = False) -> pl.Expr:
        column = pl.col(name).sort_by(order)
        return (column.drop_nulls() if skip_nulls else column).first()

    merged = several.group_by("call_id").agg(
        pl.col("start_ns").min(),
        *(first(name, outcome) for name in ("source", "line", "end_ns", "first_token_ns", "output_tokens")),
        *(first(name, outcome) for name in ("failure", "cache_hit", "approximate")),
        first("model", asked),
        first("input_tokens", outcome, skip_nulls=True),
        *(
            first(name, asked, skip_nulls=True)
            for name in ("max_output_tokens", "stream", "session", "user", "messages", "prefix_blocks")
        ),
    )
    return pl.concat([staged.filter(~twice), merged.select(*STAGED)])


def _arrivals(merged: pl.DataFrame) -> pl.DataFrame:
    """Stamps become offsets from the first arrival; a stream flag nobody logged is False."""
    return merged.select(
        (pl.col("start_ns") - pl.col("start_ns").min()).alias("offset_ns"),
        "model",
        "input_tokens",
        "output_tokens",
        "max_output_tokens",
        pl.col("stream").fill_null(False),
        "session",
        "user",
        (pl.col("first_token_ns") - pl.col("start_ns")).alias("first_token_ns"),
        (pl.col("end_ns") - pl.col("start_ns")).alias("duration_ns"),
        "failure",
        "cache_hit",
        "messages",
        "prefix_blocks",
    ).select(*SCHEMA)


def _header(reading: Reading, merged: pl.DataFrame, ledger: Ledger, name: str) -> Header:
    start_ns = merged["start_ns"].to_numpy()
    first_ns = int(start_ns.min())
    seconds, rest = divmod(first_ns // 1000, 1_000_000)
    return Header(
        name=name,
        formats=tuple(sorted(reading.adapters)),
        sources=tuple(sorted(reading.sources, key=lambda source: (source.name, source.sha256))),
        arrival_basis="; ".join(sorted(adapter.arrival_basis for adapter in reading.adapters.values())),
        tokens=_token_basis(merged),
        block_tokens=_block_tokens(reading, merged),
        resolution_ns=resolution(start_ns),
        started_at=None
        if first_ns < DATED_NS
        else datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest).isoformat(),
        privacy=reading.privacy,
        salt_id=None if reading.salt is None or reading.privacy == "counts" else salt_id(reading.salt),
        ledger=ledger,
    )


def _token_basis(merged: pl.DataFrame) -> str:
    """`Header.tokens` of these rows."""
    if merged.select(pl.all_horizontal(pl.col("input_tokens", "output_tokens").is_null()).all()).item():
        return "unknown"
    return "approximate" if merged["approximate"].any() else "exact"


def _block_tokens(reading: Reading, merged: pl.DataFrame) -> int | None:
    """Raises UsageError where blocks of two sizes would stand in one workload."""
    if merged["prefix_blocks"].null_count() == merged.height:
        return None
    sizes = {getattr(adapter, "block_tokens", None) for adapter in reading.adapters.values()} - {None}
    sizes |= {BLOCK_TOKENS} if reading.own_blocks else set()
    if len(sizes) > 1:
        raise UsageError(f"the logs have prefix blocks of {' and '.join(map(str, sizes))} tokens; capture them apart")
    return next(iter(sizes), None)
