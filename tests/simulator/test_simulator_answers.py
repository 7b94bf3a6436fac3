"""What a client gets when nothing is wrong, and when it asks wrongly."""

import socket
from urllib.parse import urlsplit

import httpx
import pytest

from tasks.simulator.model import SimConfig
from tasks.simulator.process import SimulatorProcess


def test_a_plain_answer_is_a_chat_completion(client):
    response = client.ask(max_tokens=3)
    raw = response.json()
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.headers["server"].startswith("gatebench-simulator/")
    assert response.headers["x-request-id"].startswith("sim-")
    assert int(response.headers["content-length"]) == len(response.content)
    assert raw["object"] == "chat.completion"
    assert raw["model"] == "m"
    assert raw["choices"][0]["message"] == {"role": "assistant", "content": " token word token"}
    assert raw["choices"][0]["finish_reason"] == "length"
    assert raw["usage"] == {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6}


def test_without_a_limit_the_default_ends_by_stop(client):
    raw = client.ask().json()
    assert (raw["choices"][0]["finish_reason"], raw["usage"]["completion_tokens"]) == ("stop", 16)


@pytest.mark.parametrize("tokens", [1, 2, 5])
def test_a_stream_has_role_tokens_finish_usage_done(client, tokens):
    response = client.ask(stream=True, max_tokens=tokens, stream_options={"include_usage": True})
    events = client.events(response.text)
    assert response.headers["content-type"] == "text/event-stream"
    assert response.headers["transfer-encoding"] == "chunked"
    assert len(events) == tokens + 4
    assert events[0]["choices"] == [
        {"index": 0, "delta": {"role": "assistant", "content": None}, "finish_reason": None}
    ]
    said = [e["choices"][0]["delta"]["content"] for e in events[1:-3]]
    assert said == [(" token", " word")[k % 2] for k in range(tokens)]
    assert events[-3]["choices"] == [{"index": 0, "delta": {}, "finish_reason": "length"}]
    assert events[-2]["choices"] == []
    assert events[-2]["usage"] == {"prompt_tokens": 3, "completion_tokens": tokens, "total_tokens": 3 + tokens}
    assert events[-1] == "[DONE]"
    assert len({e["id"] for e in events[:-1]}) == 1
    assert {e["object"] for e in events[:-1]} == {"chat.completion.chunk"}


def test_a_stream_says_no_usage_unasked(client):
    events = client.events(client.ask(stream=True).text)
    assert [e for e in events[:-1] if "usage" in e] == []
    assert events[-2]["choices"][0]["finish_reason"] == "stop"


def test_a_stream_and_a_plain_answer_say_the_same(client):
    plain = client.ask(max_tokens=4).json()["choices"][0]["message"]["content"]
    assert "".join(client.contents(client.events(client.ask(stream=True, max_tokens=4).text))) == plain


def test_an_http_1_0_client_gets_a_stream_without_chunks(client):
    raw = client.raw(version="1.0", stream=True, max_tokens=2, silence_s=2)
    head, _, body = raw.data.partition(b"\r\n\r\n")
    assert raw.how == "closed"
    assert b"transfer-encoding" not in head
    assert client.events(body.decode())[-1] == "[DONE]"


def test_requests_sent_together_on_one_connection_are_answered_in_order(client, sim):
    sim.configure(service_ms=50.0)
    with client.open(max_tokens=1) as line:
        for tokens in (2, 3):
            content = b'{"model":"m","messages":[{"content":"a"}],"max_tokens":%d}' % tokens
            head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(content)
            line.sendall(head + content)
        data = b""
        while data.count(b'"total_tokens"') < 3:
            data += line.recv(65536)
    counts = [int(part.split(b",")[0]) for part in data.split(b'"completion_tokens":')[1:]]
    assert counts == [1, 2, 3]


def test_health_and_models_answer(client):
    root = client.url.removesuffix("/v1")
    assert client.http.get(f"{root}/health").json() == {"status": "ok"}
    assert client.http.get(f"{root}/v1/health").json() == {"status": "ok"}
    assert [m["id"] for m in client.http.get(f"{root}/v1/models").json()["data"]] == ["simulator"]


def test_only_the_configured_models_are_known(client, sim):
    sim.configure(models=["a", "b"])
    assert [m["id"] for m in client.http.get(f"{client.url}/models").json()["data"]] == ["a", "b"]
    refused = client.ask()
    assert refused.status_code == 404
    assert refused.json()["error"]["code"] == "model_not_found"
    assert client.ask(model="b").json()["model"] == "b"


def test_wrong_requests_are_told_so(client, sim):
    def status(method: str, path: str, content: bytes = b"") -> int:
        return client.http.request(method, client.url.removesuffix("/v1") + path, content=content).status_code

    assert status("POST", "/v1/chat/completions", b"{") == 400
    assert status("GET", "/v1/chat/completions") == 405
    assert status("GET", "/v1/nothing") == 404
    assert status("POST", "/sim/config", b'{"slotz": 1}') == 400
    assert sim.stats()["failed"] == {"refused": 1}


def test_what_is_not_http_is_refused_and_cut(client):
    address = urlsplit(client.url)
    with socket.create_connection((address.hostname, address.port), timeout=5) as line:
        line.sendall(b"this is no HTTP\r\n\r\n")
        data = b""
        while part := line.recv(65536):
            data += part
    assert data.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"connection: close\r\n" in data
    assert client.ask().status_code == 200


def test_a_big_body_waits_for_continue_and_arrives(client):
    response = client.http.post(
        f"{client.url}/chat/completions",
        json={"model": "m", "messages": [{"content": "word " * 200_000}]},
        headers={"expect": "100-continue"},
    )
    assert response.json()["usage"]["prompt_tokens"] == 200_000


def test_a_configured_key_is_asked_for():
    with SimulatorProcess(SimConfig(service_ms=0), api_key="sesame") as sim, httpx.Client(trust_env=False) as http:
        body = {"model": "m", "messages": [{"content": "hi"}]}

        def status(key: str | None) -> int:
            headers = {} if key is None else {"authorization": f"Bearer {key}"}
            return http.post(f"{sim.url}/chat/completions", json=body, headers=headers).status_code

        assert [status("sesame"), status("other"), status(None)] == [200, 401, 401]
        assert http.get(f"{sim.url}/models").status_code == 401
        assert http.get(f"{sim.url}/health").status_code == 200
        assert sim.stats()["ok"] == 1
        assert "sesame" not in sim.config.to_json()
