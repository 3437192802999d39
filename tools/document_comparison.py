"""Runs the comparisons of docs/drains-in-reclaim.md and writes their tables there: python -m tools.document_comparison.

About ten minutes on two cores; with names of scenes, only these.  The tables of a scene stand between two comments.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cpuemu.cli.compare import compare, run_all, title
from cpuemu.cli.compare_tables import NONE, Sheet, claim_sheet, known_text, metrics_sheet
from cpuemu.cli.comparison import Comparison, Run
from cpuemu.cli.metrics import METRICS
from cpuemu.cli.plot import svg

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE = DOCS / "drains-in-reclaim.md"
PLOT = DOCS / "drains-in-reclaim.svg"

FOUR = ("on-each-cpu", "local-only", "cpus-with-pages", "drain-with-hotplug-lock")
TWO = ("on-each-cpu", "local-only")
FEW = ("drains", "drains_found_nothing", "ipis_per_drain", "direct_reclaim", "pages_stranded", "oom_kills",
       "oom_after_a_drain", "first_oom_seconds")


@dataclass(frozen=True)
class Scene:
    """One command, and which of its numbers the page shows."""

    policies: tuple[str, ...]
    options: tuple[str, ...]
    metrics: tuple[str, ...] = FEW
    claim: bool = True
    plot: bool = False

    def arguments(self) -> list[str]:
        return [*(word for policy in self.policies for word in ("--policy", policy)), *self.options]

    def command(self) -> str:
        words = " ".join(self.arguments())
        return f"cpuemu compare {words}" + " --plot FILE.svg" * self.plot


PRESSURE = ("--workload", "pressure:3000", "--seeds", "20")
SCENES = {
    "four answers": Scene(FOUR, PRESSURE, tuple(METRICS), plot=True),
    "tasks that stay": Scene(TWO, (*PRESSURE, "--no-migration")),
    "idle CPUs": Scene(TWO, (*PRESSURE, "--busy-cpus", "2")),
    "idle CPUs, tasks that stay": Scene(TWO, (*PRESSURE, "--busy-cpus", "2", "--no-migration")),
    "hotplug": Scene(FOUR, (*PRESSURE, "--hotplug", "random:0.1"),
                     ("drains", "ipis_per_drain", "drain_latency_us", "drain_latency_p99_us", "allocations_per_second",
                      "oom_kills", "known_defects"), claim=False),
    "empty lists": Scene(("on-each-cpu", "cpus-with-pages"),
                         ("--workload", "storm:2000", "--memory", "32M", "--seeds", "20"),
                         ("drains", "drains_found_nothing", "pages_per_drain", "ipis_per_drain", "drain_latency_us",
                          "pages_stranded", "oom_kills")),
}


def parameters(scene: Scene) -> dict[str, Any]:
    """The options of ``cpuemu compare`` as it reads them itself."""
    return dict(compare.make_context("compare", scene.arguments()).params)


def tables(scene: Scene, comparison: Comparison, heading: str) -> Iterator[str]:
    """Lines of Markdown: the command, the numbers, the claim."""
    yield from ("```", f"$ {scene.command()}", heading, "```", "")
    titles = {METRICS[name].title for name in scene.metrics}
    yield from markdown(metrics_sheet(comparison), titles)
    if scene.claim:
        yield from markdown(claim_sheet(comparison), None)
    if known := known_text(comparison).removesuffix(": see docs/known-defects.md"):
        yield from (f"{known[0].upper()}{known[1:]}: see [known-defects.md](known-defects.md).", "")


def markdown(sheet: Sheet, titles: set[str] | None) -> Iterator[str]:
    """A sheet as a table, with these rows only; a group that has none of them is left out."""
    yield f"| {sheet.heading} | {' | '.join(sheet.policies)} |"
    yield f"|---|{'---:|' * len(sheet.policies)}"
    group = ""
    for text, cells in sheet.rows:
        if not cells:
            group = text
        elif titles is None or text.strip() in titles:
            if group:
                yield f"| **{group}** |{' |' * len(sheet.policies)}"
                group = ""
            indent = "&emsp;" * ((len(text) - len(text.lstrip())) // 2)
            shown = (cell.replace("*", r"\*") if cell != NONE else "" for cell in cells)
            yield f"| {indent}{text.strip()} | {' | '.join(shown)} |"
    yield from ("", sheet.caption.replace("*", r"\*") + ".", "")


def block(page: str, name: str, content: str) -> str:
    """The page with what stands between a scene's comments replaced."""
    pattern = rf"(<!-- {re.escape(name)}: begin -->\n).*?(<!-- {re.escape(name)}: end -->)"
    if not re.search(pattern, page, re.DOTALL):
        raise SystemExit(f"no place for {name!r} on the page")
    return re.sub(pattern, lambda found: f"{found[1]}{content}{found[2]}", page, flags=re.DOTALL)


def run(scene: Scene) -> tuple[Comparison, str]:
    given = parameters(scene)
    policies, seeds = given.pop("policies"), given.pop("seeds")
    common = {name: value for name, value in given.items() if name not in ("as_json", "csv_file", "plot_file")}
    runs: dict[str, list[Run]] = {policy: [] for policy in policies}
    if stopped := run_all(runs, seeds, common, plain=True):
        raise SystemExit(f"{scene.command()}: {stopped[1]}")
    return Comparison(runs), title(common, seeds)


def main(names: list[str]) -> None:
    for name in names or SCENES:
        comparison, heading = run(SCENES[name])
        content = "\n".join(tables(SCENES[name], comparison, heading)) + "\n"
        PAGE.write_text(block(PAGE.read_text(), name, content))
        if SCENES[name].plot:
            PLOT.write_text(svg(comparison, heading))


if __name__ == "__main__":
    main(sys.argv[1:])
