"""Writes docs/zoo.md: the bugs from their files, their figures from docs/zoo-figures.json.

    python -m tools.document_zoo                         the page, from the figures that are kept
    python -m tools.document_zoo --run --schedules 2000  the figures first: of all bugs, or of those that are named

A figure is kept with the command that made it.  The biographies are the docstrings of cpuemu/scenarios/bug_*.py.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from cpuemu.explore.statistics import at_most, wilson
from cpuemu.patches import changed_lines
from cpuemu.scenarios.base import Bug
from cpuemu.scenarios.load import bug_named, bugs, mending, story_of, title_of
from tools.document_comparison import block

ROOT = Path(__file__).resolve().parent.parent
PAGE, FIGURES = ROOT / "docs" / "zoo.md", ROOT / "docs" / "zoo-figures.json"
STRATEGIES = ("random", "pct:1", "pct:2", "pct:3", "pct:5", "pos", "surw")


def measure(bug: Bug, schedules: int, fixed: int, free: float) -> dict[str, Any]:
    """One bug's figures.  ``schedules``: of each strategy; ``free``: seconds without a conductor, 0: not."""
    words = ["zoo", "run", bug.number, "--schedules", str(schedules * len(STRATEGIES)), "--fixed-schedules", str(fixed)]
    ran = _said(words)
    broken, mended = ran["broken"], ran["fixed"]
    figures = {
        "command": f"cpuemu {' '.join(words)}", "as_expected": ran["as_expected"], "actors": broken["actors"],
        "points": len(broken["points"]["ran"]), "steps": broken["steps"], "first": broken["first"],
        "strategies": {name: {key: tally[key] for key in ("schedules", "failures")} |
                       {"median": tally["to_failure"]["median"]} for name, tally in broken["strategies"].items()},
        "signatures": broken["signatures"],
        "fixed": {"schedules": mended["schedules"] - mended["cut"], "failures": mended["failures"] - mended["cut"]}
        if mended else None,
    }
    if free:
        figures["free"] = _said(["zoo", "run", bug.number, "--free", str(free)])["free"]
    return figures


def _said(words: list[str]) -> dict[str, Any]:
    run = subprocess.run([sys.executable, "-m", "cpuemu", *words, "--json"], cwd=ROOT, capture_output=True, text=True,
                         check=False)
    if not run.stdout:
        raise RuntimeError(run.stderr)
    said: dict[str, Any] = json.loads(run.stdout)["bugs"][0]
    return said


# --- the page ----------------------------------------------------------------------------------------------


def listed(found: list[Bug]) -> Iterator[str]:
    yield "| no. | name | what it is | release | ends with | lines | pinned |"
    yield "|---|---|---|---|---|---:|---|"
    for bug in found:
        release = bug.release + (", constructed" if bug.constructed else "")
        yield (f"| [{bug.number}](#{anchor(bug)}) | `{bug.name}` | {title_of(bug)} | {release} | "
               f"{', '.join(f'`{rule}`' for rule in bug.expects)} | {changed_lines(mending(bug))} | "
               f"{'yes' if bug.pinned else ''} |")


def anchor(bug: Bug) -> str:
    return f"{bug.number}-{bug.name}"


def figures(found: list[Bug], kept: dict[str, Any]) -> Iterator[str]:
    yield ("| no. | depth | actors | points | " + " | ".join(STRATEGIES) +
           " | all in turn: schedules to a failure, median | fixed kernel | 8 processes, free |")
    yield "|---|---:|---:|---:|" + "---:|" * len(STRATEGIES) + "---:|---|---|"
    for bug in found:
        if bug.number in kept:
            yield f"| {bug.number} | " + " | ".join(_cells(kept[bug.number])) + " |"


def _cells(figure: dict[str, Any]) -> Iterator[str]:
    tallies = figure["strategies"]
    depths = [int(name.partition(":")[2]) for name in tallies if name.startswith("pct:") and tallies[name]["failures"]]
    yield f"≤ {min(depths)}" if depths else "–"
    yield str(figure["actors"])
    yield str(figure["points"])
    for name in STRATEGIES:
        yield rate(tallies[name]["failures"], tallies[name]["schedules"]) if name in tallies else ""
    drawn = [tally for name, tally in tallies.items() if name in STRATEGIES]
    failures, schedules = sum(each["failures"] for each in drawn), sum(each["schedules"] for each in drawn)
    yield f"{median_of(failures / schedules)} of {schedules:,}" if failures else f"none in {schedules:,}"
    fixed = figure["fixed"]
    yield (f"{fixed['failures']} of {fixed['schedules']:,}" +
           (f" (≤ {at_most(fixed['schedules']):.1g})" if not fixed["failures"] else "")) if fixed else ""
    free = figure.get("free")
    yield "" if not free else "too small for it" if "refused" in free else f"{free['found']} in {free['seconds']:.0f} s"


def rate(failures: int, schedules: int) -> str:
    if not failures:
        return "–"
    low, high = wilson(failures, schedules)
    return f"{failures / schedules:.1%} ({low:.1%}–{high:.1%})"


def median_of(share: float) -> int:
    """Schedules until one fails, where each does so with this probability: the median (a geometric distribution)."""
    number, left = 0, 1.0
    while left > 0.5:
        number, left = number + 1, left * (1 - share)
    return number


def biographies(found: list[Bug]) -> Iterator[str]:
    for bug in found:
        yield from (f'<a id="{anchor(bug)}"></a>', "", f"## {bug.number}: {title_of(bug)}", "", "```")
        yield from story_of(bug).partition("\n")[2].strip("\n").splitlines()
        yield from ("```", "", "```diff", *mending(bug).splitlines(), "```", "")


def commands(kept: dict[str, Any]) -> Iterator[str]:
    yield "```"
    yield from sorted({f"$ {figure['command']}" for figure in kept.values()})
    yield "```"


def page(text: str) -> str:
    found, kept = bugs(), json.loads(FIGURES.read_text())
    for name, lines in (("list", listed(found)), ("figures", figures(found, kept)), ("commands", commands(kept)),
                        ("biographies", biographies(found))):
        text = block(text, name, "\n".join(lines) + "\n")
    return text


@click.command()
@click.argument("names", nargs=-1)
@click.option("--run", is_flag=True, help="Measure first.")
@click.option("--schedules", default=2000, show_default=True, help="Of each strategy.")
@click.option("--fixed", default=14000, show_default=True, help="Schedules of the fixed kernel.")
@click.option("--free", default=60.0, show_default=True, help="Seconds without a conductor; 0: not.")
def main(names: tuple[str, ...], run: bool, schedules: int, fixed: int, free: float) -> None:
    if run:
        for bug in [bug_named(name) for name in names] or bugs():
            kept = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
            kept[bug.number] = measure(bug, schedules, fixed, free)
            FIGURES.write_text(json.dumps(kept, indent=1) + "\n")
            click.echo(f"{bug.number}: {next(iter(kept[bug.number]['signatures']), 'not found')}")
    PAGE.write_text(page(PAGE.read_text()))


if __name__ == "__main__":
    main()
