import getpass
import json
import os
import subprocess
from pathlib import Path

from storage.machine import environment, fingerprint, git_revision

FILES = {
    "etc/os-release": 'NAME="X"\nPRETTY_NAME="Debian GNU/Linux 12"\n',
    "proc/cpuinfo": "processor\t: 0\nmodel name\t: Fast CPU 3000\nprocessor\t: 1\nmodel name\t: Fast CPU 3000\n",
    "proc/meminfo": "MemTotal:        8000 kB\nMemFree: 1 kB\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave\n",
    "sys/fs/cgroup/cpu.max": "50000 100000\n",
    "sys/fs/cgroup/memory.max": "4096\n",
    "run/.containerenv": 'engine="podman"\nid="abc"\nimageid="sha256:77"\n',
}


def machine(tmp_path: Path, **files: str) -> dict:
    for name, text in {**FILES, **files}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return environment(home=tmp_path / "data", packages=["polars", "no-such-thing"], engine_version=1, root=tmp_path)


def test_the_machine_is_read_from_its_files(tmp_path):
    env = machine(tmp_path)
    told = {name: env[name] for name in ("os", "cpu_model", "cores", "memory_bytes", "governor", "container_image")}
    assert told == {
        "os": "Debian GNU/Linux 12",
        "cpu_model": "Fast CPU 3000",
        "cores": 0.5,
        "memory_bytes": 4096,
        "governor": "powersave",
        "container_image": "sha256:77",
    }
    assert env["container"] is True
    assert env["packages"]["no-such-thing"] is None
    assert env["packages"]["polars"].startswith("2.")


def test_what_cannot_be_read_is_none(tmp_path):
    env = environment(home=tmp_path, packages=[], engine_version=1, root=tmp_path / "nothing")
    assert (env["memory_bytes"], env["governor"], env["container"], env["container_image"]) == (None, None, False, None)


def test_no_group_limit_means_the_whole_machine(tmp_path):
    env = machine(tmp_path, **{"sys/fs/cgroup/cpu.max": "max 100000\n", "sys/fs/cgroup/memory.max": "max\n"})
    assert env["memory_bytes"] == 8000 * 1024
    assert env["cores"] == len(os.sched_getaffinity(0))


def test_the_record_of_a_machine_is_plain_and_names_no_user(tmp_path):
    env = environment(home=Path.home() / "data", packages=[], engine_version=1)
    assert env["data_path"] == "~/data"
    assert json.loads(json.dumps(env)) == env
    assert str(Path.home()) not in json.dumps(env)
    assert "user" not in env
    assert getpass.getuser() not in {str(value) for value in env.values()}


def test_the_fingerprint_moves_with_what_moves_measurements_and_with_nothing_else(tmp_path):
    env = {**machine(tmp_path), "kernel": "6.1.0-13"}
    same = {**env, "load_average": [9.0], "kernel": "6.8.1", "package": "9.9", "host": "other", "memory_bytes": 1}
    assert fingerprint(same) == fingerprint(env)
    for change in (
        {"cpu_model": "Other"},
        {"cores": 8},
        {"kernel": "7.0.0"},
        {"container_image": None},
        {"engine_version": 2},
    ):
        assert fingerprint({**env, **change}) != fingerprint(env)


def test_the_revision_of_a_checkout_and_whether_it_was_changed(tmp_path):
    assert git_revision(tmp_path) is None
    (tmp_path / "a").write_text("1")
    for words in (["init", "-q"], ["add", "a"], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "one"]):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    clean = git_revision(tmp_path)
    assert clean is not None
    assert (len(clean["revision"]), clean["dirty"]) == (40, False)
    (tmp_path / "a").write_text("2")
    assert git_revision(tmp_path) == {"revision": clean["revision"], "dirty": True}
