"""A comparison as tables for a person."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table

from cpuemu.cli.comparison import CLAIM, Comparison, OomPairs, Share, avoidable, claim, difference, estimated, oom_pairs
from cpuemu.cli.metrics import METRICS
from cpuemu.cli.statistics import Estimate

GILAD = "2012, 8 CPUs, hackbench 400: 3,642 of 3,647"
NONE = "–"
STAR = "*"
"""Marks a number whose paired difference to the first policy has an interval without 0."""
LEAST_SEEDS = 6
"""For a star: with fewer pairs even all of them pointing one way come by chance more than one time in twenty."""


def show(comparison: Comparison, title: str) -> None:
    """On stdout."""
    # Into a file or a pipe: as wide as the tables are.
    width = None if sys.stdout.isatty() else 80 + 36 * len(comparison.runs)
    Console(file=sys.stdout, highlight=False, width=width).print(tables(comparison, title))


def tables(comparison: Comparison, title: str) -> Group:
    parts: list[RenderableType] = [f"[bold]{escape(title)}[/bold]", _metrics(comparison), "", _claim(comparison)]
    if known := _known(comparison):
        parts += ["", known]
    return Group(*parts)


def _table(heading: str, comparison: Comparison) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column(heading, no_wrap=True)
    for policy in comparison.runs:
        table.add_column(escape(policy), justify="right", no_wrap=True)
    return table


def _metrics(comparison: Comparison) -> Table:
    table = _table("mean (95 % interval)", comparison)
    base = next(iter(comparison.runs))
    group = ""
    for name, metric in METRICS.items():
        if metric.group != group:
            group = metric.group
            table.add_row(f"[bold]{group}[/bold]")
        cells = []
        for policy in comparison.runs:
            values = comparison.column(policy, name)
            apart = difference(values, comparison.column(base, name))
            differs = comparison.seeds >= LEAST_SEEDS and apart is not None and (apart.low > 0 or apart.high < 0)
            absent = sum(value is None for value in values)
            note = f" {len(values) - absent} of {len(values)} seeds" if 0 < absent < len(values) else ""
            cells.append(interval_text(estimated(values)) + note + (STAR if differs else " "))
        table.add_row(f"  {metric.title}", *cells)
    table.caption = (f"{STAR} the paired difference to {escape(base)} has an interval without 0"
                     if comparison.seeds >= LEAST_SEEDS else
                     f"no differences are marked: that takes {LEAST_SEEDS} seeds")
    table.caption_justify = "left"
    return table


def _claim(comparison: Comparison) -> Table:
    """The claim, the kills beside the first policy's, and the count of 2012: all seeds together."""
    table = _table("all seeds together", comparison)
    claims = [claim(runs) for runs in comparison.runs.values()]

    def row(text: str, cells: Iterable[str]) -> None:
        shown = [f"{cell} " for cell in cells]
        if any(cell != f"{NONE} " for cell in shown):  # where no policy has anything there is nothing to read
            table.add_row(f"  {text}", *shown)

    table.add_row("[bold]order-0 allocations about to OOM[/bold]")
    row("moments", (f"{each.moments:,}" for each in claims))
    if any(run.oom.not_kept for runs in comparison.runs.values() for run in runs):
        row("moments of any order beyond the table's end",
            (f"{sum(run.oom.not_kept for run in runs):,}" for runs in comparison.runs.values()))
    row("of these below the min watermark", (f"{each.short:,}, {seeds_text(each.seeds)}" for each in claims))
    row("  pages missing, mean", (interval_text(each.missing_pages) for each in claims))
    row("  pages on the other CPUs' lists, mean", (interval_text(each.others_pages) for each in claims))
    row("  µs since reclaim failed, mean", (interval_text(each.window_us) for each in claims))
    for name, text in CLAIM.items():
        row(f"  {text}", (share_text(each.shares[name]) for each in claims))
    kills = [claim(runs, kills=True) for runs in comparison.runs.values()]
    row("of these a victim was chosen", (f"{each.short:,}, {seeds_text(each.seeds)}" for each in kills))
    for name in ("all_three", "saved", "all_three_saved", "own_saved"):
        row(f"  {CLAIM[name]}", (share_text(each.shares[name]) for each in kills))
    table.add_row("[bold]OOM kills beside the first policy's[/bold]")
    pairs = [None, *(pairs for _, pairs in oom_pairs(comparison))]
    for text, cell in BESIDE.items():
        row(text, (NONE if each is None else cell(each) for each in pairs))
    table.add_row("[bold]drains avoidable by the count of 2012[/bold]")
    row("half the online CPUs or fewer had pages", (share_text(avoidable(runs)) for runs in comparison.runs.values()))
    table.caption = GILAD
    table.caption_justify = "left"
    return table


BESIDE: Mapping[str, Callable[[OomPairs], str]] = {
    "kills": lambda each: f"{each.here:,} beside {each.base:,}",
    "seeds with kills only here": lambda each: f"{len(each.only_here)}",
    "seeds with kills only under the first": lambda each: f"{len(each.only_base)}",
    "seeds with more kills here": lambda each: f"{each.more_here}",
    "seeds with more kills under the first": lambda each: f"{each.more_base}",
}


def _known(comparison: Comparison) -> str:
    """Which known defects showed, how often."""
    found: dict[str, list[str]] = {}
    for policy, runs in comparison.runs.items():
        for number in sorted({each for run in runs for each in run.known}):
            count = sum(number in run.known for run in runs)
            found.setdefault(number, []).append(f"{escape(policy)} {count}")
    said = [f"{number} ({', '.join(where)})" for number, where in found.items()]
    return f"runs with known defects: {'; '.join(said)}: see docs/known-defects.md" if said else ""


def interval_text(found: Estimate | None) -> str:
    """``61 (53.7–69.4)``"""
    if found is None:
        return NONE
    if found.low == found.high:
        return short(found.mean)
    return f"{short(found.mean)} ({short(found.low)}–{short(found.high)})"


def share_text(found: Share) -> str:
    """``8 of 9, 89 % (67–100)``, and ``9 of 9, 100 %``: where no seed differs there is no interval."""
    if found.estimate is None:
        return NONE
    low, high = (f"{100 * edge:.0f}" for edge in (found.estimate.low, found.estimate.high))
    interval = f" ({low}–{high})" if low != high else ""  # all or none: resampling says nothing of the rest
    return f"{found.count:,} of {found.of:,}, {100 * found.estimate.mean:.0f} %{interval}"


def seeds_text(number: int) -> str:
    return f"{number} seed{'s' * (number != 1)}"


def short(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.2f}".rstrip("0").rstrip(".")
