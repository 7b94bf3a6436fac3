"""What is read of a machine, from a made-up /proc and /sys."""

import os
from pathlib import Path

import pytest

from tasks.doctor import probes
from tasks.doctor.probes import Ticks


@pytest.fixture
def root(tmp_path: Path) -> Path:
    files = {
        "proc/stat": "cpu  100 10 30 800 20 5 5 30 7 0\ncpu0 1 1 1 1\n",
        "proc/7/stat": "7 (a (b) c) S 1 1 1 0 -1 4194560 1 0 0 0 40 2 0 0 20 0 1 0 9 9\n",
        "proc/8/stat": "8 (us) R 1 1 1 0 -1 4194560 1 0 0 0 60 0 0 0 20 0 1 0 9 9\n",
        "proc/meminfo": "MemTotal: 2000 kB\nMemAvailable:    1500 kB\n",
        "proc/net/sockstat": "sockets: used 9\nTCP: inuse 7 orphan 0 tw 3 alloc 8 mem 1\nUDP: inuse 1 mem 0\n",
        "proc/net/sockstat6": "TCP6: inuse 2\n",
        "proc/sys/net/ipv4/ip_local_port_range": "32768\t60999\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave\n",
        "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor": "performance\n",
        "sys/devices/system/clocksource/clocksource0/current_clocksource": "kvm-clock\n",
        "sys/class/power_supply/BAT0/status": "Discharging\n",
        "sys/fs/cgroup/cpu.stat": "usage_usec 5\nnr_periods 100\nnr_throttled 12\n",
    }
    for name, text in files.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path


def test_facts_are_read_from_proc_and_sys(root):
    found = probes.facts(root, cores=2)
    assert found.governors == ("powersave", "performance")
    assert found.clock_source == "kvm-clock"
    assert (found.ports, found.sockets) == (28_232, 12)
    assert found.memory_free == 1500 * 1024
    assert (found.on_battery, found.throttled) == (True, 12)


def test_the_memory_of_a_container_is_what_its_limit_leaves(root):
    (root / "sys/fs/cgroup/memory.max").write_text("1000000\n")
    (root / "sys/fs/cgroup/memory.current").write_text("400000\n")
    assert probes.memory_free(root) == 600_000
    (root / "sys/fs/cgroup/memory.max").write_text("max\n")
    assert probes.memory_free(root) == 1500 * 1024


def test_a_machine_without_proc_tells_nothing_and_raises_nothing(tmp_path):
    found = probes.facts(tmp_path)
    assert (found.governors, found.clock_source, found.ports, found.sockets, found.memory_free) == ((),) + (None,) * 4
    assert probes.ticks(tmp_path) is None
    assert probes.file_system(Path("/srv"), tmp_path) is None


def test_ticks_tell_busy_idle_steal_and_each_process_whatever_its_name(root):
    assert probes.ticks(root) == Ticks(150, 820, 30, {7: ("a (b) c", 42), 8: ("us", 60)})


def test_what_others_used_is_told_in_cores_without_ourselves():
    before = Ticks(100, 100, 0, {1: ("busy", 0), 2: ("us", 0), 3: ("idle", 5)})
    after = Ticks(220, 160, 20, {1: ("busy", 80), 2: ("us", 30), 3: ("idle", 5), 4: ("new", 9)})
    found = probes.share(before, after, 2, ourselves=2)
    assert found is not None
    assert (found.busy, found.steal) == (0.9, 0.2)  # 200 ticks are 2 cores
    assert found.busiest == (("busy", 1, 0.8),)
    assert probes.share(before, before, 2, 2) is None


def test_the_file_system_is_that_of_the_deepest_mount(root):
    (root / "proc/self").mkdir()
    (root / "proc/self/mountinfo").write_text(
        "22 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n"
        "30 22 0:26 / /srv/data\\040one rw - nfs4 host:/x rw\n"
        "31 22 0:27 / /srv rw - tmpfs tmpfs rw\n"
    )
    assert probes.file_system(Path("/srv/data one/deep"), root) == "nfs4"
    assert probes.file_system(Path("/srv/other"), root) == "tmpfs"
    assert probes.file_system(Path("/home"), root) == "ext4"


def test_a_mode_is_that_of_the_file(tmp_path):
    file = tmp_path / "f"
    file.write_text("")
    file.chmod(0o640)
    found = probes.mode(file, "a file")
    assert found is not None
    assert (found.mode, found.mine) == (0o640, file.stat().st_uid == os.getuid())
    assert probes.mode(tmp_path / "none", "a file") is None
