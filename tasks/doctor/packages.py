"""Whether what is installed is what was tried together. Pure."""

from collections.abc import Callable, Sequence

from packaging.requirements import InvalidRequirement, Requirement

from tasks.doctor.finding import Finding, Grade, ok

# What happens without the pin; these are worth their own line.
WHY = {
    "sqlalchemy": "the scheduler never creates a nightly run, and everything looks fine",
    "fastapi": "the Prefect server ends as it starts",
    "prefect": "not tried with gatebench",
    "duckdb": "every command ends in dozens of lines about leaks",
}
QUICK = {"uvloop": "a slower event loop: later stamps, a lower ceiling", "httptools": "nothing can be sent"}


def pins(requires: Sequence[str], installed: Callable[[str], str | None]) -> list[Finding]:
    """`requires`: our own requirements as our package states them; `installed`: a distribution's version, or None."""
    broken = [finding for finding in (_pin(text, installed) for text in requires) if finding is not None]
    if broken:
        return broken
    named = ", ".join(f"{name} {installed(name)}" for name in ("prefect", "sqlalchemy", "fastapi") if installed(name))
    return [ok("packages", f"{named} and the others as tried" if named else "nothing is pinned")]


def _pin(text: str, installed: Callable[[str], str | None]) -> Finding | None:
    try:
        wanted = Requirement(text)
    except InvalidRequirement:
        return None
    if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
        return None
    name, version = wanted.name, installed(wanted.name)
    if version is not None and wanted.specifier.contains(version, prereleases=True):
        return None
    known = {**WHY, **QUICK}.get(name, "not tried together")
    said = "is not installed" if version is None else f"is {version}"
    grade = Grade.BAD if name in WHY or version is None else Grade.WARN
    return Finding(
        "packages", grade, f"{name} {said}, not {wanted.specifier}: {known}", f'pip install "{name}{wanted.specifier}"'
    )
