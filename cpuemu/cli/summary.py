"""What a person, or a program, reads at the end of a launch."""

from __future__ import annotations

import errno
import io
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cpuemu.coordinator.config import LaunchConfig
from cpuemu.coordinator.verdict import INTERRUPTED, OK, Finding, Verdict

if TYPE_CHECKING:
    from rich.console import Console

COLOURS = {"ok": "bold green", "known-defect": "bold yellow", "interrupted": "bold yellow"}


def show_verdict(config: LaunchConfig, verdict: Verdict) -> None:
    """On stdout: one JSON object, one line, or the summary.

    A reader that has hung up, a terminal too, does not change the verdict.
    """
    try:
        if config.json:
            sys.stdout.write(json.dumps(verdict.plain(), indent=2, ensure_ascii=False) + "\n")
        elif config.quiet or not verdict.pages["managed"]:
            sys.stdout.write("".join(f"{note}\n" for note in verdict.notes) + f"verdict: {verdict.verdict}\n")
        else:
            sys.stdout.write(summary(verdict))
        sys.stdout.flush()
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.EIO):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def summary(verdict: Verdict) -> str:
    """Pages, counts, latencies, findings, and the verdict last."""
    from rich.console import Console
    from rich.text import Text

    out = io.StringIO()
    console = Console(file=out, highlight=False, soft_wrap=True, markup=False, force_terminal=sys.stdout.isatty())
    pages, counts = verdict.pages, verdict.counts
    console.print(f"{verdict.cpus} CPUs, profile {verdict.profile}, preempt {verdict.preempt}, seed {verdict.seed}: "
                  f"up after {verdict.boot_seconds:.2f} s, ran {verdict.seconds:.2f} s")
    console.print(f"pages      {pages['managed']:,} managed = {pages['buddy']:,} buddy + {pages['pcp']:,} pcp + "
                  f"{pages['allocated']:,} allocated")
    console.print(f"allocator  {counts['alloc']:,} allocated, {counts['free']:,} freed, {counts['refill']:,} refilled, "
                  f"{counts['drain']:,} drained, {counts['alloc_failed']:,} failed")
    console.print(f"reclaim    {counts['direct_reclaim']:,} direct, {counts['drain_all']:,} drains of all CPUs, "
                  f"{counts['oom']:,} OOM kills, kswapd woken {counts['kswapd_wake']:,} times")
    console.print(f"interrupts {counts['ipi_sent']:,} sent, {counts['ipi_taken']:,} taken, {counts['ipi_coalesced']:,} "
                  f"coalesced")
    console.print(f"hotplug    {counts['offline']:,} offline, {counts['online']:,} online, {counts['stop_machine']:,} "
                  f"stop_machine, {counts['task_migrations']:,} task migrations")
    injected = [f"{count:,} {name.removeprefix('fault_').replace('_', '-')}" for name, count in counts.items()
                if name.startswith("fault_")]
    if injected:
        console.print(f"injected   {', '.join(injected)}")
    _skipped(console, verdict)
    _latencies(console, verdict)
    for finding in verdict.findings:
        _finding(console, finding)
    for note in verdict.notes:
        console.print(f"note: {note}")
    console.print(f"run directory {verdict.run_dir}")
    if verdict.verdict != OK:
        if verdict.verdict != INTERRUPTED or verdict.findings:
            _why(console, verdict)
        console.print(f"see more:  {verdict.more}\nrun again: {verdict.again}")
    console.print(Text("verdict: ") + Text(verdict.verdict, style=COLOURS.get(verdict.verdict, "bold red")))
    return out.getvalue()


def _skipped(console: Console, verdict: Verdict) -> None:
    counts = {**verdict.skipped, "frees of failed allocations": verdict.counts["replay_free_skipped"],
              "calls to CPUs offline here": verdict.counts["replay_ipi_skipped"],
              "hotplug operations": verdict.counts["hotplug_skipped"]}
    skipped = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
    if skipped:
        console.print(f"skipped    {skipped}")


def _latencies(console: Console, verdict: Verdict) -> None:
    from rich.table import Table

    rows = {name: row for name, row in verdict.latency_us.items() if row["n"]}
    if not rows:
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("latency, µs", no_wrap=True)
    for column in ("median", "p99", "max", "n"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, row in rows.items():
        table.add_row(name, *(_number(row[column]) for column in ("median", "p99", "max", "n")))
    console.print(table)


def _number(value: float) -> str:
    """Below 10, as an allocation from a CPU's own list is, two digits say something."""
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.2g}"


def _why(console: Console, verdict: Verdict) -> None:
    """The end explained, from the files in the run directory, where it can be."""
    from cpuemu.report.image import ImageError, open_image
    from cpuemu.report.why.text import why_short

    try:
        lines = list(why_short(open_image(Path(verdict.run_dir))))
    except (ImageError, OSError) as error:
        lines = [f"why: {error}"]
    console.print("\n".join(["", *lines, ""]))


def _finding(console: Console, finding: Finding) -> None:
    known = f" (known: zoo {finding.known})" if finding.known else ""
    known += f" (comes of the injected {finding.fault})" if finding.fault else ""
    cpu = f", cpu {finding.cpu}" if finding.cpu is not None else ""
    task = f", task {finding.task}" if finding.task else ""
    console.print(f"finding: {finding.rule}{known}{cpu}{task}, after {finding.seconds:.3f} s\n  {finding.message}")
    if finding.stack:
        console.print(f"  stack: {finding.stack}")
    for task, stack in finding.stacks.items():
        console.print(f"  stack of {task}: {stack}")
    for lock in finding.locks:
        console.print(f"  held: {lock}")
    for line in finding.trace:
        console.print(f"  {line}")
    console.print(f"  more:  {finding.more}\n  again: {finding.again}")
