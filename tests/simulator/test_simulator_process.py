"""The process: how it starts, says what is wrong, and ends."""

import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from urllib.parse import urlsplit

import pytest

from storage.errors import GatebenchError, UsageError
from tasks.simulator.model import Fault, FaultKind, SimConfig, null_config
from tasks.simulator.process import SimulatorProcess

COMMAND = [sys.executable, "-m", "tasks.simulator", "--config"]


def listens(url):
    try:
        socket.create_connection(("127.0.0.1", urlsplit(url.strip()).port), timeout=5).close()
    except ConnectionError:
        return False
    return True


def test_a_port_in_use_is_named():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"port {port} on 127.0.0.1 is in use"):
            SimulatorProcess(SimConfig(port=port)).start()


def test_a_simulator_that_is_not_ready_in_time_is_ended():
    process = SimulatorProcess(null_config(), timeout_s=0.0)
    with pytest.raises(GatebenchError, match="not ready within 0 s"):
        process.start()
    assert process.pid is None


def test_a_simulator_that_does_not_run_says_so():
    with pytest.raises(GatebenchError, match="start"):
        SimulatorProcess(null_config()).stats()


def test_it_can_be_stopped_twice_and_started_again():
    process = SimulatorProcess(null_config())
    process.start()
    first = process.pid, process.url
    process.stop()
    process.stop()
    assert not listens(first[1])
    with process as again:
        assert again.stats()["requests"] == 0
        assert again.pid != first[0]


def test_a_wrong_change_is_a_usage_error_and_changes_nothing(sim):
    with pytest.raises(UsageError, match="did you mean 'service_ms'"):
        sim.configure(servce_ms=1)
    with pytest.raises(UsageError, match="port cannot change"):
        sim.configure(port=1)
    assert sim.configure(faults=[Fault(FaultKind.STALL, 0.5)])["faults"] == [
        {"kind": "stall", "share": 0.5, "stall_s": None}
    ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly_with_requests_in_flight(number):
    process = subprocess.Popen(
        [*COMMAND, SimConfig(service_ms=60_000).to_json()], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    word, url = process.stdout.readline().split()
    assert word == "ready"
    with socket.create_connection(("127.0.0.1", int(url.split(":")[2].removesuffix("/v1")))) as line:
        line.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 39\r\n\r\n")
        line.sendall(b'{"model":"m","messages":[{"role":"a"}]}')
        process.send_signal(number)
        out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (0, "", "")


def test_a_wrong_configuration_ends_with_two_and_a_sentence():
    done = subprocess.run([*COMMAND, '{"slotz": 1}'], capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "simulator: unknown key 'slotz'; did you mean 'slots'?\n"


def test_it_ends_when_its_parent_is_killed(eventually):
    script = textwrap.dedent("""
        import time
        from tasks.simulator.model import null_config
        from tasks.simulator.process import SimulatorProcess
        process = SimulatorProcess(null_config()).start()
        print(process.url, flush=True)
        time.sleep(60)
    """)
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    url = parent.stdout.readline()
    assert listens(url)
    parent.kill()
    parent.communicate()
    eventually(lambda: not listens(url))


def test_it_outlives_the_thread_that_started_it():
    process = SimulatorProcess(null_config())
    thread = threading.Thread(target=process.start)
    thread.start()
    thread.join()
    try:
        time.sleep(0.2)  # a signal sent at the end of the thread would have come by now
        assert process.stats()["requests"] == 0
    finally:
        process.stop()
