"""Whom to measure."""

import os
import re
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from config.part import Part

KEY_NAME = re.compile(r"^GATEBENCH_(API_KEY|KEY_\w+)$")


class Target(Part):
    """One OpenAI-compatible endpoint."""

    name: str = Field("target", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="Short name, used in tables")
    url: str = Field(description="OpenAI base URL, as in http://127.0.0.1:4000/v1")
    model: str = Field(description="Model to ask for, where `models` has no better answer")
    models: dict[str, str] = Field(default_factory=dict, description="Model in the workload -> model to ask for")
    api_key_env: str = Field("GATEBENCH_API_KEY", description="Environment variable that holds the key")
    headers: dict[str, str] = Field(default_factory=dict)
    query: dict[str, str] = Field(default_factory=dict)
    extra_body: dict[str, Any] = Field(default_factory=dict)
    token_param: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    transport: Literal["wire", "httpx"] = "wire"
    direct: bool = Field(False, description="The upstream itself, without a gateway in front")

    @field_validator("name")
    @classmethod
    def _not_reserved(cls, value: str) -> str:
        if value in ("control", "null"):
            raise ValueError(f"{value!r} is the name of gatebench's own responder; choose another")
        return value

    @field_validator("url")
    @classmethod
    def _http(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{value!r} is not an http(s) URL; write it like http://127.0.0.1:4000/v1")
        if parts.username or parts.password:
            raise ValueError("a key does not belong in a URL; put it into the environment variable of api_key_env")
        if parts.query or parts.fragment:
            raise ValueError("a base URL ends with its path, as in /v1; what comes after a ? belongs into query")
        return value.rstrip("/")

    @field_validator("headers")
    @classmethod
    def _no_secret_headers(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            if re.search(r"authorization|api[-_]?key|token|secret|cookie", name, re.I):
                raise ValueError(
                    f"header {name!r} looks like a secret; the key comes from api_key_env, never from a plan"
                )
        return value

    @field_validator("query")
    @classmethod
    def _no_secret_query(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            if re.search(r"auth|api[-_]?key|^key$|token|secret|password|^sig(nature)?$", name, re.I):
                raise ValueError(
                    f"query {name!r} looks like a secret; the key comes from api_key_env, never from a plan"
                )
        return value

    @field_validator("extra_body")
    @classmethod
    def _what_the_workload_says(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name in ("model", "messages", "stream", "stream_options"):
            if name in value:
                raise ValueError(f"{name!r} is what the workload and the plan decide; leave it out of extra_body")
        return value

    @field_validator("api_key_env")
    @classmethod
    def _own_keys_only(cls, value: str) -> str:
        if not KEY_NAME.match(value):
            raise ValueError(f"{value!r}: must be GATEBENCH_API_KEY or start with GATEBENCH_KEY_")
        return value

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def api_key(self) -> SecretStr | None:
        """The key itself: read when a request is built, kept nowhere. A line break at its end is none of it."""
        key = os.environ.get(self.api_key_env, "").strip()
        return SecretStr(key) if key else None
