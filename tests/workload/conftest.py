"""Small literal payloads: only the fields an adapter reads, with the shapes LiteLLM gives them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

T0 = 1_795_502_991.0


def payload(at: float = 0.0, **changes: Any) -> dict[str, Any]:
    """A streamed success that started `at` seconds after T0; `call` None leaves the call id out."""
    base: dict[str, Any] = {
        "litellm_call_id": changes.pop("call", f"call-{at}"),
        "call_type": "acompletion",
        "status": "success",
        "stream": True,
        "startTime": T0 + at,
        "endTime": T0 + at + 0.5,
        "completionStartTime": T0 + at + 0.125,
        "model": "openai/routed",
        "model_group": "asked",
        "prompt_tokens": 26,
        "completion_tokens": 16,
        "cache_hit": None,
        "end_user": "u-017",
        "messages": [{"role": "user", "content": "hi"}],
        "model_parameters": {"stream": True, "max_tokens": 256},
        "metadata": {"user_api_key_hash": "abc", "requester_metadata": {"session_id": "s-1"}},
        "error_information": {"error_code": "", "error_class": ""},
    }
    return base | changes


def failure(at: float = 0.0, code: str = "429", **changes: Any) -> dict[str, Any]:
    """What LiteLLM writes for a refused call: no tokens, top-level stream null, every time equal to the end."""
    refused = {
        "status": "failure",
        "stream": None,
        "endTime": T0 + at + 0.05,
        "completionStartTime": T0 + at + 0.05,
        "prompt_tokens": 0,
        "completion_tokens": 0,
        "error_information": {"error_code": code, "error_class": "RateLimitError"},
    }
    return payload(at, **(refused | changes))


@pytest.fixture(name="payload", scope="session")
def payload_factory() -> Callable[..., dict[str, Any]]:
    return payload


@pytest.fixture(name="failure", scope="session")
def failure_factory() -> Callable[..., dict[str, Any]]:
    return failure


@pytest.fixture
def log(tmp_path: Path) -> Callable[..., Path]:
    """log(record or raw text, …, name="a.jsonl") -> the path of a file with one line each."""

    def write(*lines: Any, name: str = "gateway.jsonl") -> Path:
        path = tmp_path / name
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        path.write_text("".join(text + "\n" for text in texts), encoding="utf-8")
        return path

    return write
