"""Reading a plan: what it may say, and what it is told when it may not."""

import json
from pathlib import Path

import pytest

from config.plan import SHIPPED, PlanError, load_plan, make_plan, parse_slo
from config.settings import Timeouts
from config.target import Target
from config.template import plan_text

TARGET = {"name": "gw", "url": "http://127.0.0.1:4000/v1", "model": "m"}
MINIMAL = '[[targets]]\nurl = "http://127.0.0.1:4000/v1"\nmodel = "m"\n'


def refused(raw: dict) -> str:
    with pytest.raises(PlanError) as caught:
        make_plan(raw, "p.toml")
    return str(caught.value)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "p.toml"
    path.write_text(MINIMAL)
    return path


def test_a_plan_of_one_target_has_the_contract_s_defaults(file):
    plan = load_plan(file)
    assert (plan.sweep.levels, plan.sweep.requests, plan.sweep.blocks) == ((1, 10, 50, 100), 1000, 5)
    assert (plan.sweep.requests_per_leg, plan.sweep.extend_to) == (200, 0)
    assert (plan.sweep.stream, plan.breaker.enabled, plan.control.enabled) == (True, True, True)
    assert (plan.targets[0].name, plan.targets[0].api_key_env) == ("target", "GATEBENCH_API_KEY")


@pytest.mark.parametrize("name", sorted(path.stem for path in SHIPPED.glob("*.toml")))
def test_every_shipped_plan_loads_by_its_name(name):
    assert load_plan(name).name == name


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"swep": {}}, "p.toml: unknown key 'swep'; did you mean 'sweep'?"),
        ({"sweep": {"level": [1]}}, "p.toml: unknown key 'sweep.level'; did you mean 'levels'?"),
        ({"timeouts": {"idle": 3}}, "p.toml: unknown key 'timeouts.idle'; did you mean 'idle_s'?"),
        ({"targets": [{**TARGET, "modle": "m"}]}, "p.toml: unknown key 'targets.0.modle'; did you mean 'model'?"),
        ({"xyzzy": 1}, "p.toml: unknown key 'xyzzy'"),
    ],
)
def test_an_unknown_key_is_refused_with_its_nearest_known_name(raw, said):
    assert refused({"targets": [TARGET], **raw}) == said


def test_all_complaints_are_said_at_once():
    said = refused({"targets": [TARGET], "sweep": {"blocks": 0}, "budget": {"usd": -1}})
    assert "sweep.blocks: " in said
    assert "; budget.usd: " in said


@pytest.mark.parametrize(
    ("sweep", "said"),
    [
        ({"levels": [1, 100], "requests": 500}, "100 requests a block are too few at 100 concurrent"),
        ({"levels": [1], "requests": 7, "blocks": 2}, "must be a multiple of blocks"),
        ({"levels": [1, 1]}, "different whole numbers"),
        ({"levels": []}, "different whole numbers"),
        ({"levels": [0, 1]}, "different whole numbers"),
    ],
)
def test_a_sweep_that_cannot_be_estimated_is_refused(sweep, said):
    assert said in refused({"targets": [TARGET], "sweep": sweep})


def test_too_few_requests_are_told_how_many_would_do():
    plan = {"targets": [TARGET], "sweep": {"levels": [100], "requests": 500}}
    assert "use requests = 1000" in refused(plan)
    plan["sweep"]["requests"] = 1000
    assert make_plan(plan, "p").sweep.requests_per_leg == 200


def test_workers_are_a_number_or_auto():
    raw = {"targets": [TARGET]}
    assert make_plan(raw, "p.toml").fleet.count is None
    assert make_plan({**raw, "fleet": {"workers": "auto"}}, "p.toml").fleet.count is None
    assert make_plan({**raw, "fleet": {"workers": 4}}, "p.toml").fleet.count == 4
    for wrong in (0, 257, "many"):
        said = refused({**raw, "fleet": {"workers": wrong}})
        assert said == f'p.toml: fleet.workers: {wrong!r}: write a number from 1 to 256, or "auto"'


