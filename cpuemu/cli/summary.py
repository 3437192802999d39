"""What a person reads at the end of a launch."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cpuemu.coordinator.verdict import OK, Finding, Verdict

COLOURS = {"ok": "bold green", "known-defect": "bold yellow", "interrupted": "bold yellow"}


def print_summary(verdict: Verdict) -> None:
    """Pages, counts, latencies, findings, and the verdict last."""
    console = Console(file=sys.stdout, highlight=False, soft_wrap=True)
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
    _skipped(console, verdict)
    _latencies(console, verdict)
    for finding in verdict.findings:
        _finding(console, finding)
    for note in verdict.notes:
        console.print(Text(f"note: {note}"))
    console.print(f"run directory {verdict.run_dir}")
    if verdict.verdict != OK:
        console.print(f"see more:  trace-dump {verdict.run_dir} --tail 50\nrun again: {verdict.again}")
    console.print(Text("verdict: ") + Text(verdict.verdict, style=COLOURS.get(verdict.verdict, "bold red")))


def _skipped(console: Console, verdict: Verdict) -> None:
    counts = {**verdict.skipped, "frees of failed allocations": verdict.counts["replay_free_skipped"],
              "calls to CPUs offline here": verdict.counts["replay_ipi_skipped"],
              "hotplug operations": verdict.counts["hotplug_skipped"]}  # fmt: skip
    skipped = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
    if skipped:
        console.print(f"skipped    {skipped}")


def _latencies(console: Console, verdict: Verdict) -> None:
    rows = {name: row for name, row in verdict.latency_us.items() if row["n"]}
    if not rows:
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("latency, µs", no_wrap=True)
    for column in ("median", "p99", "max", "n"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, row in rows.items():
        table.add_row(name, *(f"{row[column]:,.0f}" for column in ("median", "p99", "max", "n")))
    console.print(table)


def _finding(console: Console, finding: Finding) -> None:
    known = f" (known: zoo {finding.known})" if finding.known else ""
    where = "".join([f", cpu {finding.cpu}" if finding.cpu is not None else "", f", task {finding.task}" if finding.task else ""])
    console.print(Text(f"finding: {finding.rule}{known}{where}, after {finding.seconds:.3f} s\n  {finding.message}"))
    if finding.stack:
        console.print(Text(f"  stack: {finding.stack}"))
