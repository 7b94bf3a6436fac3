"""The rates that were tried, drawn; the knee, the ceiling's interval and the sustainable rate among the levels."""

import json
from dataclasses import replace

import polars as pl

from storage.records import Ceiling, Estimate, Slo, Sustained
from tasks.charts.rates_tried import frame_of, rates_tried
from tasks.charts.theme import finding, to_spec, to_svg
from tasks.charts.throughput import throughput
from tests.fakes.probes import tried

PROBES = [
    tried(1, 780.0),
    tried(2, 858.0, "capacity", achieved_rps=800.0, latency_p95_s=0.4),
    tried(3, 818.0, "capacity", achieved_rps=799.0, latency_p95_s=0.15),
    tried(4, 798.0),
    tried(5, 900.0, "generator", latency_p95_s=None),
]
PROMISED = Slo("p95(latency) < 500ms", "p95", "latency", 0.5, None)
FOUND = Sustained("gw", Estimate(798.0, 790.0, 818.0, 8000, 1), True, "capacity", True, "", PROBES, [PROMISED])
LEVELS = pl.DataFrame(
    [(1, "throughput", 24.0, 23.5, 24.5), (50, "throughput", 798.0, 790.0, 806.0), (50, "goodput", 700.0, None, None)],
    schema=["level", "metric", "rps", "lower", "upper"],
    orient="row",
)
CEILING = Ceiling("gw", Estimate(798.0, 790.0, 806.0, 1000, 5), 50, True, "capacity", 50)


def test_a_rate_without_an_answer_is_no_point_and_the_others_stand_from_the_lowest_on() -> None:
    frame = frame_of(FOUND)
    assert frame["rate"].to_list() == [780, 798, 818, 858]
    assert frame["word"].to_list() == ["kept up", "kept up", "too much", "too much"]
    assert frame["p95_ms"].to_list() == [50, 50, 150, 400]


def test_the_title_says_up_to_where_it_keeps_up_and_why_not_further() -> None:
    drawn = rates_tried(frame_of(FOUND), FOUND)
    assert finding(drawn) == "It keeps up with 798/s; from 818/s on its answers fall behind"
    torn = replace(FOUND, probes=[*PROBES, tried(6, 790.0, "capacity")])  # by chance: others contradict it
    assert finding(rates_tried(frame_of(torn), torn)) == finding(drawn)
    slow = replace(FOUND, limited_by="slo")
    assert finding(rates_tried(frame_of(slow), slow)).endswith("from 818/s on an objective is broken")
    open_end = replace(FOUND, reached=False, rate_rps=Estimate(798.0, 790.0, None, 8000, 1, at_least=True))
    assert finding(rates_tried(frame_of(open_end), open_end)).startswith("It keeps up with 798/s; where it would not")
    none = replace(FOUND, rate_rps=None, reached=False)
    assert finding(rates_tried(frame_of(none), none)) == "None of 5 rates was kept up with"


def test_the_answer_its_interval_and_the_objective_are_drawn() -> None:
    drawn = rates_tried(frame_of(FOUND), FOUND)
    text = json.dumps(to_spec(drawn))
    assert "sustains 798/s" in text and "p95(latency) < 500ms" in text and '"rect"' in text
    bare = replace(FOUND, objectives=[], rate_rps=None, reached=False)
    text = json.dumps(to_spec(rates_tried(frame_of(bare), bare)))
    assert "sustains" not in text and "p95(latency)" not in text and '"rect"' not in text
    svg = to_svg(drawn)
    assert "NaN" not in svg
    assert not [raw for raw in (">rate<", ">p95_ms<", ">word<") if raw in svg]


def test_the_whole_interval_lies_on_the_axis() -> None:
    unsure = replace(FOUND, rate_rps=Estimate(798.0, 700.0, 890.0, 8000, 1))
    [low, high] = next(
        layer["encoding"]["x"]["scale"]["domain"]
        for layer in to_spec(rates_tried(frame_of(unsure), unsure))["layer"]
        if "shape" in layer.get("encoding", {})
    )
    assert low < 700 and high > 890


def test_rates_far_apart_stand_on_a_log_axis() -> None:
    wide = replace(FOUND, probes=[tried(1, 10.0), tried(2, 858.0, "capacity")])
    scales = [
        layer["encoding"]["x"].get("scale", {}).get("type")
        for found in (wide, FOUND)
        for layer in to_spec(rates_tried(frame_of(found), found))["layer"]
        if "shape" in layer.get("encoding", {})
    ]
    assert scales == ["log", None]


def test_the_figure_of_levels_has_the_knee_the_interval_and_the_sustainable_rate() -> None:
    plain = json.dumps(to_spec(throughput(LEVELS, None)))
    whole = throughput(LEVELS, CEILING, FOUND)
    text = json.dumps(to_spec(whole))
    assert '"rect"' in text and "sustains 798/s" in text
    assert '"rect"' not in plain and "sustains" not in plain
    [rows] = [rows for rows in whole.to_dict()["datasets"].values() if "knee" in rows[0]]
    assert [(row["what"], row["knee"]) for row in rows if row["level"] == 50] == [
        ("finished", False),
        ("finished inside every objective", True),
    ]
    assert ">rps<" not in to_svg(whole)
