"""A workload as one page that opens offline: concurrency, sizes and models first. It looks like a run's page."""

from typing import Any

import polars as pl

from tasks.charts.likeness import likeness, likeness_frame
from tasks.charts.mix import burst_frame, bursts, mix, mix_frame
from tasks.charts.sizes import joint, joint_frame, size_frame, sizes
from tasks.charts.traffic import concurrency_frame, rate_frame, traffic, week, week_frame
from tasks.report.pictures import Figure, environment, figure, shown

SHOWN = 30  # models in the table


def render_profile(profile: dict[str, Any], words: str, header: dict[str, Any], like: dict[str, Any] | None) -> str:
    """`profile` and `header` as JSON, `words`: the profile in words. `like`: the fidelity report of a synthetic one."""
    page = environment().get_template("profile.html.j2")
    return page.render(
        name=profile["name"],
        identity=profile["workload_id"][:16],
        when=(profile["started_at"] or "")[:19].replace("T", " "),
        headline=words.partition("\n")[0],
        facts=word_facts(words),
        models=_models(profile),
        errors=list(profile["errors"].items()),
        like=None if like is None else like_rows(like),
        record=_record(header),
        **shown([*profile_figures(profile), *like_figures(like)]),
    )


def profile_figures(profile: dict[str, Any]) -> list[Figure]:
    """What a profile has numbers for, concurrency first."""
    under_way, rates = concurrency_frame(profile), rate_frame(profile)
    found = []
    if rates.height > 1:
        note = "Under way: the mean in each step, as recorded starts and durations imply it (Little's law)."
        note = (
            note if under_way.height else "The log has no durations, so that nobody can tell how many were under way."
        )
        chart = traffic(under_way, rates, profile)
        found.append(figure("traffic", note, chart, under_way if under_way.height else rates))
    for frame, name, note, draw in (
        (
            size_frame(profile),
            "sizes",
            "Tokens of the prompt and of the answer, of all requests whose log says.",
            sizes,
        ),
        (
            burst_frame(profile),
            "bursts",
            "The line at 1 is a Poisson stream; a slow change of rate counts too.",
            bursts,
        ),
    ):
        if frame.height > 1:
            found.append(figure(name, note, draw(frame, profile), frame))
    pairs = joint_frame(profile)
    if pairs.height:
        note = "Bins double from one to the next."
        found.insert(2, figure("joint", note, joint(pairs, profile["spearman"]), pairs))
    models = mix_frame(profile)
    found.insert(1, figure("mix", "By the name that the client asked for.", mix(models), models))
    hours = week_frame(profile)
    if hours.height:
        found.append(figure("week", "Mean over the times each hour was seen.", week(hours), hours))
    return found


def like_figures(like: dict[str, Any] | None) -> list[Figure]:
    """How much of each limit a copy used; nothing without a report or for one without limits."""
    frame = likeness_frame(like) if like is not None else pl.DataFrame()
    if like is None or frame.is_empty():
        return []
    note = "The tick is the same distance between two halves of the source: below it, nothing can be told apart."
    return [figure("likeness", note, likeness(frame, like["title"]), frame)]


def like_rows(like: dict[str, Any]) -> dict[str, Any]:
    """A fidelity report for the template `likeness.html.j2`."""
    rows = [
        {
            "name": m["what"],
            "value": f"{m['value']:.3f}",
            "limit": m["limit"],
            "floor": "" if m["floor"] is None else f"{m['floor']:.3f}",
            "word": m["said"],
        }
        for m in like["measures"]
    ]
    return {"title": like["title"], "ok": like["ok"], "rows": rows, "notes": like["notes"]}


def word_facts(words: str | None) -> list[tuple[str, str]]:
    """A profile's words but the first line, taken apart at their names; a line without one (bars) is left out."""
    lines = (words or "").split("\n")[1:]
    return [(" ".join(line[:15].split()), line[15:].strip()) for line in lines if line[:15].strip()]


def _models(profile: dict[str, Any]) -> list[list[str]]:
    def tokens(value: float | None) -> str:
        return "" if value is None else f"{value:,.0f}"

    rows = [
        [m["model"], f"{m['n']:,}", f"{m['share']:.1%}", tokens(m["input_p50"]), tokens(m["output_p50"])]
        for m in profile["models"]
    ]
    left = len(rows) - SHOWN
    return rows[:SHOWN] + ([[f"{left} more", "", "", "", ""]] if left > 0 else [])


def _record(header: dict[str, Any]) -> list[tuple[str, str]]:
    ledger = header["ledger"]
    rows = [
        ("formats", ", ".join(header["formats"])),
        ("sources", ", ".join(f"{s['name']} ({s['sha256'][:16]})" for s in header["sources"])),
        ("arrivals are", header["arrival_basis"]),
        ("privacy", header["privacy"]),
        ("rows read, kept", f"{ledger['read']:,}, {ledger['kept']:,}" if ledger["read"] else ""),
        ("since then", ", ".join(header["derived"])),
        ("like", "" if header["parent"] is None else f"workload {header['parent'][:16]}"),
        ("made by", header["created_by"]),
    ]
    return [(name, text) for name, text in rows if text]
