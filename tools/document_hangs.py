"""Runs the commands of docs/reading-a-hang.md and puts what they print into it: python -m tools.document_hangs.

A command stands in the page after ``$ ``, in a block between ``<!-- NAME: begin -->`` and ``<!-- NAME: end -->``.  Of a
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
PAGE = ROOT / "docs" / "reading-a-hang.md"
WIDTH = 100
LIMIT_S = 120
BLOCK = re.compile(r"<!-- (?P<name>[\w-]+): begin -->\n```\n\$ (?P<command>.+)\n(?P<output>[\s\S]*?)```\n"
                   r"<!-- (?P=name): end -->")
MODULES = {"cpuemu": "cpuemu", "trace-dump": "cpuemu.report.trace_dump"}


@dataclass(frozen=True)
class Shown:
    """A command of the page, and what it printed."""

    command: str
    output: str


def blocks(text: str) -> dict[str, Shown]:
    """The commands of the page in its order, by name."""
    return {found["name"]: Shown(found["command"], found["output"]) for found in BLOCK.finditer(text)}


def run(command: str, place: Path) -> str:
    """What a command of the page prints, in a directory."""
    program, *words = shlex.split(command)
    environment = {**os.environ, "COLUMNS": str(WIDTH), "PYTHONPATH": str(ROOT)}
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


def page(text: str) -> str:
    """The page with what its commands print now."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name).resolve()
        printed = {name: run(each.command, place) for name, each in blocks(text).items()}

    def anew(found: re.Match[str]) -> str:
        return (f"<!-- {found['name']}: begin -->\n```\n$ {found['command']}\n{printed[found['name']]}```\n"
                f"<!-- {found['name']}: end -->")

    return BLOCK.sub(anew, text)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
