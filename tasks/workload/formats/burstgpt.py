"""BurstGPT's CSV traces. Columns are found by name, for newer files insert some (Session ID, Elapsed time).

Timestamp and Elapsed time are seconds; a call without response tokens is one that failed.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tasks.workload.formats.adapter import Broken, Drop, Line, Row
from tasks.workload.formats.fields import moment_ns, span_ns, text, tokens
from tasks.workload.formats.table import columns, rows

COLUMNS = frozenset({"Timestamp", "Model", "Request tokens", "Response tokens"})
NO_RESPONSE = "no_response"


class BurstGPT:
    """Adapter of HPMLL/BurstGPT's trace files."""

    name = "burstgpt"
    arrival_basis = "Timestamp (seconds since the trace began)"

    def recognises(self, head: Sequence[bytes]) -> bool:
        return columns(head) >= COLUMNS

    def read(self, lines: Iterable[Line]) -> Iterator[Row | Drop]:
        return rows(lines, _row)


def _row(number: int, record: dict[str, Any]) -> Row:
    start_ns = moment_ns(record.get("Timestamp"), "Timestamp", "s")
    model = text(record.get("Model"))
    if start_ns is None or model is None:
        raise Broken("no Timestamp" if start_ns is None else "no Model")
    output = tokens(record, "Response tokens")
    took_ns = span_ns(record.get("Elapsed time"), "Elapsed time", "s")
    return Row(
        line=number,
        start_ns=start_ns,
        end_ns=None if took_ns is None else start_ns + took_ns,
        model=model,
        input_tokens=tokens(record, "Request tokens"),
        output_tokens=None if output == 0 else output,
        session=text(record.get("Session ID")),
        failure=NO_RESPONSE if output == 0 else None,
    )
