"""What the figures read from a run's rows: each frame is computed once, and stays small however many rows there are."""

import math

import polars as pl

from storage.records import CONTROL, SLOW_FAILURES, STRESS, Attempt, Phase

POINTS = 60
BINS = 72
PARTS = 4  # of a leg, so that a change within it is seen
BUCKETS = 180
HEAT_ROWS = 24  # of latency, log-even between a level's fastest request and its 99.9th percentile; fewer of a small run
HEAT_COLUMNS = 240  # of time, of all levels and targets together, and at most 60 of one
HEAT_LEAST = 20  # requests that a column should have

ON_TOP = pl.col("stream_label") == STRESS

# An open loop (level 0) counts from when a request was due: a slow target must not hide the wait it causes.
LATENCY_MS = (
    pl.when(pl.col("level") == 0)
    .then(pl.col("end_ns") - pl.col("intended_ns"))
    .otherwise(pl.col("end_ns") - pl.col("sent_ns"))
    / 1e6
)


def judged(samples: pl.LazyFrame) -> pl.LazyFrame:
    """target, level, block, sent_ns, latency_ms of the first attempt's measured requests, control and stress left out.
    Timed-out and censored requests are there at their age; other failures are not latencies."""
    slow = [kind.value for kind in SLOW_FAILURES]
    return (
        _measured(samples)
        .filter((pl.col("failure").is_null() | pl.col("failure").is_in(slow)) & ~ON_TOP)
        .select("target", "level", "block", "sent_ns", latency_ms=LATENCY_MS)
    )


def quantile_grid(samples: pl.LazyFrame) -> pl.DataFrame:
    """At most 60 points a (target, level) on an even −log10(1 − q) axis, from the fastest request to the slowest:
    target, level, tail (= −log10(1 − q)), q, latency_ms, n. One pass, one sort a level."""
    steps = pl.Series([k / (POINTS - 1) for k in range(POINTS)], dtype=pl.Float64)
    tail = pl.lit(steps) * pl.len().log10()
    rank = ((1 - 10 ** (-tail)) * pl.len()).add(1e-9).floor().clip(0, pl.len() - 1).cast(pl.UInt32)
    return (
        judged(samples)
        .group_by("target", "level")
        .agg(tail=tail, latency_ms=pl.col("latency_ms").sort().gather(rank), n=pl.len())
        .explode("tail", "latency_ms")
        .with_columns(q=1 - 10 ** (-pl.col("tail")))
        .unique(["target", "level", "latency_ms", "tail"])
        .select("target", "level", "tail", "q", "latency_ms", "n")
        .sort("target", "level", "tail")
        .collect()
    )


def at_quantile(grid: pl.DataFrame, q: float) -> float | None:
    """The latency in ms of one level's grid at q; None where the level has too few requests to say."""
    if grid.is_empty() or (1 - q) * grid["n"][0] < 1:
        return None
    return float(grid.sort((pl.col("q") - q).abs())["latency_ms"][0])


def histogram(samples: pl.LazyFrame) -> pl.DataFrame:
    """Shares of requests in log-even bins that all levels share: target, level, low_ms, high_ms, requests, share.
    The slowest 0.1 % of all are counted in the last bin."""
    rows = judged(samples).filter(pl.col("latency_ms") > 0).with_columns(log=pl.col("latency_ms").log10())
    ends = rows.select(low=pl.col("log").min(), high=pl.col("log").quantile(0.999)).collect()
    low, high = ends.row(0)
    if low is None:
        numbers = dict.fromkeys(("low_ms", "high_ms", "share"), pl.Float64)
        return pl.DataFrame(schema={"target": pl.String, "level": pl.Int32, "requests": pl.UInt32, **numbers})
    width = max((high - low) / BINS, 0.004)
    place = ((pl.col("log") - low) / width).floor().clip(0, BINS - 1)
    return (
        rows.group_by("target", "level", bin=place)
        .agg(requests=pl.len())
        .with_columns(share=pl.col("requests") / pl.col("requests").sum().over("target", "level"))
        .with_columns(low_ms=10 ** (low + pl.col("bin") * width), high_ms=10 ** (low + (pl.col("bin") + 1) * width))
        .select("target", "level", "low_ms", "high_ms", "requests", "share")
        .sort("target", "level", "low_ms")
        .collect()
    )


