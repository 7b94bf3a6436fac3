"""Does judging a night cost more when there are more nights in the book? `python tests/bench/judging.py`.

A book is filled with 1, 100 and 1,000 whole nights (rows as a night leaves them: two targets and the control, four
levels, five blocks), then more nights are begun, stored, judged, remembered and told as the flow does it; of each step
the CPU time, the median of several. Exit code 1 where a night after 1,000 costs more than 1.5 times what one after 100
does: the first 30 nights are the baseline, and after that nothing should grow.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from config.plan import Plan
from config.settings import Settings
from storage.connection import open_file
from storage.records import Cell, Estimate, Leg
from storage.rows import FROM_JSON, fill
from storage.store import Book
from tasks.judge import Judged, judge_run, segments
from tasks.publish import view_of
from tasks.remember import remember_run
from tasks.report.headline import headline
from tests.fakes import records

LEVELS, TARGETS, BLOCKS = (1, 10, 50, 100), ("gw", "other"), 5
METRICS = ("latency_p50", "latency_p95", "latency_p99", "ttft_p95", "throughput")
MORE = ("latency_p90", "latency_mean", "ttft_p50", "tpot_p50", "itl_p50", "goodput", "output_tokens_per_s")
DIGESTS = {(target, "sweep"): "p1" for target in TARGETS}
FIRST = datetime(2020, 1, 1, 2, tzinfo=UTC)
MOST = 1.5
AT_ONCE = 50  # nights copied in one statement
# What a night leaves of itself; copied, a night in the book is one like any other.
OF_A_RUN = ("runs", "legs", "trials", "estimates", "verdicts", "run_segments", "baselines", "drifts")


class Nights:
    """A book at `home`, and the steps of a night on it."""

    def __init__(self, home: Path) -> None:
        self.settings = Settings(home=home)
        self.book = Book(self.settings.book_path)
        urls = [{"name": name, "url": "http://127.0.0.1:1/v1", "model": "m"} for name in TARGETS]
        self.plan = Plan.model_validate({"targets": urls})
        self.rng = np.random.default_rng(7)
        self.spent: dict[str, list[float]] = {}

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        begin = time.process_time()
        yield
        self.spent.setdefault(step, []).append(time.process_time() - begin)

    def night(self, number: int) -> str:
        """A whole night, as the flow has it, each step timed."""
        at = FIRST + timedelta(days=number)
        run = records.begun(
            run_id=f"{at:%Y%m%dT%H%M%SZ}-nightly-{number:04x}",
            started_at=at.isoformat(),
            plan=self.plan.model_dump(mode="json"),
        )
        with self.timed("begin"):
            self.book.mark_interrupted(lambda pid: True)
            self.book.runs(200)
            self.book.start_run(run)
        with self.timed("store"):
            self.book.add_legs(run.run_id, list(self._legs(run.run_id, at)))
            self.book.add_cells(run.run_id, list(self._cells()))
        with self.timed("judge"):
            found = segments(DIGESTS, run.run_id, "w1", "f1", self.book)
            judged: Judged = judge_run(self.plan, run.run_id, found, self.settings, confirmed=True)
        with self.timed("remember"):
            remember_run(run.run_id, found, judged, self.settings)
        with self.timed("tell"):
            ended = (at + timedelta(hours=1)).isoformat()
            self.book.finish_run(
                run.run_id, status="completed", ended_at=ended, verdict=judged.verdict, exit_code=0, report=None
            )
            headline(view_of(run.run_id, self.settings))
        return run.run_id

    def _legs(self, run_id: str, at: datetime) -> Iterator[Leg]:
        for block in range(1, BLOCKS + 1):
            for target in (*TARGETS, "control"):
                for level in LEVELS:
                    yield records.leg(
                        run_id=run_id,
                        trial_id=f"{target}-{level}",
                        leg_id=f"first-b{block}-{target}-c{level}",
                        block=block,
                        target=target,
                        level=level,
                        started_at=at.isoformat(),
                    )

    def _cells(self) -> Iterator[Cell]:
        for target in (*TARGETS, "control"):
            for level in LEVELS:
                for metric in (*METRICS, *MORE):
                    point = 0.1 * float(np.exp(self.rng.normal(0, 0.01)))
                    yield Cell(
                        "first", target, "sweep", level, metric, Estimate(point, 0.98 * point, 1.02 * point, 1000, 5)
                    )
                yield Cell("first", target, "sweep", level, "errors", Estimate(0.001, 0.0, 0.01, 1000, 1))

    def fill(self, nights: int) -> None:
        """As if so many had been, one a night before FIRST: copies of the last night's rows."""
        model = self.book.run("last").run_id
        con = open_file(self.settings.book_path)
        try:
            for table in OF_A_RUN:
                found = con.execute("from query_table($table) where run_id = $model", {"table": table, "model": model})
                names = [column[0] for column in found.description]
                rows = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
                for first in range(1, nights + 1, AT_ONCE):
                    some = range(first, min(first + AT_ONCE, nights + 1))
                    fill(con, f"insert into {table} {FROM_JSON}", table, [_moved(row, k) for k in some for row in rows])
        finally:
            con.close()


def _moved(row: dict[str, Any], nights: int) -> dict[str, Any]:
    """The same row, so many nights before FIRST; a place in a table is counted anew."""
    at = FIRST - timedelta(days=nights)
    new = {
        "run_id": f"{at:%Y%m%dT%H%M%SZ}-nightly-{nights:04x}",
        "started_at": at.isoformat(),
        "started": f"{at:%Y-%m-%d %H:%M:%S}",
    }
    counted = ("place",) if "action" in row else ()
    return {name: new.get(name, value) for name, value in row.items() if name not in counted}


def measured(nights: int, again: int, folder: Path) -> dict[str, float]:
    """Median seconds of each step of a night, and of the whole of it, with so many nights in the book."""
    with tempfile.TemporaryDirectory(dir=folder) as home:
        here = Nights(Path(home))
        here.night(0)
        here.fill(nights - 1)
        here.night(1)
        here.spent.clear()
        for number in range(2, again + 2):
            here.night(number)
        spent = {step: median(values) for step, values in here.spent.items()}
        return {**spent, "night": median(sum(values) for values in zip(*here.spent.values(), strict=True))}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nights", default="1,100,1000", help="how many there are before (1,100,1000)")
    parser.add_argument("--again", type=int, default=7, help="nights timed of each")
    parser.add_argument("--folder", type=Path, default=None, help="where books are made")
    asked = parser.parse_args()
    sizes = [int(part) for part in asked.nights.split(",")]
    found = {size: measured(size, asked.again, asked.folder) for size in sizes}
    print(
        f"ms of CPU a night, median of {asked.again}; {len(TARGETS)} targets, {len(LEVELS)} levels, {BLOCKS} blocks\n"
    )
    print(f"{'nights in the book':20}" + "".join(f"{size:>10,}" for size in sizes))
    for step in found[sizes[0]]:
        print(f"{step:20}" + "".join(f"{1000 * found[size][step]:10.0f}" for size in sizes))
    growth = found[sizes[-1]]["night"] / found[sizes[-2]]["night"]
    missed = growth > MOST
    print(f"\n{sizes[-1]:,} over {sizes[-2]:,}: {growth:.2f} (≤ {MOST}){'  MISSED' if missed else ''}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
