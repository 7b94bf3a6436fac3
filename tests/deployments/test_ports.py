"""On which port a server of our own listens, and what is said where it cannot."""

import socket

import pytest

from deployments.local import TRIES, CannotListen, server_of_our_own, unused_port


@pytest.fixture
def taken():
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        yield busy.getsockname()[1]


def test_an_unused_port_is_none_of_those_that_outgoing_connections_get(tmp_path):
    (tmp_path / "range").write_text("32768\t60999\n")
    assert {port < 32768 for port in (unused_port(tmp_path / "range") for _ in range(20))} == {True}


def test_where_the_kernel_does_not_tell_any_port_will_do(tmp_path):
    assert unused_port(tmp_path / "nothing") > 1023


def test_a_port_that_was_taken_meanwhile_is_not_the_end(tmp_path, taken):
    asked = []

    def choose() -> int:
        asked.append(taken)
        return taken

    with pytest.raises(CannotListen, match=f"port {taken} is taken") as caught, server_of_our_own(tmp_path, choose):
        pytest.fail("somebody else listens there")
    assert len(asked) == TRIES
    assert caught.value.exit_code == 2
