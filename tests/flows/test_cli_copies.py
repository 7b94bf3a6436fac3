"""`synth`, `fidelity` and `profile --html` as they are typed."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.cli import run
from tasks.workload.builtin import builtin
from tasks.workload.trace import read, write


@pytest.fixture(autouse=True)
def _home() -> Iterator[None]:
    """A command tells flows and workers where the data lies by the environment."""
    before = os.environ.get("GATEBENCH_HOME")
    yield
    os.environ.pop("GATEBENCH_HOME", None)
    if before is not None:
        os.environ["GATEBENCH_HOME"] = before


@pytest.fixture
def source(tmp_path: Path) -> Path:
    write(builtin(), tmp_path / "w.parquet")
    return tmp_path / "w.parquet"


def test_a_synthetic_workload_has_its_fidelity_beside_it(source, tmp_path, capsys):
    out = tmp_path / "like.parquet"
    assert run(["synth", str(source), "--out", str(out), "--seed", "3", "--home", str(tmp_path)]) == 0
    said = capsys.readouterr()
    assert "w-synthetic" not in said.err and "builtin-synthetic-3 (240 requests) against builtin (240)" in said.out
    report = json.loads((tmp_path / "like.fidelity.json").read_text())
    assert (report["workload_id"], report["parent"]) == (read(out).id, builtin().id)
    again = tmp_path / "again.parquet"
    run(["synth", str(source), "--out", str(again), "--seed", "3", "--home", str(tmp_path), "--quiet"])
    assert again.read_bytes() == out.read_bytes()


@pytest.mark.parametrize(
    ("options", "count", "method"),
    [
        (["--arrivals", "constant", "--rate", "10", "--duration", "30s"], 300, "constant arrivals, 10/s, joint rows"),
        (
            ["--arrivals", "ramp", "--rate", "0", "--to-rate", "10", "--duration", "60s"],
            300,
            "ramp arrivals, 0/s to 10/s",
        ),
        (["--scale", "2"], 480, "rate × 2"),
        (["--duration", "2m"], 484, "rate curve"),
    ],
)
def test_what_if_arrivals_scales_and_durations(source, tmp_path, options, count, method):
    out, found = tmp_path / "x.parquet", tmp_path / "x.json"
    assert run(["synth", str(source), "--out", str(out), *options, "--json", str(found), "--home", str(tmp_path)]) == 0
    assert abs(len(read(out)) - count) <= 3
    assert method in json.loads(found.read_text())["method"]


def test_a_profile_is_enough_for_a_sketch(source, tmp_path, capsys):
    page, profile, out = (tmp_path / name for name in ("p.html", "p.json", "s.parquet"))
    run(["profile", str(source), "--html", str(page), "--json", str(profile), "--home", str(tmp_path)])
    assert "page: " in capsys.readouterr().out and "vegaEmbed" in page.read_text()
    assert run(["synth", str(profile), "--out", str(out), "--home", str(tmp_path)]) == 0
    assert "made of a profile" in capsys.readouterr().out
    assert run(["fidelity", str(source), str(out), "--json", "-", "--home", str(tmp_path)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["schema"], report["counts"], report["ok"]) == ("gatebench.fidelity/1", [240, 240], True)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--arrivals", "ramp"], "ramp arrivals need --to-rate"),
        (["--rate", "5"], "a rate needs arrivals"),
        (["--arrivals", "often"], "must be one of recorded, constant, poisson, gamma, ramp"),
        (["--arrivals", "poisson", "--sessions"], "sessions are kept with recorded arrivals only"),
        (["--scale", "0"], "must be a number above 0"),
        (["--duration", "soon"], "cannot read"),
    ],
)
def test_a_wish_that_contradicts_itself_is_refused(source, tmp_path, capsys, options, why):
    out = tmp_path / "x.parquet"
    assert run(["synth", str(source), "--out", str(out), *options, "--home", str(tmp_path)]) == 2
    assert why in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--cv", "2"], "--cv is the spread of gamma gaps; recorded arrivals have none, use --arrivals gamma"),
        (["--arrivals", "ramp"], "ramp arrivals need --to-rate"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(source, tmp_path, capsys, options, said):
    out = str(tmp_path / "like.parquet")
    assert run(["synth", str(source), "--out", out, "--home", str(tmp_path), *options]) == 2
    assert said in capsys.readouterr().err


def test_an_unknown_privacy_level_is_refused_in_a_sentence(tmp_path, capsys):
    out = str(tmp_path / "w.parquet")
    assert run(["capture", "x.jsonl", "--out", out, "--home", str(tmp_path), "--privacy", "secret"]) == 2
    assert "unknown privacy level 'secret'; choose from counts, structure, text" in capsys.readouterr().err
