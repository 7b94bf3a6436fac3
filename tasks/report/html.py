"""A run as one page that opens offline, asks the network for nothing and trusts nothing that a target said."""

from typing import Any

import polars as pl

from tasks.charts.words import metric_words, number, share
from tasks.report.ceiling import rate_tables, sustained_lines
from tasks.report.figures import figures
from tasks.report.gateway import COLUMNS, gateway_lines, gateway_rows, pair_rows, present_columns
from tasks.report.headline import ceiling_words, colour, headline
from tasks.report.instrument import blind_lines, instrument_words, shape_words
from tasks.report.money import cost_words, load_rows, model_rows
from tasks.report.pictures import environment, shown
from tasks.report.profile import word_facts
from tasks.report.record import plan_rows, record_rows, repeat_command, request_words, show_command
from tasks.report.resumed import resumed_lines
from tasks.report.side_by_side import length_lines, pair_tables, side_rows
from tasks.report.tables import (
    LEVEL_METRICS,
    RATE_METRICS,
    STREAM_METRICS,
    change_rows,
    level_rows,
    present,
    quiet,
    slo_rows,
)
from tasks.report.truth import moved_line, truth_tables
from tasks.report.view import RunView, changed, targets, validity, word


def render_html(view: RunView, samples: pl.LazyFrame | None) -> str:
    """The whole page. `samples`: the run's rows, all columns of the sample log; None leaves out the figures of rows."""
    page = environment().get_template("page.html.j2")
    drawn = figures(view, samples)
    return page.render(**_verdict(view), **_tables(view), **_instrument(view), **shown(drawn))


def _verdict(view: RunView) -> dict[str, Any]:
    said = word(view)
    run = view.run
    return {
        "run": run,
        "tone": colour(view),
        "word": said.value if said else run.status if run.status != "completed" else "measured",
        "headline": headline(view),
        "facts": _facts(view),
        "when": run.started_at[:16].replace("T", " "),
        "show": show_command(run),
        "repeat": repeat_command(run),
        "weeks": "gatebench trend --html trend.html" if view.trends else "",
        "record": record_rows(view),
        "plan": plan_rows(run),
        "words": view.profile_words,
        "about": word_facts(view.profile_words),
        "truths": truth_tables(view),
        "baseline": view.baseline_runs,
    }


def _facts(view: RunView) -> list[tuple[str, str]]:
    several = len(targets(view)) > 1
    facts = [
        (f"ceiling{' of ' + c.target if several else ''}", ceiling_words(c))
        for c in view.ceilings
        if not view.comparisons
    ]
    facts += sustained_lines(view)
    requests = request_words(view)
    if requests:
        facts.append(("requests", requests))
    cost = cost_words(view)
    if cost:
        facts.append(("cost", cost))
    facts += [("gateway", line) for line in gateway_lines(view)]
    instrument = instrument_words(view)
    if instrument:
        facts.append(("instrument", instrument))
    moved = moved_line(view)
    if moved is not None:
        facts.append(("traffic", moved))
    if view.legs:
        mine = [leg for leg in view.legs if leg.target in targets(view)]
        worst, reasons = validity(mine)
        facts.append(("measurement", f"{worst}: {'; '.join(reasons[:3])}" if reasons else worst))
    return facts


def _tables(view: RunView) -> dict[str, Any]:
    levels = []
    for target in targets(view):
        for name, metrics in (
            ("Latency", LEVEL_METRICS),
            ("Throughput and errors", RATE_METRICS),
            ("Streams", STREAM_METRICS),
        ):
            columns = present(view, target, metrics)
            if columns:
                rows = level_rows(view, target, columns)
                heads = [metric_words(metric) for metric in columns]
                levels.append({"target": target, "name": name, "columns": heads, "rows": rows})
    return {
        "targets": targets(view),
        "changed": change_rows(view, changed(view)),
        "quiet": change_rows(view, quiet(view)),
        "slos": slo_rows(view),
        "levels": levels,
        "rates": rate_tables(view),
        "pairs_of_targets": pair_tables(view),
        "sides": side_rows(view) if view.comparisons else [],
        "lengths": length_lines(view),
        **_gateway(view),
        "models": model_rows(view),
        "loads": load_rows(view),
        "cost": cost_words(view),
        "responses": any(cell.metric.startswith("response_") for cell in view.cells),
    }


def _gateway(view: RunView) -> dict[str, Any]:
    found = []
    for target in targets(view):
        rows = gateway_rows(view, target)
        columns = present_columns(rows)
        found.append({"target": target, "rows": rows, "columns": columns, "heads": [COLUMNS[c] for c in columns]})
    return {"gateways": [g for g in found if g["rows"]], "pairs": pair_rows(view), "said": gateway_lines(view)}


def _instrument(view: RunView) -> dict[str, Any]:
    doubtful = [leg for leg in view.legs if leg.validity != "valid"]
    return {
        "calibrations": view.calibrations,
        "blind": [*resumed_lines(view.run), *blind_lines(view)],
        "shape": shape_words,
        "doubtful": doubtful,
        "legs": len(view.legs),
        "number": number,
        "share": share,
    }
