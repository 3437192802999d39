"""A comparison as tables for a person."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from cpuemu.cli.comparison import (
    CLAIM,
    Claim,
    Comparison,
    OomPairs,
    Share,
    avoidable,
    claim,
    difference,
    estimated,
    oom_pairs,
)
from cpuemu.cli.metrics import METRICS, Value
from cpuemu.cli.statistics import Estimate

GILAD = "2012, 8 CPUs, hackbench 400: 3,642 of 3,647"
NONE = "–"
STAR = "*"
"""Marks a number whose paired difference to the first policy has an interval without 0."""
LEAST_SEEDS = 6
"""For a star: with fewer pairs even all of them pointing one way come by chance more than one time in twenty."""


@dataclass
class Sheet:
    """A table before it has a width: rows with a cell a policy, or none: then the text heads what follows."""

    heading: str
    policies: tuple[str, ...]
    caption: str
    rows: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)

    def group(self, text: str) -> None:
        self.rows.append((text, ()))

    def row(self, text: str, cells: Iterable[str]) -> None:
        """Where no policy has anything there is nothing to read."""
        shown = tuple(cells)
        if any(cell != NONE for cell in shown):
            self.rows.append((text, shown))

    def table(self, columns: Sequence[int]) -> Table:
        """With these policies only."""
        table = Table(box=None, padding=(0, 2, 0, 0), caption=escape(self.caption), caption_justify="left")
        table.add_column(self.heading, no_wrap=True)
        for column in columns:
            table.add_column(escape(self.policies[column]), justify="right", no_wrap=True)
        for text, cells in self.rows:
            if cells:
                # A star hangs over, so that the numbers stand below one another.
                table.add_row(f"  {text}", *(cells[at] if cells[at].endswith(STAR) else f"{cells[at]} "
                                             for at in columns))
            else:
                table.add_row(f"[bold]{text}[/bold]")
        return table


def show(comparison: Comparison, title: str) -> None:
    """On stdout.  Where a terminal is too narrow for all policies side by side, they follow one another."""
    width = None if sys.stdout.isatty() else 10_000
    console = Console(file=sys.stdout, highlight=False, soft_wrap=False, width=width)
    sheets = (metrics_sheet(comparison), claim_sheet(comparison))
    console.print(f"[bold]{escape(title)}[/bold]")
    for sheet in sheets:
        for table in side_by_side(sheet, console):
            # As wide as it is, in the worst case wider than the terminal: nothing may be cut off.
            console.width = max(console.width, console.measure(table).maximum)
            console.print(table, "", crop=False)
    if known := known_text(comparison):
        console.print(known, soft_wrap=True)


def side_by_side(sheet: Sheet, console: Console) -> list[Table]:
    """As many policies in one table as the console is wide for, at least one."""
    policies = range(len(sheet.policies))
    for number in range(len(policies), 0, -1):
        parts = [sheet.table(policies[at : at + number]) for at in range(0, len(policies), number)]
        widest = max(Measurement.get(console, console.options.update(width=10_000), part).maximum for part in parts)
        if widest <= console.width:
            break
    return parts


def metrics_sheet(comparison: Comparison) -> Sheet:
    """Every metric: mean, interval, and a star where it differs from the first policy's."""
    policies = tuple(comparison.runs)
    marked = comparison.seeds >= LEAST_SEEDS
    sheet = Sheet("mean (95 % interval)", policies,
                  f"{STAR} the paired difference to {policies[0]} has an interval without 0" if marked else
                  f"no differences are marked: that takes {LEAST_SEEDS} seeds")
    for group in dict.fromkeys(metric.group for metric in METRICS.values()):
        sheet.group(group)
        for name, metric in METRICS.items():
            if metric.group == group:
                base = comparison.column(policies[0], name)
                sheet.row(metric.title, (_cell(comparison.column(policy, name), base, marked) for policy in policies))
    return sheet


def _cell(values: Sequence[Value], base: Sequence[Value], marked: bool) -> str:
    apart = difference(values, base)
    differs = marked and apart is not None and (apart.low > 0 or apart.high < 0)
    present = sum(value is not None for value in values)
    note = f" {present} of {seeds_text(len(values))}" if 0 < present < len(values) else ""
    return interval_text(estimated(values)) + note + STAR * differs


def claim_sheet(comparison: Comparison) -> Sheet:
    """The claim, the kills beside the first policy's, and the count of 2012: all seeds together."""
    policies = list(comparison.runs.values())
    sheet = Sheet("all seeds together", tuple(comparison.runs), GILAD)
    claims, kills = [claim(runs) for runs in policies], [claim(runs, kills=True) for runs in policies]
    sheet.group("order-0 allocations about to OOM")
    sheet.row("moments", (f"{each.moments:,}" for each in claims))
    if any(run.oom.not_kept for runs in policies for run in runs):
        sheet.row("moments of any order beyond the table's end",
                  (f"{sum(run.oom.not_kept for run in runs):,}" for runs in policies))
    sheet.row("of these below the min watermark", map(_moments, claims))
    sheet.row("  pages missing, mean", (interval_text(each.missing_pages) for each in claims))
    sheet.row("  pages on the other CPUs' lists, mean", (interval_text(each.others_pages) for each in claims))
    sheet.row("  µs since reclaim failed, mean", (interval_text(each.window_us) for each in claims))
    for name, text in CLAIM.items():
        sheet.row(f"  {text}", (share_text(each.shares[name]) for each in claims))
    sheet.row("of these a victim was chosen", map(_moments, kills))
    for name in ("all_three", "saved", "all_three_saved", "own_saved"):
        sheet.row(f"  {CLAIM[name]}", (share_text(each.shares[name]) for each in kills))
    sheet.group("OOM kills beside the first policy's")
    pairs = [None, *(pairs for _, pairs in oom_pairs(comparison))]
    for text, cell in BESIDE.items():
        sheet.row(text, (NONE if each is None else cell(each) for each in pairs))
    sheet.group("drains avoidable by the count of 2012")
    sheet.row("half the online CPUs or fewer had pages", (share_text(avoidable(runs)) for runs in policies))
    return sheet


def _moments(each: Claim) -> str:
    return f"{each.short:,} in {seeds_text(each.seeds)}" if each.short else "0"


BESIDE: Mapping[str, Callable[[OomPairs], str]] = {
    "kills": lambda each: f"{each.here:,} beside {each.base:,}",
    "seeds with kills only here": lambda each: f"{len(each.only_here)}",
    "seeds with kills only under the first": lambda each: f"{len(each.only_base)}",
    "seeds with more kills here": lambda each: f"{each.more_here}",
    "seeds with more kills under the first": lambda each: f"{each.more_base}",
}


def known_text(comparison: Comparison) -> str:
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
    low, high = short(found.low), short(found.high)
    return short(found.mean) + (f" ({low}–{high})" if low != high else "")


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
