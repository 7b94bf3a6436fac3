"""Does judging a night cost more the more nights are kept? `python tests/bench/memory.py [--nights 1,100,1000]`.

Books with so many nights of one segment (30 of them its anchor), each night with the estimates, verdicts and drifts of
four levels and the control; then the same night is judged and remembered in each, in turns, and the medians are
compared. Exit code 1 where the largest book takes more than 1.5 times as long as one that holds a whole anchor: with
fewer nights there is less to compare with.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

from storage.connection import open_file
from tasks.judge import judge_run
from tasks.remember import remember_run
from tests.fakes.house import House

SLACK = 1.5


def filled(home: Path, nights: int) -> House:
    """A night that went through the whole line, copied back in time."""
    house = House(home)
    house.night()
    with open_file(house.settings.book_path) as con:
        con.execute("create temp table back as select range as k from range(1, $n)", {"n": nights})
        for table in ("run_segments", "estimates", "verdicts", "legs", "runs"):
            names = [row[0] for row in con.execute(f"describe {table}").fetchall()]
            values = ["'old' || k || '-' || run_id" if name == "run_id" else name for name in names]
            if table == "runs":
                at = "started - to_days(k::integer)"
                values[names.index("started")] = at
                values[names.index("started_at")] = f"strftime({at}, '%Y-%m-%dT%H:%M:%S+00:00')"
            con.execute(f"insert into {table} select {', '.join(values)} from {table}, back")  # noqa: S608
        con.execute(
            "insert into baselines (segment_id, run_id, action, who, why, said_at) "
            "select segment_id, 'old' || k || '-' || run_id, 'entered', 'gatebench', 'a copy', '' "
            "from run_segments, back where run_id not like 'old%' and k > (select max(k) from back) - 29"
        )
        con.execute(
            "insert into drifts select 'old' || k || '-' || run_id, segment_id, m, 0, 0, 0, 0, null, null, 0, false "
            "from run_segments, back, (select unnest(['latency_p50', 'latency_p95', 'latency_p99', 'ttft_p95', "
            "'throughput']) as m) where run_id not like 'old%'"
        )
    return house


def once(house: House) -> float:
    """Seconds to judge the night and remember it, once more."""
    begin = time.perf_counter()
    run_id = house.nights[-1]
    segments = house.book.segments(run_id)
    judged = judge_run(house.plan, run_id, segments, house.settings, confirmed=False)
    remember_run(run_id, segments, judged, house.settings)
    return time.perf_counter() - begin


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nights", default="1,30,100,1000")
    parser.add_argument("--rounds", type=int, default=9)
    asked = parser.parse_args()
    counts = [int(text) for text in asked.nights.split(",")]
    with tempfile.TemporaryDirectory() as folder:
        houses = {count: filled(Path(folder) / str(count), count) for count in counts}
        found: dict[int, list[float]] = {count: [] for count in counts}
        for _ in range(asked.rounds):
            for count, house in houses.items():
                found[count].append(once(house))
    for count, seconds in found.items():
        print(f"{count:6} nights kept: {1e3 * statistics.median(seconds):7.1f} ms ({1e3 * min(seconds):.1f} at least)")
    whole = [statistics.median(found[count]) for count in counts if count >= 30]
    ratio = whole[-1] / whole[0]
    print(f"the largest takes {ratio:.2f} × as long as the smallest with a whole anchor; at most {SLACK}")
    return 0 if ratio <= SLACK else 1


if __name__ == "__main__":
    sys.exit(main())
