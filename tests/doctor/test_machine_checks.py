"""What of a machine is told to spoil a measurement."""

from dataclasses import replace

import pytest

from tasks.doctor import machine
from tasks.doctor.finding import Finding, Grade, worst
from tasks.doctor.probes import Facts, Share

FINE = Facts(
    cores=4,
    governors=("performance",) * 4,
    clock_source="tsc",
    synchronised=True,
    files_limit=65_536,
    files_hard=65_536,
    ports=28_232,
    sockets=40,
    memory_free=8_000_000_000,
    on_battery=False,
    throttled=0,
)
IDLE = Share(4, 0.05, 0.0, ())


def of(name: str, facts: Facts = FINE, share: Share | None = IDLE, stamp_ns: float = 50, wake: float = 0.1) -> Finding:
    return next(one for one in machine.machine(facts, share, stamp_ns, wake) if one.name == name)


def test_a_machine_that_is_fit_has_nothing_to_mend():
    found = machine.machine(FINE, IDLE, 50, 0.1)
    assert {one.grade for one in found} == {Grade.OK}
    assert [one.mend for one in found if one.mend] == []


@pytest.mark.parametrize(
    ("name", "facts", "grade", "found", "mend"),
    [
        ("cores", {"cores": 1}, "warn", "1 core", "2 cores or more"),
        ("cores", {"throttled": 1200}, "warn", "used up 1,200 times", "--cpuset-cpus"),
        ("governor", {"governors": ("powersave", "performance")}, "warn", "performance and powersave on 2", "cpupower"),
        ("power", {"on_battery": True}, "warn", "on battery", "plug it in"),
        ("descriptors", {"files_limit": 1024}, "warn", "1,024 files", "ulimit -n 65536"),
        ("descriptors", {"files_limit": 256, "files_hard": 4096}, "bad", "at most 4,096", "ulimit -n 4096"),
        ("local ports", {"sockets": 20_000}, "warn", "8,232 of 28,232", "ip_local_port_range"),
        ("local ports", {"sockets": 28_000}, "bad", "232 of 28,232", "ip_local_port_range"),
        ("clock source", {"clock_source": "hpet"}, "warn", "hpet, 50 ns a stamp", "clocksource=tsc"),
        ("clock sync", {"synchronised": False}, "warn", "no time server", "timedatectl"),
        ("memory", {"memory_free": 900_000_000}, "warn", "0.9 GB", "swapping"),
        ("memory", {"memory_free": 100_000_000}, "bad", "0.1 GB", "swapping"),
    ],
)
def test_a_fact_that_spoils_is_graded_and_says_how_to_mend_it(name, facts, grade, found, mend):
    one = of(name, replace(FINE, **facts))
    assert one.grade == grade
    assert found in one.found
    assert mend in one.mend


def test_other_load_is_named_with_the_processes_that_make_it():
    share = Share(2, 0.9, 0.0, (("python3", 812, 0.8), ("postgres", 5, 0.1)))
    one = of("other load", share=share)
    assert (one.grade, one.found) == ("warn", "0.9 of 2 cores busy: python3 (812) 0.8, postgres (5) 0.1")
    assert of("other load", share=replace(share, busy=1.1)).grade == "bad"


def test_stolen_time_is_a_share_of_all_cores():
    assert of("steal", share=replace(IDLE, steal=0.03)).grade == "ok"
    assert of("steal", share=replace(IDLE, steal=0.08)).found.startswith("2.0%")
    assert of("steal", share=replace(IDLE, steal=0.08)).grade == "warn"
    assert of("steal", share=replace(IDLE, steal=0.4)).grade == "bad"


def test_a_clock_that_costs_a_system_call_is_told_by_what_it_costs():
    assert of("clock source", stamp_ns=1400).grade == "warn"


def test_waking_late_is_told_in_milliseconds():
    assert of("waking", wake=3.0).found == "a timer wakes us 3.00 ms late (p99)"
    assert [of("waking", wake=late).grade for late in (0.5, 3.0, 40.0)] == ["ok", "warn", "bad"]


def test_what_the_system_does_not_tell_is_no_fault():
    dumb = Facts(None, (), None, None, None, None, None, None, None, False, None)
    found = machine.machine(dumb, None, 50, None)
    assert {one.grade for one in found} == {Grade.OK}


def test_the_worst_of_several_is_the_word_of_the_whole():
    fine, careful = Finding("a", Grade.OK, ""), Finding("b", Grade.WARN, "")
    assert worst([]) == "ok"
    assert worst([careful, fine]) == "warn"
    assert worst([fine, Finding("c", Grade.BAD, ""), careful]) == "bad"
