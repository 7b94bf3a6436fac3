"""What a run found: legs, estimates, verdicts, objectives, ceilings, calibrations. Every `put_…` replaces what
the run had, every `get_…` gives it back in order; each is one step inside a transaction of the book."""

import json
from collections.abc import Sequence
from typing import Any

import duckdb

from storage.files import leg_from_json
from storage.records import Calibration, Ceiling, Cell, Estimate, Leg, Slo, SloResult, Verdict, to_json
from storage.rows import FROM_JSON, fill

Con = duckdb.DuckDBPyConnection

PUT_LEGS = "insert or replace into legs " + FROM_JSON
LEG_FIELDS = (
    *("run_id", "leg_id", "trial_id", "attempt", "block", "target", "series", "level", "started_at"),
    *("scheduled", "measured", "ok", "dropped", "lost", "validity"),
)
PUT_TRIALS = """
insert into trials (run_id, trial_id, attempt, target, series, level, blocks, scheduled, measured, ok, dropped, lost,
                    validity)
select run_id, trial_id, attempt, target, series, level, count(*), sum(scheduled), sum(measured), sum(ok), sum(dropped),
       sum(lost), arg_max(validity, list_position(['valid', 'suspect', 'invalid'], validity))
from legs where run_id = $run_id
group by run_id, trial_id, attempt, target, series, level
"""
PUT_CELLS = "insert into estimates " + FROM_JSON
PUT_VERDICTS = "insert into verdicts " + FROM_JSON
PUT_SLOS = "insert into slo_results " + FROM_JSON
PUT_CEILINGS = "insert into ceilings " + FROM_JSON
PUT_CALIBRATIONS = "insert into calibrations " + FROM_JSON


def put_legs(con: Con, run_id: str, legs: Sequence[Leg]) -> None:
    """A leg that is there already is replaced, never doubled; trials are the sums of all legs of the run."""
    fill(con, PUT_LEGS, "legs", [_leg_row(run_id, to_json(leg)) for leg in legs])
    con.execute("delete from trials where run_id = $run_id", {"run_id": run_id})
    con.execute(PUT_TRIALS, {"run_id": run_id})


def get_legs(con: Con, run_id: str) -> list[Leg]:
    """In the order they ran."""
    rows = con.execute(
        "select record from legs where run_id = $run_id order by started_at, leg_id", {"run_id": run_id}
    ).fetchall()
    return [leg_from_json(json.loads(row[0])) for row in rows]


def put_cells(con: Con, run_id: str, cells: Sequence[Cell]) -> None:
    """Replaces the cells of the attempts that are given; the other attempt's stay."""
    for attempt in {cell.attempt for cell in cells}:
        con.execute(
            "delete from estimates where run_id = $run_id and attempt = $attempt",
            {"run_id": run_id, "attempt": attempt},
        )
    fill(con, PUT_CELLS, "estimates", [{"run_id": run_id, **_flat(to_json(cell), "estimate")} for cell in cells])


def get_cells(con: Con, run_id: str) -> list[Cell]:
    rows = con.execute(
        "select attempt, target, series, level, metric, point, lower, upper, n, blocks, at_least from estimates "
        "where run_id = $run_id order by attempt desc, target, series, level, metric",  # `first` before `confirm`
        {"run_id": run_id},
    ).fetchall()
    return [Cell(row[0], row[1], row[2], row[3], row[4], Estimate(*row[5:])) for row in rows]


def put_verdicts(con: Con, run_id: str, verdicts: Sequence[Verdict]) -> None:
    con.execute("delete from verdicts where run_id = $run_id", {"run_id": run_id})
    fill(con, PUT_VERDICTS, "verdicts", _placed(run_id, [to_json(verdict) for verdict in verdicts]))


def get_verdicts(con: Con, run_id: str) -> list[Verdict]:
    rows = con.execute(
        "select target, series, metric, level, effect, lower, upper, p, detectable, verdict, reason from verdicts "
        "where run_id = $run_id order by place",
        {"run_id": run_id},
    ).fetchall()
    return [Verdict(*row) for row in rows]


def put_slo_results(con: Con, run_id: str, results: Sequence[SloResult]) -> None:
    con.execute("delete from slo_results where run_id = $run_id", {"run_id": run_id})
    fill(con, PUT_SLOS, "slo_results", _placed(run_id, [_slo_row(result) for result in results]))


def get_slo_results(con: Con, run_id: str) -> list[SloResult]:
    rows = con.execute(
        "select slo_text, stat, quantity, threshold, slo_level, target, series, level, point, ok from slo_results "
        "where run_id = $run_id order by place",
        {"run_id": run_id},
    ).fetchall()
    return [SloResult(Slo(*row[:5]), *row[5:]) for row in rows]


def put_ceilings(con: Con, run_id: str, ceilings: Sequence[Ceiling]) -> None:
    con.execute("delete from ceilings where run_id = $run_id", {"run_id": run_id})
    rows = [_flat(to_json(ceiling), "throughput_rps") for ceiling in ceilings]
    fill(con, PUT_CEILINGS, "ceilings", _placed(run_id, rows))


def get_ceilings(con: Con, run_id: str) -> list[Ceiling]:
    rows = con.execute(
        "select target, point, lower, upper, n, blocks, at_least, concurrency, reached, limited_by, knee from ceilings "
        "where run_id = $run_id order by place",
        {"run_id": run_id},
    ).fetchall()
    return [Ceiling(row[0], Estimate(*row[1:7]), *row[7:]) for row in rows]


def put_calibration(con: Con, run_id: str, calibration: Calibration) -> None:
    """A run has at most one of each kind: streamed and plain, over each transport."""
    con.execute(
        "delete from calibrations where run_id = $run_id and stream = $stream and transport = $transport",
        {"run_id": run_id, "stream": calibration.stream, "transport": calibration.transport},
    )
    fill(con, PUT_CALIBRATIONS, "calibrations", [{"run_id": run_id, **to_json(calibration)}])


def get_calibrations(con: Con, run_id: str) -> list[Calibration]:
    rows = con.execute(
        "select stream, floor_p50_ms, floor_p99_ms, ceiling_rps, lag_p50_ms, lag_p99_ms, lag_max_ms, transport "
        "from calibrations where run_id = $run_id order by stream, transport desc",
        {"run_id": run_id},
    ).fetchall()
    return [Calibration(*row) for row in rows]


def _leg_row(run_id: str, record: dict[str, Any]) -> dict[str, Any]:
    row = {name: record[name] for name in LEG_FIELDS}
    return {**row, "run_id": run_id, "row_count": record["rows"], "record": json.dumps(record)}


def _placed(run_id: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"run_id": run_id, "place": place, **row} for place, row in enumerate(rows)]


def _flat(row: dict[str, Any], inner: str) -> dict[str, Any]:
    """The row with the fields of one inner record beside its own."""
    return {**{name: value for name, value in row.items() if name != inner}, **row[inner]}


def _slo_row(result: SloResult) -> dict[str, Any]:
    row = to_json(result)
    slo = row.pop("slo")
    named = {"slo_text": slo["text"], "slo_level": slo["level"]}
    return {**row, **named, **{name: slo[name] for name in ("stat", "quantity", "threshold")}}
