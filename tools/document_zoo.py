"""Writes docs/zoo.md: the bugs from their files, their figures from docs/zoo-figures.json.

    python -m tools.document_zoo                                  the page, from the figures that are kept
    python -m tools.document_zoo --run broken --run fixed 13b 24  the figures first: of all bugs, or of those named

A figure is kept with the command that made it; all of them take some hours, fewer with --together 2 where there are
two cores (not what is free: that wants them all).  The biographies are the docstrings of
cpuemu/scenarios/bug_*.py.
"""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import click

from cpuemu.explore.statistics import at_most, wilson
from cpuemu.patches import changed_lines
from cpuemu.scenarios.base import Bug
from cpuemu.scenarios.load import bug_named, bugs, mending, module_of, story_of, title_of
from tools.document_comparison import block

ROOT = Path(__file__).resolve().parent.parent
PAGE, FIGURES = ROOT / "docs" / "zoo.md", ROOT / "docs" / "zoo-figures.json"
MANY = 100_000
EXAMPLE = "10"
"""Whose file the page shows."""
STRATEGIES = ("random", "pct:1", "pct:2", "pct:3", "pct:5", "pos", "surw")


def of_broken(bug: Bug, size: int) -> dict[str, Any]:
    """So many schedules of each strategy."""
    words = ["zoo", "run", bug.number, "--schedules", str(size * len(STRATEGIES)), "--fixed-schedules", "0"]
    ran = _said(words)["bugs"][0]
    broken = ran["broken"]
    return {
        "command": _command(words), "as_expected": ran["as_expected"], "actors": broken["actors"],
        "points": len(broken["points"]["ran"]), "steps": broken["steps"], "first": broken["first"],
        "strategies": {name: {key: tally[key] for key in ("schedules", "failures")} |
                       {"median": tally["to_failure"]["median"]} for name, tally in broken["strategies"].items()},
        "signatures": broken["signatures"],
    }


def of_fixed(bug: Bug, size: int) -> dict[str, Any]:
    """MANY schedules, or as many as there are in so many seconds on one core."""
    with tempfile.TemporaryDirectory(prefix="cpuemu-zoo-") as place:
        words = ["explore", f"zoo:{bug.number}/fixed", "--schedules", str(MANY), "--seconds", str(size),
                 "--jobs", "1"]
        said = _said([*words, "--save", f"{place}/kept"])
    # What the limit of steps cut says nothing: it is no schedule, and no failure.
    return {"command": _command(words), "schedules": said["schedules"] - said["cut"],
            "failures": said["failures"] - said["cut"], "cut": said["cut"], "signatures": said["signatures"]}


def of_free(bug: Bug, size: int) -> dict[str, Any]:
    """So many seconds without a conductor."""
    words = ["zoo", "run", bug.number, "--free", str(size)]
    free = _said(words)["bugs"][0]["free"]
    return {"command": _command(words), **{key: value for key, value in free.items() if key != "other"}}


def _command(words: list[str]) -> str:
    return f"cpuemu {' '.join(words)}"


def _said(words: list[str]) -> dict[str, Any]:
    run = subprocess.run([sys.executable, "-m", "cpuemu", *words, "--json"], cwd=ROOT, capture_output=True, text=True,
                         check=False)
    if not run.stdout:
        raise RuntimeError(run.stderr)
    said: dict[str, Any] = json.loads(run.stdout)
    return said


PARTS: Mapping[str, tuple[Callable[[Bug, int], dict[str, Any]], int]] = {
    "broken": (of_broken, 2000), "fixed": (of_fixed, 600), "free": (of_free, 60)}
"""What is measured of a bug, and how much of it: schedules of each strategy, seconds, seconds."""


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
        if "broken" in kept.get(bug.number, {}):
            yield f"| {bug.number} | " + " | ".join(_cells(kept[bug.number])) + " |"


def _cells(parts: dict[str, Any]) -> Iterator[str]:
    figure = parts["broken"]
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
    yield _silent(parts["fixed"]) if "fixed" in parts else ""
    yield _freely(parts["free"]) if "free" in parts else ""


def _silent(fixed: dict[str, Any]) -> str:
    count, failures = fixed["schedules"], fixed["failures"]
    return f"{failures} of {count:,}" + (f" (≤ {at_most(count):.1g})" if not failures else "")


def _freely(free: dict[str, Any]) -> str:
    return "too small for it" if "refused" in free else f"{free['found']} of {free['runs']} in {free['seconds']:.0f} s"


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
    for bug in bugs():
        yield from (f"$ {figure['command']}" for figure in kept.get(bug.number, {}).values())
    yield "```"


def example(bug: Bug) -> Iterator[str]:
    yield from ("```python", *inspect.getsource(module_of(bug)).splitlines(), "```")


def page(text: str) -> str:
    found, kept = bugs(), json.loads(FIGURES.read_text())
    for name, lines in (("list", listed(found)), ("figures", figures(found, kept)), ("commands", commands(kept)),
                        ("example", example(bug_named(EXAMPLE))),
                        ("biographies", biographies(found))):
        text = block(text, name, "\n".join(lines) + "\n")
    return text


@click.command()
@click.argument("names", nargs=-1)
@click.option("--run", "parts", multiple=True, type=click.Choice(list(PARTS)), help="Measure this first.")
@click.option("--size", type=int, help="How much of it.  [what the page wants]")
@click.option("--together", default=1, show_default=True, help="How many at a time.")
def main(names: tuple[str, ...], parts: tuple[str, ...], size: int | None, together: int) -> None:
    chosen = [(part, bug) for part in parts for bug in [bug_named(name) for name in names] or bugs()]
    with ThreadPoolExecutor(together) as pool:
        running = {pool.submit(PARTS[part][0], bug, size or PARTS[part][1]): (part, bug) for part, bug in chosen}
        for done in as_completed(running):
            part, bug = running[done]
            kept = json.loads(FIGURES.read_text())
            kept[bug.number] = {**kept.get(bug.number, {}), part: done.result()}
            FIGURES.write_text(json.dumps(kept, indent=1) + "\n")
            click.echo(f"{bug.number} {part}: {done.result()['command']}")
    PAGE.write_text(page(PAGE.read_text()))


if __name__ == "__main__":
    main()
