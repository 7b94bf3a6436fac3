import base64
import re
from collections.abc import Callable
from dataclasses import replace

from tasks.report.markdown import estimate_rows, render_markdown, render_place
from tasks.report.view import RunView, targets

View = Callable[..., RunView]
PICTURE = re.compile(r"!\[([^\]]+)\]\(data:image/png;base64,([A-Za-z0-9+/=]+)\)")


def test_the_artifact_says_the_verdict_shows_three_pictures_and_stays_small(view: View) -> None:
    text = render_markdown(view())
    assert text.startswith("## Regressed: p95 latency at 10 concurrent is 212 ms, +48 % [+41, +56] against 7 nights.")
    pictures = PICTURE.findall(text)
    assert [words for words, _ in pictures] == [
        "p95 latency at 10 concurrent: 212 ms on 2026-03-08, +45 % from its baseline of 146 ms (7 nights)",
        "Throughput stops rising: 80.0/s at 10 concurrent is the ceiling",
        "p95 latency grows 4.2 × from 1 to 10 concurrent: 50.0 ms to 212 ms",
    ]
    assert all(base64.b64decode(data).startswith(b"\x89PNG") for _, data in pictures)
    assert len(text.encode()) < 1_000_000


def test_the_tables_have_the_change_and_the_levels(view: View) -> None:
    text = render_markdown(view(), charts=False)
    assert "| p95 latency at 10 concurrent | 212 ms [201, 224] | +48 % [+41, +56] | +68.8 ms | regressed |" in text
    assert "| number | 1 concurrent | 10 concurrent |" in text
    assert "| p50 latency | 42.0 ms [41.0, 43.0] | 110 ms [107, 113] |" in text
    assert "| throughput | 23.2/s [22.9, 23.5] | 80.0/s [78.0, 82.0] |" in text
    assert "| failed | 0 of 200 | 0 of 200 |" in text
    assert "| validity | valid | valid |" in text
    assert "The whole report: `/data/runs/r7/report.html` (absolute path)" in text
    assert "`gatebench show r7`" in text
    assert "data:image" not in text


def test_what_was_measured_and_where_the_report_lies_come_before_any_table(view: View) -> None:
    lines = [line for line in render_markdown(view(), charts=False).splitlines() if line]
    assert lines[1] == (
        "nightly of plan nightly: **gw** (model m at http://127.0.0.1:4000/v1); 400 requests measured, 0 % failed."
    )
    assert lines[2] == "The whole report: `/data/runs/r7/report.html` (absolute path)"


def test_many_changes_are_cut_and_counted(view: View) -> None:
    many = [replace(view().verdicts[0], level=level) for level in range(1, 12)]
    text = render_markdown(view(verdicts=many), charts=False)
    assert text.count("| regressed |") == 8
    assert "The report has 3 more." in text


def test_reasons_stand_once_beneath_the_table_which_would_be_cut_at_a_page_of_prefect(view: View) -> None:
    first = view().verdicts[0]
    doubts = [replace(first, level=level, verdict="inconclusive", reason="candidate") for level in (1, 10)]
    lines = render_markdown(view(verdicts=[first, *doubts]), charts=False).splitlines()
    assert [line for line in lines if "candidate" in line] == [
        "- inconclusive, candidate: p95 latency at 1 concurrent, p95 latency at 10 concurrent"
    ]
    assert not any("confirmed" in line for line in lines)


def test_targets_stand_in_the_order_of_the_plan_whichever_was_measured_first(view: View) -> None:
    legs = [replace(leg, target=name) for leg in view().legs for name in ("new", "old")]
    run = replace(view().run, plan={**view().run.plan, "targets": [{"name": "old"}, {"name": "new"}]})
    assert targets(view(run=run, legs=legs, cells=[])) == ["old", "new"]


def test_whoever_reads_the_page_of_a_run_is_told_how_to_get_to_the_report(view: View) -> None:
    run = replace(view().run, environment={"host": "bench-1"})
    text = render_place(view(run=run))
    assert "a file on **bench-1**" in text
    assert "\n`/data/runs/r7/report.html`\n" in text
    assert "`gatebench report r7 --open`" in text
    assert "`scp bench-1:/data/runs/r7/report.html .`" in text


def test_a_cell_cannot_open_a_tag_or_another_cell(view: View) -> None:
    verdict = replace(view().verdicts[0], reason="<img src=x> | `x`")
    text = render_markdown(view(verdicts=[verdict]), charts=False)
    assert "- regressed, &lt;img src=x&gt; \\| 'x': p95 latency at 10 concurrent" in text
    assert "<img" not in text


def test_the_table_artifact_has_a_row_a_number_and_a_column_a_load(view: View) -> None:
    rows = estimate_rows(view())
    assert [row["number"] for row in rows] == [
        "p50 latency", "p95 latency", "p99 latency", "throughput", "failed", "validity",
    ]  # fmt: skip
    assert rows[1] == {
        "number": "p95 latency",
        "1 concurrent": "50.0 ms [48.0, 52.0]",
        "10 concurrent": "212 ms [201, 224]",
    }


def test_the_table_artifact_names_the_targets_where_there_are_several(view: View) -> None:
    both = [*view().cells, *(replace(cell, target="new") for cell in view().cells)]
    assert [row["target"] for row in estimate_rows(view(cells=both))] == ["gw"] * 6 + ["new"] * 6