def test_levels_are_put_in_order():
    assert make_plan({"targets": [TARGET], "sweep": {"levels": [10, 1, 5]}}, "p").sweep.levels == (1, 5, 10)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"headers": {"Authorization": "Bearer k"}}, "looks like a secret"),
        ({"headers": {"x-api-key": "k"}}, "looks like a secret"),
        ({"headers": {"Cookie": "k"}}, "looks like a secret"),
        ({"query": {"key": "k"}}, "query 'key' looks like a secret"),
        ({"query": {"access_token": "k"}}, "looks like a secret"),
        ({"url": "http://127.0.0.1/v1?key=k"}, "what comes after a ? belongs into query"),
        ({"url": "http://user:pass@127.0.0.1/v1"}, "does not belong in a URL"),
        ({"api_key_env": "AWS_SECRET_ACCESS_KEY"}, "must be GATEBENCH_API_KEY or start with GATEBENCH_KEY_"),
        ({"api_key_env": "GATEBENCH_API_KEY2"}, "must be GATEBENCH_API_KEY or start with GATEBENCH_KEY_"),
        ({"api_key_env": "GATEBENCH_KEY_"}, "must be GATEBENCH_API_KEY or start with GATEBENCH_KEY_"),
        ({"url": "ftp://127.0.0.1/v1"}, "is not an http(s) URL"),
        ({"url": "127.0.0.1:4000/v1"}, "is not an http(s) URL"),
        ({"name": "control"}, "gatebench's own responder"),
        ({"name": "../x"}, "targets.0.name"),
    ],
)
def test_a_target_with_a_secret_a_strange_name_or_no_url_is_refused(change, said):
    assert said in refused({"targets": [{**TARGET, **change}]})


def test_the_key_is_read_from_the_named_variable_and_is_in_no_dump(monkeypatch):
    monkeypatch.setenv("GATEBENCH_KEY_TEAM", "sk-very-secret\n")  # as of a file
    target = Target(**TARGET, api_key_env="GATEBENCH_KEY_TEAM")
    assert target.api_key is not None
    assert target.api_key.get_secret_value() == "sk-very-secret"
    assert "very" not in f"{target!r} {target.api_key!r} {target.api_key}"
    assert "sk-very-secret" not in target.model_dump_json() + repr(target)
    monkeypatch.setenv("GATEBENCH_KEY_TEAM", "")
    assert target.api_key is None


def test_two_targets_of_one_name_are_refused_and_one_of_several_is_chosen():
    assert "different names" in refused({"targets": [TARGET, TARGET]})
    plan = make_plan({"targets": [TARGET, {**TARGET, "name": "other"}]}, "p")
    assert [target.name for target in plan.only("other").targets] == ["other"]
    with pytest.raises(PlanError, match="no target 'third'; it has gw, other"):
        plan.only("third")


def test_overrides_are_laid_over_the_file_as_toml_values_or_as_text(file):
    changes = [
        "sweep.requests=500",
        "sweep.levels=[1, 2]",
        "targets.0.model=gpt-x",
        "name=mine",
        "control.enabled=false",
    ]
    plan = load_plan(file, changes)
    assert (plan.sweep.requests, plan.sweep.levels) == (500, (1, 2))
    assert (plan.targets[0].model, plan.name, plan.control.enabled) == ("gpt-x", "mine", False)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("sweep.requests", "write it like sweep.requests=100"),
        ("targets.3.model=x", "has no place 'targets.3.model'"),
        ("targets.first.model=x", "has no place 'targets.first.model'"),
        ("sweep.request=5", "unknown key 'sweep.request'; did you mean 'requests'?"),
        ("name.deep=x", "unknown|valid string"),
    ],
)
def test_an_override_that_leads_nowhere_is_refused(file, change, said):
    with pytest.raises(PlanError, match=said):
        load_plan(file, [change])


def test_no_file_a_folder_no_toml_and_no_text_are_each_one_sentence(tmp_path, file):
    with pytest.raises(PlanError, match=r"no plan at nowhere\.toml; `gatebench init` writes one"):
        load_plan("nowhere.toml")
    with pytest.raises(PlanError, match="no plan at nightlyy"):
        load_plan("nightlyy")
    (tmp_path / "d.toml").mkdir()
    with pytest.raises(PlanError, match="cannot read the plan"):
        load_plan(tmp_path / "d.toml")
    file.write_text("name = ")
    with pytest.raises(PlanError, match=r"p\.toml: not TOML: "):
        load_plan(file)
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PlanError, match="cannot read the plan"):
        load_plan(file)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("p95(latency) < 500ms", ("p95", "latency", 0.5, None)),
        ("p99(ttft){level=10} < 1.5s", ("p99", "ttft", 1.5, 10)),
        (" mean( latency ) <= 2s ", ("mean", "latency", 2.0, None)),
        ("rate(errors) < 0.5%", ("rate", "errors", 0.005, None)),
    ],
)
def test_an_objective_is_taken_apart(text, parts):
    assert parse_slo(text) == pytest.approx(parts)


