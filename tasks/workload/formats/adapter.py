"""The seam between a gateway's log and a workload: what an adapter is given, and what it must give back."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

Line = tuple[int, bytes]  # number in its file, counted from 1; content without the line end
BLANK = "blank line"  # the reason of a Drop that says nothing of the format


class Row(NamedTuple):
    """One request as a log tells it, before redaction. Nanoseconds since the epoch, UTC. Absence is None."""

    line: int
    call_id: str | None  # rows of one call (retries, fallbacks) share it and become one arrival
    start_ns: int
    end_ns: int | None
    first_token_ns: int | None
    model: str
    input_tokens: int | None
    output_tokens: int | None
    max_output_tokens: int | None
    stream: bool | None
    session: str | None
    user: str | None
    failure: str | None
    cache_hit: bool | None
    messages: Any  # as logged; dropped unless the privacy level is "text"


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
    """One log format. `read` gives exactly one Row or Drop for each record it meets, and never raises."""

    name: str
    arrival_basis: str  # which stamp the arrival is taken from, with its unit and time zone

    def recognises(self, head: Sequence[bytes]) -> bool:
        """Do these first lines of a file look like this format?"""

    def read(self, lines: Iterable[Line]) -> Iterator[Row | Drop]:
        """Every record of one file, in the order of the file."""
