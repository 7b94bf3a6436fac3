"""The trial of real gateways is not run here; what it says of its results is."""

from config.plan import load_plan
from tasks.simulator.model import parse_fault
from tests.e2e import table, trials
from tests.e2e.gateways import GATEWAYS, Gateway
from tests.e2e.product import plan
from tests.e2e.trials import Able, Added, Faulty, Replayed


def added(gateway: str, by: float | None, **more: object) -> Added:
    facts = {"upstream": "simulator", "stream": False, "level": 1, "metric": "latency_p50", **more}
    return Added(gateway=gateway, direct_ms=40.2, by_ms=by, lower_ms=None if by is None else by - 0.5,
                 upper_ms=None if by is None else by + 0.5, **facts)  # fmt: skip


def test_what_is_added_stands_under_each_gateway_beside_the_upstream_itself():
    found = [added("nginx", 0.12), added("LiteLLM", 13.1), added("LiteLLM", None, level=8)]
    assert table.overhead(found).splitlines() == [
        "|  | straight to it | nginx | LiteLLM |",
        "|---|---|---|---|",
        "| p50, plain, 1 at once, simulator | 40.2 ms | +0.12 ms [−0.38, 0.62] | +13.1 ms [12.6, 13.6] |",
        "| p50, plain, 8 at once, simulator | 40.2 ms | – | – |",
    ]


def test_a_gateway_that_is_quicker_than_its_upstream_has_a_minus():
    assert "−0.30 ms" in table.overhead([added("nginx", -0.3)])


def test_capacity_says_at_how_many_what_failed_and_what_is_in_doubt():
    found = [
        Able("nginx", False, 9512.3, 9400.2, 9630.9, 16, 0, "valid"),
        Able("nginx", True, 4100.0, None, None, 64, 3, "suspect"),
        Able("Portkey", False, None, None, None, None, 0, "invalid"),
    ]
    assert table.capacity(found).splitlines()[2:] == [
        "| nginx | 9,512 [9,400, 9,631] (at 16 at once) | 4,100 (at 64 at once, 3 failed, suspect) |",
        "| Portkey | – | – |",
    ]


def test_faults_are_told_as_shares_of_the_requests():
    found = [Faulty("500", "direct", 40, 20, {"http_5xx": 20}), Faulty("500", "LiteLLM", 40, 40, {})]
    assert table.faults(found).splitlines()[2] == "| 500 | `http_5xx` 50 % | all ok |"


def test_a_log_that_could_not_be_read_says_why():
    row = table.logs([Replayed("Portkey", 200, 0, "–", 0, 0, "–", "gatebench: empty")]).splitlines()[2]
    assert row == "| Portkey | 200 | – | – | – | gatebench: empty |"


def test_every_fault_is_one_that_the_simulator_knows():
    for text in trials.FAULTS.values():
        kind, _, rest = text.partition(":")
        assert parse_fault(f"{kind}:share=0.5" + (f",{rest}" if rest else "")).share == 0.5


def test_the_plan_of_a_trial_is_a_plan(tmp_path):
    headers = {"x-portkey-provider": "openai"}
    gateway = Gateway("Portkey", "1.15", "http://127.0.0.1:2/v1", headers, key_env="GATEBENCH_KEY_X")
    made = load_plan(str(plan(tmp_path / "p.toml", "trial", [gateway], "http://127.0.0.1:1/v1")), [])
    direct, through = made.targets
    assert (direct.name, direct.direct, through.headers) == ("direct", True, headers)
    assert through.api_key_env == "GATEBENCH_KEY_X"
    assert set(GATEWAYS) == {"nginx", "envoy", "ferro", "portkey", "litellm"}
