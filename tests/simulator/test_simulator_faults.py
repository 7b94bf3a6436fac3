"""Every fault, as the client sees it."""

import json

import httpx
import pytest


def test_slow_multiplies_the_hold_and_the_answer_is_right(client, sim):
    sim.configure(service_ms=10.0, faults=["slow:factor=5"])
    assert client.ask().status_code == 200
    stats = sim.stats()
    assert (stats["ok"], stats["slowed"], stats["failed"]) == (1, 1, {})
    assert stats["mean_hold_ms"] >= 50


def test_rate_limited_says_when_to_come_back(client, sim):
    sim.configure(faults=["rate_limited:retry_after_s=7"])
    response = client.ask(stream=True)
    assert (response.status_code, response.headers["retry-after"]) == (429, "7")
    assert response.json()["error"]["code"] == "rate_limit_exceeded"
    assert sim.stats()["holds"] == 0


@pytest.mark.parametrize("status", [500, 503, 529])
def test_an_error_has_its_status_and_shape(client, sim, status):
    sim.configure(faults=[f"error:status={status}"])
    response = client.ask()
    assert response.status_code == status
    assert response.json()["error"]["type"] == "server_error"


@pytest.mark.parametrize("stream", [True, False])
def test_reset_comes_before_any_byte(client, sim, stream):
    sim.configure(faults=["reset"])
    raw = client.raw(stream=stream)
    assert (raw.data, raw.how) == (b"", "reset")


def test_half_a_stream_breaks_the_chunked_encoding(client, sim):
    sim.configure(faults=["half_stream"])
    raw = client.raw(stream=True, max_tokens=8)
    assert (raw.how, raw.data.count(b'"content":"')) == ("closed", 4)
    assert not raw.data.endswith(b"0\r\n\r\n")
    with pytest.raises(httpx.RemoteProtocolError):
        client.ask(stream=True)


def test_half_an_answer_is_shorter_than_it_says(client, sim):
    sim.configure(faults=["half_stream"])
    with pytest.raises(httpx.RemoteProtocolError):
        client.ask()


def test_a_stall_is_silent_half_way_and_keeps_its_slot(client, sim, eventually):
    sim.configure(faults=["stall"])
    with client.open(stream=True, max_tokens=8) as line:
        data = b""
        while data.count(b'"content":"') < 4:
            data += line.recv(65536)
        line.settimeout(0.2)
        with pytest.raises(TimeoutError):
            line.recv(1)
        assert sim.stats()["in_flight"] == 1
    eventually(lambda: sim.stats()["in_flight"] == 0)
    assert sim.stats()["failed"] == {"stall": 1}


def test_a_stall_with_a_time_goes_on_after_it(client, sim):
    sim.configure(service_ms=10.0, faults=["stall:stall_s=0.1"])
    events = client.events(client.ask(stream=True, max_tokens=6).text)
    assert (len(client.contents(events)), events[-1]) == (6, "[DONE]")
    assert client.ask().status_code == 200
    assert sim.stats()["p50_hold_ms"] >= 110


def test_a_plain_stall_says_nothing_at_all(client, sim):
    sim.configure(faults=["stall"])
    raw = client.raw()
    assert (raw.data, raw.how) == (b"", "silent")


def test_bad_json_is_one_broken_event_or_a_broken_body(client, sim):
    sim.configure(faults=["bad_json"])
    events = client.events(client.ask(stream=True, max_tokens=6).text)
    broken = [e for e in events if isinstance(e, str) and e != "[DONE]"]
    assert (len(broken), len(client.contents(events)), events[-1]) == (1, 5, "[DONE]")
    response = client.ask()
    assert response.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        response.json()


@pytest.mark.parametrize("tokens", [1, 8])
def test_a_truncated_stream_ends_cleanly_and_says_nothing(client, sim, tokens):
    sim.configure(faults=["truncated"])
    response = client.ask(stream=True, max_tokens=tokens)
    events = client.events(response.text)
    assert response.status_code == 200
    assert len(client.contents(events)) == tokens // 2
    assert [e["choices"][0]["finish_reason"] for e in events] == [None] * (tokens // 2 + 1)


def test_a_truncated_answer_is_cut_json_of_the_length_it_says(client, sim):
    sim.configure(faults=["truncated"])
    response = client.ask()
    assert response.content.startswith(b'{"id":')
    with pytest.raises(json.JSONDecodeError):
        response.json()


def test_empty_is_right_in_everything_but_content(client, sim):
    sim.configure(faults=["empty"])
    events = client.events(client.ask(stream=True, max_tokens=4).text)
    assert (client.contents(events), events[-1]) == ([], "[DONE]")
    assert events[-2]["choices"][0]["finish_reason"] == "stop"
    raw = client.ask().json()
    assert (raw["choices"][0]["message"]["content"], raw["usage"]["completion_tokens"]) == ("", 0)


def test_an_error_frame_comes_with_status_200(client, sim):
    sim.configure(faults=["error_frame"])
    response = client.ask(stream=True, max_tokens=4)
    events = client.events(response.text)
    assert (response.status_code, len(client.contents(events))) == (200, 2)
    assert events[-1]["error"]["code"] == "upstream_error"
    assert "error" in client.ask().json()


def test_the_same_seed_chooses_the_same_requests(client, sim):
    def kinds(seed: int) -> list[int]:
        sim.configure(service_ms=0, seed=seed, faults=["error:share=0.3,status=503", "rate_limited:share=0.2"])
        return [client.ask().status_code for _ in range(40)]

    first = kinds(5)
    assert set(first) == {200, 503, 429}
    assert kinds(5) == first
    assert kinds(6) != first


def test_every_request_is_counted_once(client, sim):
    sim.configure(service_ms=0, faults=["error:share=0.2", "empty:share=0.2", "truncated:share=0.2", "slow:share=0.5"])
    for stream in (True, False) * 20:
        client.ask(stream=stream)
    stats = sim.stats()
    assert stats["requests"] == 40 == stats["ok"] + sum(stats["failed"].values())
    assert set(stats["failed"]) == {"error", "empty", "truncated"}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("kind", "header", "value"),
    [
        ("cache_hit", "x-litellm-cache-key", "simulated"),
        ("fallback", "x-litellm-attempted-fallbacks", "1"),
        ("retried", "x-litellm-attempted-retries", "1"),
    ],
)
def test_what_a_gateway_does_of_its_own_accord_is_told_in_a_header_and_the_answer_is_right(
    client, sim, kind, header, value, stream
):
    sim.configure(faults=[kind])
    response = client.ask(stream=stream)
    assert (response.status_code, response.headers[header]) == (200, value)
    assert ("-fallback" in response.text) == (kind == "fallback")
    stats = sim.stats()
    assert (stats["ok"], stats["failed"], stats["own_doing"]) == (1, {}, {kind: 1})


def test_a_cached_answer_holds_nothing_and_a_retried_one_twice_as_long(client, sim):
    sim.configure(service_ms=20.0, faults=["cache_hit"])
    client.ask()
    assert sim.stats()["mean_hold_ms"] < 10
    sim.reset()
    sim.configure(faults=["retried"])
    client.ask()
    assert sim.stats()["mean_hold_ms"] >= 40
