"""What applying something to a server did."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Change:
    what: str
    how: str  # created | changed | unchanged | removed | left out
    fields: tuple[str, ...] = ()  # of what was changed, which; of what was left out, why
