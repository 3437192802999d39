"""What ``cpuemu explore`` shows: a line of progress while it runs, a table and sentences at its end."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from cpuemu.explore.tally import Report

EVERY_S = 2.0
CLEAR = "\r\x1b[K"


class Progress:
    """On stderr, now and then: schedules, how fast, what was seen, how many failed.  On a terminal one line."""

    def __init__(self, wanted: int) -> None:
        self.wanted, self.began, self.shown = wanted, time.monotonic(), time.monotonic()
        self.terminal = sys.stderr.isatty()

    def say(self, text: str) -> None:
        click.echo((CLEAR if self.terminal else "") + text, err=True)

    def show(self, report: Report) -> None:
        if time.monotonic() - self.shown >= (EVERY_S / 10 if self.terminal else EVERY_S):
            self.shown = time.monotonic()
            if self.terminal:
                click.echo(CLEAR + self._line(report), nl=False, err=True)
            else:
                click.echo(self._line(report), err=True)

    def _line(self, report: Report) -> str:
        rate = (report.schedules - report.resumed) / (time.monotonic() - self.began)
        told = [f"  {report.schedules} of {self.wanted} schedules", f"{rate:.1f} a second",
                f"{len(report.orders)} orders", f"{len(report.handovers)} hand-overs"]
        if report.search and report.search.states is not None:
            told.append(f"{report.search.states:,} states, {report.search.waiting:,} steps to be taken")
        elif report.search:
            told.append(f"about {report.search.done:.2g} of the tree")
        elif (chance := report.discovery()) is not None:
            told.append(f"the next is new with p = {chance:.2f}")
        told.append(f"{report.failures} failed")
        if rate and not report.search:
            told.append(f"{max(0.0, self.wanted - report.schedules) / rate:.0f} s left")
        return ", ".join(told)

    def end(self) -> None:
        self.say(f"  {time.monotonic() - self.began:.1f} s")


def print_report(report: Report) -> None:
    from cpuemu.explore.summary import sentences

    if report.search is None:  # the rates of a search that leaves nothing out are no rates
        _print_table(report)
    for sentence in sentences(report):
        click.echo(sentence)


def _print_table(report: Report) -> None:
    from rich.console import Console
    from rich.table import Table

    from cpuemu.explore.summary import median, next_new, rate

    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("strategy", no_wrap=True)
    for column in ("schedules", "failed", "rate (95 % interval)", "median to failure", "orders", "hand-overs",
                   "next is new"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, tally in report.tallies.items():
        if tally.schedules:
            table.add_row(name, str(tally.schedules), str(tally.failures), rate(tally), median(tally.survival),
                          str(len(tally.series.orders)), str(len(tally.series.handovers)), next_new(tally))
    Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else 120).print(table)
