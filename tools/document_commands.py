"""Runs the commands of pages and puts what they print into them.

    python -m tools.document_commands                all of PAGES
    python -m tools.document_commands exploring.md

A command stands in the page after ``$ ``, in a block between ``<!-- NAME: begin -->`` and ``<!-- NAME: end -->``.  It
runs where those before it ran, beside the files that the page gives: a block of Python behind "`NAME.py`:".  Of a
launch, what it prints from ``why:`` on is shown; of everything else, all of it.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HANG = ROOT / "docs" / "reading-a-hang.md"
PAGES = {HANG: 100, ROOT / "docs" / "exploring.md": 120}
"""And how wide what is printed may be."""
LIMIT_S = 600
BLOCK = re.compile(r"<!-- (?P<name>[\w-]+): begin -->\n```\n\$ (?P<command>.+)\n(?P<output>[\s\S]*?)```\n"
                   r"<!-- (?P=name): end -->")
FILE = re.compile(r"`(?P<name>\w+\.py)`:\n\n```python\n(?P<content>[\s\S]*?)```\n")
MODULES = {"cpuemu": "cpuemu", "trace-dump": "cpuemu.report.trace_dump"}


@dataclass(frozen=True)
class Shown:
    """A command of the page, and what it printed."""

    command: str
    output: str


def blocks(text: str) -> dict[str, Shown]:
    """The commands of the page in its order, by name."""
    return {found["name"]: Shown(found["command"], found["output"]) for found in BLOCK.finditer(text)}


def run(command: str, place: Path, width: int = PAGES[HANG]) -> str:
    """What a command of a page prints, in a directory."""
    program, *words = shlex.split(command)
    environment = {**os.environ, "COLUMNS": str(width), "PYTHONPATH": str(ROOT)}
    made = subprocess.run([sys.executable, "-m", MODULES[program], *words], cwd=place, text=True, capture_output=True,
                          timeout=LIMIT_S, check=False, env=environment)
    if made.returncode not in (0, 1):
        raise SystemExit(f"{command}: exit code {made.returncode}: {made.stderr}")
    return "".join(f"{line.rstrip()}\n" for line in _shown(words, made.stdout.replace(f"{place}/", "")))


def _shown(words: list[str], output: str) -> Iterator[str]:
    lines = output.splitlines()
    if words[0] == "launch":
        begin = next((number for number, line in enumerate(lines) if line.startswith("why:")), 0)
        yield "…"
        lines = lines[begin:]
    yield from lines


def page(text: str, width: int = PAGES[HANG]) -> str:
    """The page with what its commands print now."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name).resolve()
        for file in FILE.finditer(text):
            (place / file["name"]).write_text(file["content"])
        printed = {name: run(each.command, place, width) for name, each in blocks(text).items()}

    def anew(found: re.Match[str]) -> str:
        return (f"<!-- {found['name']}: begin -->\n```\n$ {found['command']}\n{printed[found['name']]}```\n"
                f"<!-- {found['name']}: end -->")

    return BLOCK.sub(anew, text)


if __name__ == "__main__":
    for each, width in PAGES.items():
        if each.name in (sys.argv[1:] or [each.name]):
            each.write_text(page(each.read_text(), width))
