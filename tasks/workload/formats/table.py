"""Lines as records: JSON lines, one JSON document over many lines, or CSV with a header. A broken record is dropped
with its line and never stops the rest."""

import csv
import io
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, islice
from typing import Any, NamedTuple

import orjson

from tasks.workload.formats.adapter import BLANK, Broken, Drop, Line, Row, row_or_drop

SAMPLE = 20
PEEKED = 20  # lines, to tell what kind of table it is
DOCUMENT_STARTS = (b"[", b"{", b"[{")  # a first line that holds no more than this opens a document of many lines
LONGEST_DOCUMENT = 512 * 1024 * 1024
LONGEST_QUOTE = 1000  # lines in one quoted cell; a quote that is not closed by then is a broken line
DELIMITERS = (",", "\t", ";", "|")
NO_TABLE = "neither JSON nor CSV with a header"
LISTS = ("data", "records", "results", "items", "logs", "rows")  # where an export keeps its list of records


class Record(NamedTuple):
    line: int
    value: dict[str, Any]


def rows(lines: Iterable[Line], make: Callable[[int, dict[str, Any]], Row | Drop]) -> Iterator[Row | Drop]:
    """One Row or Drop for each record; `make` is given its line and its fields, and may raise Broken."""
    for record in records(lines):
        yield record if isinstance(record, Drop) else row_or_drop(record.line, record.value, make)


def records(lines: Iterable[Line]) -> Iterator[Record | Drop]:
    """Every record of a file, as its fields by name. An empty CSV cell is None."""
    lines = iter(lines)
    first = list(islice(lines, PEEKED))
    everything = chain(first, lines)
    said = [line.strip() for _, line in first if line.strip()]
    if not said:
        yield from of_json_lines(everything)
    elif said[0] in DOCUMENT_STARTS and not _is_object(said[1] if len(said) > 1 else b""):
        yield from _document(everything)
    elif said[0][:1] in (b"{", b"[") or 2 * sum(_is_object(line) for line in said) >= len(said):
        yield from of_json_lines(everything)
    else:
        yield from _of_csv(everything)


def columns(head: Sequence[bytes]) -> set[str]:
    """The names in the first line of a CSV with commas and nothing quoted, to recognise a trace by."""
    first = next((line for line in head if line.strip()), b"")
    return {name.strip() for name in first.decode("utf-8", "replace").split(",")}


def sample(head: Sequence[bytes]) -> list[dict[str, Any]]:
    """The first records among these lines, to recognise a format by; none where they are no table."""
    said = [line.strip() for line in islice(head, PEEKED) if line.strip()]
    if said and said[0] in DOCUMENT_STARTS and not _is_object(said[1] if len(said) > 1 else b""):
        return _first_of_document(b"\n".join(head))
    found = (record.value for record in records(enumerate(head, 1)) if isinstance(record, Record))
    return list(islice(found, SAMPLE))


def of_json_lines(lines: Iterable[Line]) -> Iterator[Record | Drop]:
    """A line holds an object, or a list of objects. It may be an element of one long list: then it ends in a comma."""
    for number, line in lines:
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError:
            stripped = line.strip()
            if not stripped:
                yield Drop(number, BLANK, broken=False)
            elif stripped in (b"[", b"]"):
                yield Drop(number, "a bracket around the list", broken=False)
            elif stripped.endswith(b",") and _is_object(stripped):
                yield from _objects(number, orjson.loads(stripped[:-1]))
            else:
                yield Drop(number, "not JSON", broken=True)
            continue
        yield from _objects(number, value)


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(orjson.loads(line.removesuffix(b",")), dict)
    except orjson.JSONDecodeError:
        return False


def _objects(number: int, value: Any) -> Iterator[Record | Drop]:
    if isinstance(value, dict):
        yield Record(number, value)
    elif isinstance(value, list) and not value:
        yield Drop(number, "an empty list", broken=True)
    else:
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict):
                yield Record(number, item)
            else:
                yield Drop(number, "not a JSON object", broken=True)


