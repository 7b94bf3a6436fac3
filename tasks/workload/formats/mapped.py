"""Any table (CSV, JSON lines, Parquet) whose columns the user names: `offset=ts:ms,model=deployment`."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from storage.errors import UsageError
from tasks.workload.formats.adapter import Broken, Drop, Line, Row
from tasks.workload.formats.fields import cap, flag, moment_ns, plain, span_ns, text, tokens
from tasks.workload.formats.table import rows, sample
from tasks.workload.secrets import secret_in

ARRIVAL = ("offset", "time")  # of which one must be named
STAMPS = {"offset": "s", "time": "auto", "end": "auto"}  # each with its unit if the user names none
SPANS = {"duration": "s", "first_token": "s"}
OTHERS = (
    "model",
    "input_tokens",
    "output_tokens",
    "max_output_tokens",
    "stream",
    "session",
    "user",
    "call_id",
    "status",
    "cache_hit",
    "messages",
)
UNITS = ("s", "ms", "us", "ns")
PAIR = re.compile(r"\s*([a-z_]+)\s*=\s*(.*?)\s*", re.DOTALL)
FINE = frozenset({"ok", "success", "succeeded", "completed", "true"})
LEAST_ERROR = 400
SHOWN = re.compile(r"[A-Za-z_][A-Za-z0-9_.:/ -]{0,39}")
UNNAMED = "unknown"


@dataclass(frozen=True, slots=True)
class Column:
    """`path` is its name, or its parts where the name leads into objects (`usage.prompt_tokens`)."""

    name: str
    unit: str


@dataclass(frozen=True, slots=True)
class Mapped:
    """Adapter of the table that a mapping describes. `offset` is a time since the beginning, or since the epoch, as
    `time` is; without `model` every request asks the same one."""

    columns: Mapping[str, Column]
    name: str = "table"

    @property
    def arrival_basis(self) -> str:
        field = "offset" if "offset" in self.columns else "time"
        column = self.columns[field]
        unit = {"auto": "unit told by its size", "iso": "ISO 8601"}.get(column.unit, column.unit)
        return f"column {column.name} ({unit}, UTC where no zone is written)"

    def recognises(self, head: Sequence[bytes]) -> bool:
        return bool(sample(head))

    def check(self, head: Sequence[bytes], where: str) -> None:
        """Raises UsageError where a column is not there, and names those that are."""
        found = sample(head)
        lost = [c.name for c in self.columns.values() if not any(_has(record, c.name) for record in found)]
        if lost and found:
            there = dict.fromkeys(name for record in found for name in record)
            shown = ", ".join(name for name in there if SHOWN.fullmatch(name) and not secret_in(name))
            raise UsageError(f"{where} has no column {', '.join(lost)}; it has {shown or 'none with a plain name'}")

    def read(self, lines: Iterable[Line]) -> Iterator[Row | Drop]:
        return rows(lines, partial(_row, self.columns))


def mapped(mapping: str) -> Mapped:
    """The adapter of `field=column[:unit],…`. Raises UsageError."""
    columns: dict[str, Column] = {}
    for pair in mapping.split(","):
        found = PAIR.fullmatch(pair)
        if not found or not found[2]:
            raise UsageError(f"cannot read {pair.strip()!r} in --map; write FIELD=COLUMN or FIELD=COLUMN:UNIT")
        field, column = found.groups()
        if field not in {*STAMPS, *SPANS, *OTHERS}:
            known = ", ".join([*STAMPS, *SPANS, *OTHERS])
            raise UsageError(f"--map names the field {field!r}; known are {known}")
        if field in columns:
            raise UsageError(f"--map names the field {field!r} twice")
        columns[field] = _column(field, column)
    if len([field for field in ARRIVAL if field in columns]) != 1:
        raise UsageError("--map needs the arrival: offset=COLUMN[:s|ms|us|ns] or time=COLUMN[:iso|s|ms|us|ns]")
    return Mapped(columns)


def _column(field: str, column: str) -> Column:
    name, colon, unit = column.rpartition(":")
    if colon and unit in {*UNITS, "iso", "auto"}:
        if field not in STAMPS and (field not in SPANS or unit not in UNITS):
            raise UsageError(f"--map: {field} takes no unit {unit!r}")
        return Column(name, unit)
    return Column(column, STAMPS.get(field) or SPANS.get(field) or "")


def _has(record: Mapping[str, Any], name: str) -> bool:
    if name in record:
        return True
    first, dot, rest = name.partition(".")
    inner = record.get(first)
    return bool(dot) and isinstance(inner, dict) and _has(inner, rest)


def _value(record: Mapping[str, Any], name: str) -> Any:
    if name in record:
        return record[name]
    first, dot, rest = name.partition(".")
    inner = record.get(first)
    return _value(inner, rest) if dot and isinstance(inner, dict) else None


def _row(columns: Mapping[str, Column], line: int, record: dict[str, Any]) -> Row:
    value = {field: _value(record, column.name) for field, column in columns.items()}
    arrival = "offset" if "offset" in columns else "time"
    start_ns = _stamp(columns, value, arrival)
    if start_ns is None:
        raise Broken(f"no {arrival}")
    failure = _failure(value.get("status"))
    wait_ns = _span(columns, value, "first_token")
    return Row(
        line=line,
        call_id=text(value.get("call_id")),
        start_ns=start_ns,
        end_ns=_end(columns, value, start_ns),
        first_token_ns=None if wait_ns is None else start_ns + wait_ns,
        model=_model(columns, value),
        input_tokens=tokens(value, "input_tokens"),
        output_tokens=None if failure else tokens(value, "output_tokens"),
        max_output_tokens=cap(value, "max_output_tokens"),
        stream=flag(value.get("stream")),
        session=text(value.get("session")),
        user=text(value.get("user")),
        failure=failure,
        cache_hit=flag(value.get("cache_hit")),
        messages=value.get("messages"),
    )


def _model(columns: Mapping[str, Column], value: Mapping[str, Any]) -> str:
    if "model" not in columns:
        return UNNAMED
    model = text(value["model"])
    if model is None:
        raise Broken("no model")
    return model


def _stamp(columns: Mapping[str, Column], value: Mapping[str, Any], field: str) -> int | None:
    return moment_ns(value[field], field, columns[field].unit) if field in columns else None


def _span(columns: Mapping[str, Column], value: Mapping[str, Any], field: str) -> int | None:
    return span_ns(value[field], field, columns[field].unit) if field in columns else None


def _end(columns: Mapping[str, Column], value: Mapping[str, Any], start_ns: int) -> int | None:
    lasted_ns = _span(columns, value, "duration")
    if lasted_ns is not None:
        return start_ns + lasted_ns
    end_ns = _stamp(columns, value, "end")
    return end_ns if end_ns is not None and end_ns >= start_ns else None


def _failure(status: Any) -> str | None:
    """An HTTP status from 400 on, or a word that is none of success."""
    found = text(status)
    if found is None or found.lower() in FINE:
        return None
    if found.isdigit():
        return found if int(found) >= LEAST_ERROR else None
    return plain(found) or "failure"
