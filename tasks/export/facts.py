"""What an export is made of: a run and what was found of it. A report's view of a run is one."""

from collections.abc import Sequence
from typing import Protocol

from storage.records import (
    Calibration,
    Ceiling,
    Cell,
    Comparison,
    Cost,
    Incident,
    Leg,
    Run,
    SloResult,
    Verdict,
)


class Facts(Protocol):
    @property
    def run(self) -> Run: ...
    @property
    def legs(self) -> Sequence[Leg]: ...
    @property
    def cells(self) -> Sequence[Cell]: ...
    @property
    def verdicts(self) -> Sequence[Verdict]: ...
    @property
    def slo_results(self) -> Sequence[SloResult]: ...
    @property
    def ceilings(self) -> Sequence[Ceiling]: ...
    @property
    def calibrations(self) -> Sequence[Calibration]: ...
    @property
    def costs(self) -> Sequence[Cost]: ...
    @property
    def comparisons(self) -> Sequence[Comparison]: ...
    @property
    def incidents(self) -> Sequence[Incident]: ...