def over_time(samples: pl.LazyFrame) -> pl.DataFrame:
    """Each leg of the closed loop in four parts of equal time: target, level, block, at (block, in parts of it),
    p50_ms, p95_ms, requests."""
    start = pl.col("sent_ns").min().over("target", "level", "block")
    length = (pl.col("sent_ns").max().over("target", "level", "block") - start).clip(1)
    part = ((pl.col("sent_ns") - start) * PARTS // length).clip(0, PARTS - 1)
    return (
        judged(samples)
        .filter(pl.col("level") > 0)
        .with_columns(part=part)
        .group_by("target", "level", "block", "part")
        .agg(
            p50_ms=pl.col("latency_ms").median(),
            p95_ms=pl.col("latency_ms").quantile(0.95, "linear"),
            requests=pl.len(),
        )
        .with_columns(at_block=pl.col("block") + (pl.col("part") + 0.5) / PARTS)
        .select("target", "level", "block", "at_block", "p50_ms", "p95_ms", "requests")
        .sort("target", "level", "at_block")
        .collect()
    )


def heat(samples: pl.LazyFrame) -> pl.DataFrame:
    """Latency through the run as cells that do not grow with it: target, level, from_x, to_x, low_ms, high_ms,
    requests, share (of the requests sent between from_x and to_x), slow (requests beyond the level's p95).

    The x of a closed loop is the block (2.5 is the middle of block 2), of the open loop seconds from its first request.
    The slowest 0.1 % of a level are counted in its last row.
    """
    rows = judged(samples).filter(pl.col("latency_ms") > 0).with_columns(log=pl.col("latency_ms").log10())
    level = ["target", "level"]
    scales = rows.group_by(level).agg(
        low=pl.col("log").min(),
        high=pl.col("log").quantile(0.999),
        p95=pl.col("log").quantile(0.95, "linear"),
        rows=(pl.len().sqrt() / 2).round().clip(8, HEAT_ROWS),
    )
    columns = _columns(rows).lazy()
    cells = rows.join(scales, on=level).join(columns, on=[*level, "block"])
    width = ((pl.col("high") - pl.col("low")) / pl.col("rows")).clip(0.004)
    return (
        cells.with_columns(
            column=((pl.col("sent_ns") - pl.col("first")) * pl.col("parts") // pl.col("length")).clip(
                0, pl.col("parts") - 1
            ),
            row=((pl.col("log") - pl.col("low")) / width).floor().clip(0, pl.col("rows") - 1),
        )
        .group_by(
            *level,
            from_x=pl.col("start") + pl.col("column") * pl.col("step"),
            to_x=pl.col("start") + (pl.col("column") + 1) * pl.col("step"),
            low_ms=10 ** (pl.col("low") + pl.col("row") * width),
            high_ms=10 ** (pl.col("low") + (pl.col("row") + 1) * width),
        )
        .agg(requests=pl.len(), slow=(pl.col("log") > pl.col("p95")).sum())
        .with_columns(share=pl.col("requests") / pl.col("requests").sum().over(*level, "from_x"))
        .select(*level, "from_x", "to_x", "low_ms", "high_ms", "requests", "share", "slow")
        .sort(*level, "from_x", "low_ms")
        .collect()
    )


def _columns(rows: pl.LazyFrame) -> pl.DataFrame:
    """How each leg is cut in time: target, level, block, first (ns), length (ns), parts, start and step (of x)."""
    level = ["target", "level"]
    legs = (
        rows.group_by(*level, "block")
        .agg(first=pl.col("sent_ns").min(), last=pl.col("sent_ns").max(), n=pl.len())
        .collect()
    )
    each = max(6, min(60, HEAT_COLUMNS // max(legs.select(level).n_unique(), 1)))
    room = (each // pl.len().over(level)).clip(1)
    span_s = pl.col("length") / 1e9
    return (
        legs.with_columns(
            length=(pl.col("last") - pl.col("first")).clip(1),
            parts=pl.min_horizontal(room, (pl.col("n").min().over(level) // HEAT_LEAST).clip(1)).cast(pl.Int64),
            begun=(pl.col("first") - pl.col("first").min().over(level)) / 1e9,
        )
        .with_columns(
            start=pl.when(pl.col("level") > 0).then(pl.col("block").cast(pl.Float64)).otherwise("begun"),
            step=pl.when(pl.col("level") > 0).then(1 / pl.col("parts")).otherwise(span_s / pl.col("parts")),
        )
        .select(*level, "block", "first", "length", "parts", "start", "step")
    )


def open_loop(samples: pl.LazyFrame) -> pl.DataFrame:
    """The open loop in at most 180 buckets: target, t_s, due_rps, sent_rps, stress_rps (sent on top of a replay, no
    part of the two before), in_flight (most at one instant of the bucket, all streams together)."""
    rows = (
        _measured(samples)
        .filter(pl.col("level") == 0)
        .select("target", "intended_ns", "sent_ns", "end_ns", on_top=ON_TOP.fill_null(False))
    )
    spans = rows.group_by("target").agg(first=pl.col("intended_ns").min(), last=pl.col("end_ns").max()).sort("target")
    frames = [
        _buckets(rows.filter(pl.col("target") == target), target, first, last)
        for target, first, last in spans.collect().iter_rows()
    ]
    rates = dict.fromkeys(("t_s", "due_rps", "sent_rps", "stress_rps"), pl.Float64)
    schema = {"target": pl.String, **rates}
    return pl.concat(frames) if frames else pl.DataFrame(schema={**schema, "in_flight": pl.Int64})


def _buckets(rows: pl.LazyFrame, target: str, first_ns: int, last_ns: int) -> pl.DataFrame:
    width = _round_up((last_ns - first_ns) / 1e9 / BUCKETS)
    every = pl.LazyFrame({"bucket": range(int((last_ns - first_ns) / 1e9 / width) + 1)}, schema={"bucket": pl.Int64})

    def bucket(column: str) -> pl.Expr:
        return ((pl.col(column) - first_ns) / 1e9 / width).floor().cast(pl.Int64)

    for name, column, chosen in (
        ("due", "intended_ns", ~pl.col("on_top")),
        ("sent", "sent_ns", ~pl.col("on_top")),
        ("stress", "sent_ns", pl.col("on_top")),
    ):
        counted = rows.filter(chosen).group_by(bucket=bucket(column)).agg(pl.len().cast(pl.Int64).alias(name))
        every = every.join(counted, on="bucket", how="left")
    under_way = _under_way(rows).group_by(bucket=bucket("t_ns")).agg(most=pl.col("n").max(), last=pl.col("n").last())
    every = every.join(under_way, on="bucket", how="left")
    return (
        every.sort("bucket")
        .with_columns(pl.col("due", "sent", "stress").fill_null(0), pl.col("last").forward_fill().fill_null(0))
        .select(
            target=pl.lit(target),
            t_s=pl.col("bucket") * width,
            due_rps=pl.col("due") / width,
            sent_rps=pl.col("sent") / width,
            stress_rps=pl.col("stress") / width,
            in_flight=pl.max_horizontal("most", pl.col("last").shift(1, fill_value=0)),
        )
        .collect()
    )


def _under_way(rows: pl.LazyFrame) -> pl.LazyFrame:
    """t_ns, n: how many requests were under way from each instant at which one began or ended, in order of time."""
    begun = rows.select(t_ns="sent_ns", step=pl.lit(1, pl.Int64))
    ended = rows.select(t_ns="end_ns", step=pl.lit(-1, pl.Int64))
    events = pl.concat([ended, begun]).sort("t_ns", "step")
    return events.select("t_ns", n=pl.col("step").cum_sum())


def _round_up(seconds: float) -> float:
    """The next of 0.1, 0.2, 0.5, 1, 2, 5 … seconds."""
    exponent = math.floor(math.log10(max(seconds, 0.1)))
    steps = [base * 10.0**power for power in (exponent, exponent + 1) for base in (1, 2, 5)]
    return next(step for step in steps if step >= seconds - 1e-12)


def _measured(samples: pl.LazyFrame) -> pl.LazyFrame:
    return samples.filter(
        (pl.col("phase") == Phase.MEASURED.value)
        & (pl.col("attempt") == Attempt.FIRST.value)
        & (pl.col("target") != CONTROL)
    )
