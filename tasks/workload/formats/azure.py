"""Azure's public LLM inference traces of 2023 and 2024: CSV with TIMESTAMP, ContextTokens, GeneratedTokens.

2023 writes `2023-11-16 18:15:46.6805900` (seven digits, UTC), 2024 `2024-05-10 00:00:00.009930+00:00`.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tasks.workload.formats.adapter import Broken, Drop, Line, Row
from tasks.workload.formats.calls import UNNAMED
from tasks.workload.formats.fields import moment_ns, tokens
from tasks.workload.formats.table import columns, rows

COLUMNS = frozenset({"TIMESTAMP", "ContextTokens", "GeneratedTokens"})


class Azure:
    """Adapter of AzurePublicDataset's `AzureLLMInferenceTrace_*.csv`."""

    name = "azure"
    arrival_basis = "TIMESTAMP (UTC)"

    def recognises(self, head: Sequence[bytes]) -> bool:
        return columns(head) >= COLUMNS

    def read(self, lines: Iterable[Line]) -> Iterator[Row | Drop]:
        return rows(lines, _row)


def _row(number: int, record: dict[str, Any]) -> Row:
    start_ns = moment_ns(record.get("TIMESTAMP"), "TIMESTAMP", "iso")
    if start_ns is None:
        raise Broken("no TIMESTAMP")
    return Row(
        line=number,
        start_ns=start_ns,
        model=UNNAMED,
        input_tokens=tokens(record, "ContextTokens"),
        output_tokens=tokens(record, "GeneratedTokens"),
    )
