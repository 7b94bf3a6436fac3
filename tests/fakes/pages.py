"""The project's pages, and what in them claims to work."""

import ast
import re
import shlex
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "CONTRIBUTING.md", *sorted(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")))
_BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^ *```", re.S | re.M)
_INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")


@cache
def text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of one language, without what they are indented by."""
    found = []
    for indent, named, body in _BLOCK.findall(text(page)):
        if named == language:
            found.append("\n".join(line.removeprefix(indent) for line in body.splitlines()) + "\n")
    return found


def shell(page: str) -> list[list[str]]:
    """The lines of each shell block; a line that ends in a backslash goes on."""
    return [block.replace("\\\n", " ").splitlines() for block in blocks(page, "sh")]


def commands(page: str, first: str) -> list[list[str]]:
    """Every line of the shell blocks that begins with `first`, as words; comments are left out, and settings before the
    command too."""
    found = []
    for line in (line for block in shell(page) for line in block):
        words = shlex.split(re.sub(r"\$\([^)]*\)", "SAID", line), comments=True)
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words.pop(0)
        if words and words[0] == first:
            found.append(words)
    return found


def spans(page: str, first: str) -> list[str]:
    """Code within the text that begins with this word."""
    prose = _BLOCK.sub("", text(page))
    return [span for span in _INLINE.findall(prose) if span.split(" ")[0] == first]


def table(page: str, head: str) -> list[list[str]]:
    """The rows of every table whose first column is called `head`, as cells."""
    rows, inside = [], False
    for line in text(page).splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        if not line.startswith("|"):
            inside = False
        elif cells[0] == head:
            inside = True
        elif inside and not set(line) <= set("|-"):
            rows.append(cells)
    return rows


@cache
def sentences() -> list[str]:
    """Every text in the source, what is filled in written as `…`."""
    found = []
    for package in ("config", "storage", "tasks", "flows", "deployments"):
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    found.append("".join(str(p.value) if isinstance(p, ast.Constant) else "…" for p in node.values))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
    return found
