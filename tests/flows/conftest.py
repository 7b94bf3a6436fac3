"""Plans and settings of legs, with the facts that matter to a test given by name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from config.plan import Plan, make_plan
from flows.specs import Setting

TARGET = {"name": "gw", "url": "http://127.0.0.1:4000/v1", "model": "m"}
OTHER = {"name": "direct", "url": "http://127.0.0.1:5000/v1", "model": "m"}


@pytest.fixture
def make() -> Callable[..., Plan]:
    """`make(sweep={...})`: a plan of one target, or of `targets`, with some parts set."""

    def plan(**parts: Any) -> Plan:
        sweep = {"levels": [1, 4], "requests": 40, "blocks": 5, **parts.pop("sweep", {})}
        return make_plan({"targets": [TARGET], "sweep": sweep, **parts}, "test")

    return plan


@pytest.fixture
def two(make: Callable[..., Plan]) -> Plan:
    return make(targets=[TARGET, OTHER])


@pytest.fixture
def setting(tmp_path: Path) -> Callable[[Plan], Setting]:
    def of(plan: Plan) -> Setting:
        return Setting(plan, "r1", tmp_path / "runs", "/w.parquet", "w1", 1.0, "http://127.0.0.1:9/v1")

    return of
