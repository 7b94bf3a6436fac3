"""Facts of this machine: where data lies, which keys there are, whom to alert. What to measure is in `config.plan`."""

import os
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)


def is_loopback(host: str) -> bool:
    """`localhost` and literal loopback addresses; a name that merely looks like one is not."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Timeouts(BaseModel):
    """Limits of one request, in seconds. All are on by default."""

    model_config = ConfigDict(frozen=True, extra="forbid", title="Timeouts")

    connect_s: float = Field(10.0, gt=0, description="Until the connection stands")
    first_byte_s: float = Field(120.0, gt=0, description="From sending to the first byte of the answer")
    idle_s: float = Field(60.0, gt=0, description="Between two reads of one answer")
    total_s: float = Field(600.0, gt=0, description="The whole request")


class Settings(BaseSettings):
    """`GATEBENCH_*` in the environment, then `gatebench.toml` in the working folder (or the file that
    GATEBENCH_SETTINGS names), then these defaults.

    As everywhere, SSL_CERT_FILE names a PEM file with authorities of one's own (the system's are trusted without it),
    and HTTP_PROXY, HTTPS_PROXY and NO_PROXY name proxies, which only targets with `transport = "httpx"` go through."""

    model_config = SettingsConfigDict(
        env_prefix="GATEBENCH_", env_nested_delimiter="__", extra="ignore", frozen=True, hide_input_in_errors=True
    )

    home: Path = Path(".gatebench")
    api_key: SecretStr | None = None
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    alert_urls: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    timeouts: Timeouts = Timeouts()
    flush_s: float = Field(1.0, gt=0)
    dask_scheduler: str = ""  # as in tcp://10.0.0.5:8786; empty: workers are processes of this machine
    book_wait_s: float = Field(30.0, ge=0)
    keep_samples_days: int | None = Field(None, ge=1)  # older samples are deleted after a night; None: none are
    run_wait_s: float = Field(3600.0, ge=0)  # for another run that measures here, or the same target

    @field_validator("allowed_hosts", "alert_urls", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part for part in value.replace(",", " ").split() if part)
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        file = os.environ.get("GATEBENCH_SETTINGS") or "gatebench.toml"
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=file)

    @property
    def home_path(self) -> Path:
        """The data root, absolute."""
        return self.home.expanduser().resolve()

    @property
    def book_path(self) -> Path:
        return self.home_path / "gatebench.duckdb"

    @property
    def runs_path(self) -> Path:
        return self.home_path / "runs"

    @property
    def workloads_path(self) -> Path:
        return self.home_path / "workloads"

    def allows(self, host: str) -> bool:
        """Loopback always; anything else only by name, and only from the environment or the command line."""
        return is_loopback(host) or host in self.allowed_hosts
