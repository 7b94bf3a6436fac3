"""A workload's page: what the user asked for first comes first, and it asks the network for nothing."""

import json
import re
from dataclasses import asdict
from typing import Any

from storage.records import Arrival
from tasks.charts.likeness import likeness_frame
from tasks.charts.mix import burst_frame, mix_frame
from tasks.charts.sizes import joint_frame, size_frame
from tasks.charts.theme import to_svg
from tasks.charts.traffic import concurrency_frame, rate_frame, traffic, week, week_frame
from tasks.report.profile import profile_figures, render_profile
from tasks.workload.builtin import builtin
from tasks.workload.fidelity import compare
from tasks.workload.likeness import to_json
from tasks.workload.profile import profile
from tasks.workload.synthesis import synthesise
from tasks.workload.trace import Header, Workload, from_arrivals
from tasks.workload.words import in_words

SECOND = 10**9
EVIL = "</script><script>alert(1)</script>"


def served(n: int = 60, step: float = 0.5, **header: Any) -> Workload:
    """A request every half a second, each under way for a second: two at a time."""
    rows = [
        Arrival(round(k * step * SECOND), "big" if k % 3 else "small", 100 + k, 20, None, True, duration_ns=SECOND)
        for k in range(n)
    ]
    return from_arrivals(rows, Header(name="served", **header))


def of(workload: Workload) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(profile(workload).to_json()))
    return found


def page(workload: Workload, like: dict[str, Any] | None = None) -> str:
    header = json.loads(json.dumps(asdict(workload.header)))
    return render_profile(of(workload), in_words(profile(workload)), header, like)


def test_concurrency_models_and_sizes_come_first() -> None:
    figures = profile_figures(of(served()))
    assert [figure.name for figure in figures] == ["traffic", "mix", "sizes", "joint"]
    assert figures[0].title.startswith("1.97 requests are under way on average and 2 at most")
    assert figures[1].title == "2 models: 67 % of requests ask for big"
    assert figures[2].title == "p50, p90 and p99 of a request: 130, 153, 158 tokens in; 20, 20, 20 tokens out"
    assert all(to_svg(figure.chart).startswith("<svg") for figure in figures)


def test_bursts_are_drawn_where_there_are_two_windows_to_compare() -> None:
    known = of(builtin())
    assert burst_frame(known)["window"].to_list() == ["1 s", "10 s"]
    figure = profile_figures(known)[-1]
    assert figure.name == "bursts" and figure.title.startswith("Counts in windows of 10 s vary ")
    assert to_svg(figure.chart).startswith("<svg")


def test_frames_hold_what_the_profile_says() -> None:
    known = of(served())
    under_way = concurrency_frame(known)
    assert under_way["under_way"].max() == 2.0 and under_way["t_s"][0] == 0.0
    assert rate_frame(known)["rps"].to_list()[:3] == [2.0, 2.0, 2.0]
    assert mix_frame(known)["requests"].to_list() == [40, 20]
    assert joint_frame(known)["requests"].sum() == 60
    assert size_frame(known)["side"].value_counts().sort("side")["count"].to_list() == [101, 101]
    assert burst_frame(known)["window"].to_list() == []  # every second is like the other: the index is 0


def test_a_long_curve_is_joined_to_400_points_that_hold_all_requests() -> None:
    known = of(served(3000, 10.0))
    rates = rate_frame(known)
    assert 250 <= rates.height <= 400
    step = rates["t_s"][1] - rates["t_s"][0]
    assert abs(float((rates["rps"] * step).sum()) - 3000) < 5


def test_without_durations_only_the_rate_is_drawn_and_the_title_says_so() -> None:
    known = of(builtin())
    chart = traffic(concurrency_frame(known), rate_frame(known), known)
    assert "how many were under way is not in the log" in " ".join(chart.to_dict()["title"])
    assert "vconcat" not in chart.to_dict()


def test_the_hours_of_a_week_are_a_map() -> None:
    known = of(served(24 * 30, 120.0, started_at="2026-11-23T00:00:00+00:00"))
    assert week_frame(known).is_empty()
    known = of(served(24 * 60, 120.0, started_at="2026-11-23T00:00:00+00:00"))
    frame = week_frame(known)
    assert frame["day"].unique(maintain_order=True).to_list() == ["Mon", "Tue"]
    assert "The busiest hour is" in " ".join(week(frame).to_dict()["title"])
    assert [f.name for f in profile_figures(known)][-1] == "week"


def test_a_page_is_one_file_that_asks_for_nothing_and_trusts_no_name() -> None:
    rows = [Arrival(k * SECOND, EVIL, 10, 5, None, True, failure=EVIL if k == 3 else None) for k in range(20)]
    text = page(from_arrivals(rows, Header(name="served")))
    assert EVIL not in text
    outside = re.sub(r"<script>.*?</script>", "", text, flags=re.S)
    assert not re.search(r"""(?:src|href)\s*=|url\(|@import""", outside)
    assert "default-src 'none'" in text
    assert text.count("window.vegaEmbed") == 1


def test_a_page_says_the_words_as_facts_and_the_record() -> None:
    text = page(served())
    assert "<h1>served (" in text
    assert "<dt>concurrency</dt>" in text and "<dt>input tokens</dt>" in text
    assert "rows read, kept" not in text  # it was made here, not captured


def test_a_synthetic_workloads_page_shows_how_like_its_source_it_is() -> None:
    made = synthesise(builtin(), 1)
    like = to_json(compare(builtin(), made))
    text = page(made, like)
    assert "How like its source it is" in text
    assert f"workload {builtin().id[:16]}" in text
    frame = likeness_frame(like)
    assert frame["what"].to_list()[:3] == ["rate, times the source's", "arrival curve, KS", "gaps, KS"]
    assert (frame["used"] <= 1).all()
    assert frame["noise"].null_count() == 0
