"""The seam between a gateway's log and a workload: what an adapter is given, and what it must give back.

An adapter is given numbered lines, whatever the file was: gzip and zstd are unpacked, and a Parquet file arrives as one
JSON object a line. `fields` reads single values, `table` reads lines as records (JSON lines, a JSON document, CSV):
most adapters are a function from a dict of fields to a Row, given to `table.rows`. A new one joins `detect`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

Line = tuple[int, bytes]  # number in its file, counted from 1; content without the line end
BLANK = "blank line"  # the reason of a Drop that says nothing of the format
R = TypeVar("R")
T = TypeVar("T")


class Row(NamedTuple):
    """One request as a log tells it, before redaction. What a log never tells is left out, and None.

    Nanoseconds since the epoch, UTC; or, in a trace without a date, since its beginning (both may not be mixed).
    """

    line: int
    start_ns: int
    model: str
    input_tokens: int | None
    output_tokens: int | None
    call_id: str | None = None  # rows of one call (retries, fallbacks) share it and become one arrival
    end_ns: int | None = None
    first_token_ns: int | None = None
    max_output_tokens: int | None = None
    stream: bool | None = None
    session: str | None = None
    user: str | None = None
    failure: str | None = None  # a code or a class name, never prose
    cache_hit: bool | None = None
    messages: Any = None  # as logged; dropped unless the privacy level is "text"
    # Ids of the prompt's blocks, numbered within this source from 0 as they are first met, chained: equal ids mean that
    # the prompts are equal up to the end of that block. Given only where a log has such ids; kept at every privacy.
    prefix_blocks: Sequence[int] | None = None
    approximate: bool = False  # the token counts are guessed, from bytes for instance


class Drop(NamedTuple):
    """One row that is not kept, and why. `broken`: it could not be read, so it goes to the rejects as well.

    The reason is written to files: it never quotes the line.
    """

    line: int
    reason: str
    broken: bool


class Broken(ValueError):
    """Raised inside an adapter by a field that cannot be read; its text becomes the reason of a Drop."""


class Adapter(Protocol):
    """One log format. `read` gives exactly one Row or Drop for each record it meets, and never raises.

    One whose rows carry `prefix_blocks` says in `block_tokens` how many tokens a block holds.
    """

    @property
    def name(self) -> str:
        """What `--format` calls it."""

    @property
    def arrival_basis(self) -> str:
        """Which stamp the arrival is taken from, with its unit and time zone."""

    def recognises(self, head: Sequence[bytes]) -> bool:
        """Do these first lines of a file look like this format? Never raises."""

    def read(self, lines: Iterable[Line]) -> Iterator[Row | Drop]:
        """Every record of one file, in the order of the file."""


def row_or_drop(line: int, record: R, make: Callable[[int, R], T]) -> T | Drop:
    """What `make` gives, or a Drop with what it found Broken."""
    try:
        return make(line, record)
    except Broken as broken:
        return Drop(line, str(broken), broken=True)