def _document(lines: Iterable[Line]) -> Iterator[Record | Drop]:
    """One object or list over many lines; all its records carry the number of its first line."""
    kept: list[bytes] = []
    start, size = 0, 0
    for number, line in lines:
        start = start or number
        size += len(line) + 1
        if size > LONGEST_DOCUMENT:
            yield Drop(start, "a JSON document over 512 MB: write one record a line", broken=True)
            return
        kept.append(line)
    try:
        value = orjson.loads(b"\n".join(kept))
    except orjson.JSONDecodeError:
        yield Drop(start, "a JSON document that is cut or broken", broken=True)
        return
    if isinstance(value, dict):
        value = next((value[name] for name in LISTS if isinstance(value.get(name), list)), value)
    yield from _objects(start, value)


def _first_of_document(text: bytes) -> list[dict[str, Any]]:
    """The first object of a document whose end may be missing: the whole, or the first in a list."""
    decoder, whole = json.JSONDecoder(), text.decode("utf-8", "replace").strip()
    for at in (0, whole.find("[") + 1):
        start = whole.find("{", at)
        try:
            value, _ = decoder.raw_decode(whole, start) if start >= 0 else (None, 0)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            inner = next((value[name] for name in LISTS if isinstance(value.get(name), list)), [value])
            return [item for item in inner[:SAMPLE] if isinstance(item, dict)]
    return []


def _of_csv(lines: Iterable[Line]) -> Iterator[Record | Drop]:
    """The first line names the columns. A quoted cell may hold line ends: while a quote is open, lines are joined; if
    that gives no record, the first of them alone is broken and the others are read afresh."""
    csv.field_size_limit(LONGEST_DOCUMENT)
    lines = iter(lines)
    for number, header in lines:
        if header.strip():
            break
        yield Drop(number, BLANK, broken=False)
    try:
        columns = _columns(header)
    except Broken as broken:
        yield Drop(number, str(broken), broken=True)
        columns = None
    ahead: deque[Line] = deque()
    while ahead or _pull(ahead, lines):
        took = _quoted(ahead, lines)
        start, line = ahead[0]
        joined = b"\n".join(ahead[n][1] for n in range(took))
        if not line.strip():
            found: Record | Drop = Drop(start, BLANK, broken=False)
        elif joined == header and columns:
            found = Drop(start, "the header once more", broken=False)
        else:
            found = row_or_drop(start, joined, partial(_csv_record, columns))
        for _ in range(1 if isinstance(found, Drop) else took):
            ahead.popleft()
        yield found


class _Columns(NamedTuple):
    names: list[str]
    delimiter: str


def _columns(header: bytes) -> _Columns:
    text = _decoded(header)
    delimiter = max(DELIMITERS, key=text.count)
    names = [name.strip() for name in _cells(text, delimiter)]
    if len(names) < 2 or not all(names):
        raise Broken(NO_TABLE)
    return _Columns(names, delimiter)


def _csv_record(columns: _Columns | None, number: int, raw: bytes) -> Record:
    """Raises Broken."""
    if columns is None:
        raise Broken(NO_TABLE)
    cells = _cells(_decoded(raw), columns.delimiter)
    if len(cells) != len(columns.names):
        raise Broken(f"{len(cells)} cells where the header names {len(columns.names)} columns")
    return Record(number, {name: cell or None for name, cell in zip(columns.names, cells, strict=True)})


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise Broken("not UTF-8") from None


def _cells(text: str, delimiter: str) -> list[str]:
    """The cells of one record. Raises Broken where its quotes make no sense."""
    if '"' not in text:
        return text.split(delimiter)
    try:
        return next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True), [])
    except csv.Error:
        raise Broken("quotes that make no sense") from None


def _quoted(ahead: deque[Line], lines: Iterator[Line]) -> int:
    """How many of the lines ahead belong together because a quote is open; 1 if it is not closed within a thousand."""
    quotes, took = ahead[0][1].count(b'"'), 1
    while quotes % 2:
        if took == LONGEST_QUOTE or (took == len(ahead) and not _pull(ahead, lines)):
            return 1
        quotes += ahead[took][1].count(b'"')
        took += 1
    return took


def _pull(ahead: deque[Line], lines: Iterator[Line]) -> bool:
    following = next(lines, None)
    if following is not None:
        ahead.append(following)
    return following is not None