@pytest.mark.parametrize(
    "text", ["", "p95 < 500ms", "p95(latency) > 500ms", "p95(latency) < 500", "p75(latency) < 1s", "latency < 1s"]
)
def test_an_objective_that_cannot_be_read_is_answered_with_an_example(text):
    with pytest.raises(PlanError, match=r"write it like 'p95\(latency\) < 500ms'"):
        parse_slo(text)


@pytest.mark.parametrize("text", ["p95(errors) < 1%", "rate(errors) < 5ms", "p95(latency) < 5%", "rate(latency) < 5%"])
def test_errors_are_a_rate_in_percent_and_nothing_else_is(text):
    with pytest.raises(PlanError, match="errors are a rate in %"):
        parse_slo(text)


def test_timeouts_of_the_plan_go_before_those_of_the_machine(file):
    file.write_text(MINIMAL + "[timeouts]\nidle_s = 5\n")
    machine = Timeouts(idle_s=7, total_s=70)
    assert load_plan(file).here(machine).timeouts == Timeouts(idle_s=5, total_s=70)
    file.write_text(MINIMAL)
    assert load_plan(file).here(machine).timeouts == machine


def test_what_a_plan_measures_does_not_move_with_objectives_budget_or_alerts():
    plain = make_plan({"targets": [TARGET]}, "p")
    dressed = make_plan(
        {"targets": [TARGET], "slos": ["rate(errors) < 1%"], "budget": {"requests": 9}, "alerts": {"on": []}}, "p"
    )
    slower = make_plan({"targets": [TARGET], "timeouts": {"idle_s": 5}}, "p")
    assert dressed.measuring() == plain.measuring()
    assert slower.measuring() != plain.measuring()
    assert json.loads(json.dumps(plain.measuring())) == plain.measuring()


@pytest.mark.parametrize("model", ["default", "openai/gpt-4o-mini", 'odd "name"', "a.b"])
def test_the_plan_that_init_writes_loads_and_says_what_it_was_told(tmp_path, model):
    path = tmp_path / "mine.toml"
    path.write_text(plan_text("mine", "http://127.0.0.1:4000/v1", model))
    plan = load_plan(path)
    assert (plan.name, plan.targets[0].url, plan.targets[0].model) == ("mine", "http://127.0.0.1:4000/v1", model)
    assert plan.budget.wall_s == 7200


def test_every_line_that_init_leaves_as_a_comment_can_be_switched_on(tmp_path):
    lines = plan_text("mine", "http://127.0.0.1:4000/v1", "m").splitlines()
    switched = [
        line.removeprefix("# ").removeprefix("    # ") if line.lstrip().startswith("# ") and _is_toml(line) else line
        for line in lines
    ]
    assert switched != lines
    path = tmp_path / "all.toml"
    path.write_text("\n".join(switched))
    plan = load_plan(path)
    assert (plan.workload, plan.capture.sources) == ("traffic.parquet", ("/var/log/litellm/*.jsonl",))
    assert plan.targets[0].models == {"gpt-4o": "gpt-4o-mini"}
    assert (plan.budget.usd, plan.prices["m"].output, plan.replay.window) == (5.0, 0.6, "0:10m")


def _is_toml(line: str) -> bool:
    """A comment that is a setting or a table, not a sentence."""
    text = line.lstrip().removeprefix("# ")
    return text.startswith(("[", '"')) or " = " in text.split("#")[0]


def test_paths_are_relative_to_the_plan_and_a_workload_that_is_no_file_there_is_a_name(file, tmp_path):
    (tmp_path / "w.parquet").write_bytes(b"")
    file.write_text(f'workload = "w.parquet"\n[capture]\nsources = ["logs/*.jsonl", "/var/log/x"]\n{MINIMAL}')
    plan = load_plan(file)
    assert plan.workload == str(tmp_path / "w.parquet")
    assert plan.capture.sources == (str(tmp_path / "logs" / "*.jsonl"), "/var/log/x")
    file.write_text(f'workload = "pinned"\n{MINIMAL}')
    assert load_plan(file).workload == "pinned"
    assert load_plan(file, ["workload=here.parquet"]).workload == "here.parquet"
