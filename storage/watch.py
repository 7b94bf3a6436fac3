"""The part of the book that goes on from night to night: incidents, drift, and what a new segment carries over."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Protocol, TypeVar

import duckdb
import polars as pl

from storage import incidents, memory, noise, trend
from storage.bundle import Bundle, bundle_of, take_in
from storage.errors import UsageError
from storage.incidents import DriftNight, Step
from storage.journal import MEMORY
from storage.records import Cell, Change, Drift, Incident, Noise, Run, Verdict
from storage.runs import in_utc
from storage.segments import Segment
from storage.trend import Anchor, TrendNight

T = TypeVar("T")
Con = duckdb.DuckDBPyConnection


class Do(Protocol):
    """One transaction of the book."""

    def __call__(self, work: Callable[[Con], T]) -> T: ...


class Note(Protocol):
    """The same, with the rows of these tables that it changes written down in the journal."""

    def __call__(self, work: Callable[[Con], T], *tables: str) -> T: ...


class Watch:
    """`Book.watch`. Each method is one short transaction; raises as the book does, UsageError for an incident that is
    not there."""

    def __init__(self, do: Do, note: Note, now: Callable[[], str]) -> None:
        self._do = do
        self._note = note
        self._now = now

    # incidents

    def keep(self, segment_id: str, run_id: str, step: Step) -> list[Change]:
        """See `incidents.keep`."""
        return self._note(lambda con: incidents.keep(con, segment_id, run_id, step), "incidents", "changes")

    def acknowledge(self, name: str, who: str, why: str) -> Incident:
        return self._note(lambda con: incidents.acknowledge(con, name, who, why, self._now()), "incidents", "changes")

    def accept(self, name: str, who: str, why: str) -> list[Segment]:
        """The last run in which it was seen is the first night of a new segment; every incident of the old one ends."""

        def work(con: Con) -> list[Segment]:
            incident = incidents.find(con, name)
            if incident.status not in incidents.OPEN:
                raise UsageError(f"incident {name} is {incident.status} already; there is nothing to accept")
            return memory.accept(con, incident.regressed_run, [], (who, why, self._now()), incident)

        return self._note(work, *MEMORY)

    def incident(self, name: str) -> Incident:
        return self._do(lambda con: incidents.find(con, name))

    def incidents(self, *, closed: bool = False) -> list[Incident]:
        """The newest first."""
        return self._do(lambda con: incidents.listed(con, closed=closed))

    def open_in(self, segment_id: str, run_id: str | None = None) -> list[Incident]:
        """Those that keep a run out of its segment's baseline: open ones, and one that this run closed."""
        return self._do(lambda con: incidents.open_in(con, segment_id, run_id))

    def changes(self, *, incident_id: str | None = None, run_id: str | None = None) -> list[Change]:
        """Of an incident, or what a run brought about."""
        return self._do(lambda con: incidents.changes_of(con, incident_id=incident_id, run_id=run_id))

    # drift

    def add_drifts(self, run_id: str, found: Sequence[tuple[str, Drift]]) -> None:
        """(segment, where it stands) of a scheduled night; replaces what the run had."""
        self._do(lambda con: incidents.put_drifts(con, run_id, found))

    def drifts(self, segment_ids: Sequence[str], *, before: str, most: int = 60) -> list[Drift]:
        """Where the last nights left each segment, oldest first."""
        found = self._do(lambda con: incidents.drifts(con, segment_ids, in_utc(before), most))
        return [night.drift for night in found]

    def dated_drifts(self, segment_ids: Sequence[str], *, until: str, most: int = 60) -> list[DriftNight]:
        """The same with the nights themselves, up to the one that started then."""
        before = in_utc(until) + timedelta(microseconds=1)
        return self._do(lambda con: incidents.drifts(con, segment_ids, before, most))

    def onset(self, segment_id: str, drift: Drift, *, before: str) -> str | None:
        """started_at of the night on which a drift was last nothing."""
        number = drift.onset
        if number is None:
            return None
        return self._do(lambda con: incidents.onset_of(con, segment_id, drift.metric, number, before))

    def trend(
        self,
        metric: str,
        *,
        target: str | None,
        level: int | None,
        most: int,
        every: bool = False,
        until: str | None = None,
    ) -> list[TrendNight]:
        """The last `most` nights of each target and series, oldest first; `level` None: the mean over levels. `every`:
        those of earlier workloads and plans too. `until`: started_at of the last night that is wanted."""
        end = None if until is None else in_utc(until)
        return self._do(lambda con: trend.nights(con, metric, target, level, most, every=every, until=end))

    def anchors(
        self, segment_ids: Sequence[str], metric: str, *, level: int | None, most: int = 30, until: str | None = None
    ) -> list[Anchor]:
        """What these segments are judged against, of one number; no row for a segment without a baseline."""
        end = None if until is None else in_utc(until)
        return self._do(lambda con: trend.anchors(con, segment_ids, metric, level, most, until=end))

    # segments

    def carried(self, segment_ids: Sequence[str], *, before: str, limit: int = 30) -> pl.DataFrame:
        """The nights whose spread these segments carry over, as rows for the gate."""
        return self._do(lambda con: memory.carried(con, segment_ids, before, limit))

    def new_normal(self, old: Segment, run_ids: Sequence[str], what: str, why: str) -> Segment | None:
        """See `memory.new_normal`."""
        return self._note(
            lambda con: memory.new_normal(con, old, run_ids, what, ("gatebench", why, self._now())), *MEMORY
        )

    # nights that were measured elsewhere

    def bundle(self, chosen: Sequence[str] = (), target: str | None = None) -> Bundle:
        """See `bundle.bundle_of`."""
        return self._do(lambda con: bundle_of(con, chosen, target, self._now()))

    def take_in(
        self, nights: Sequence[tuple[Run, list[Cell]]], facts: dict[str, str], who: str, why: str
    ) -> tuple[Segment, list[str]]:
        """See `bundle.take_in`."""
        said = (who, why, self._now())
        return self._note(lambda con: take_in(con, nights, facts, said), *MEMORY, "run_segments")

    def last_verdicts(self, segment_id: str, *, before: str, most: int) -> list[tuple[str, list[Verdict]]]:
        """Of the last whole, valid, scheduled nights of a segment, oldest first."""
        return self._do(lambda con: incidents.last_verdicts(con, segment_id, before, most))

    # how noisy a setup is

    def add_noise(self, found: Noise) -> None:
        self._note(lambda con: noise.put(con, found), "noise")

    def noise(self, name: str) -> Noise:
        """An A/A study by its id, a prefix that only one has, or `last`."""
        return self._do(lambda con: noise.find(con, name))
