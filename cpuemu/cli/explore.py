"""``cpuemu explore`` and ``cpuemu replay``: schedules chosen instead of awaited, failures brought back."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from cpuemu.explore.explorer import Report
    from cpuemu.explore.machine import Scenario

EXPLORE_EXAMPLES = """
\b
Examples:
  cpuemu explore my_file.py:MyWorkload --cpus 3 --schedules 1000
  cpuemu explore my_file.py:MyWorkload --strategy pct:3 --strategy pos --until-failure
  cpuemu explore my_file.py:MyWorkload --profile v3.4          (the same on another release)

\b
Exit codes:
  0    no schedule failed (--self-check: each was the same twice)
  1    one did: each kind of failure is in a file of its own, for cpuemu replay
  2    wrong usage or input
  130  interrupted: what was found until then is told and kept
"""
REPLAY_EXAMPLES = """
\b
Examples:
  cpuemu replay cpuemu-failures/MyWorkload-1.json
  cpuemu replay cpuemu-failures/MyWorkload-1.json --times 100

\b
Exit codes:
  0  every replay was the same, step for step
  1  one was not
  2  not a schedule file, or one of other kernel code
"""
INTERRUPTED = 130
SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


@click.command(epilog=EXPLORE_EXAMPLES, context_settings=SETTINGS)
@click.argument("workload", metavar="WORKLOAD")
@click.option("--cpus", type=click.IntRange(1, 16), default=3, show_default=True, metavar="N", help="Number of CPUs.")
@click.option("--memory", default="16M", show_default=True, metavar="SIZE", help="Memory, as launch takes it.")
@click.option("--profile", default="v3.2", show_default=True, metavar="NAME", help="Kernel to behave like.")
@click.option("--preempt", type=click.Choice(["none", "voluntary", "full"]), default="none", show_default=True,
              help="Preemption model.")
@click.option("--strategy", "strategies", multiple=True, metavar="NAME", help="random, pct:DEPTH, pos, basic-pos, urw, "
              "surw or delay:DELAYS; several take turns.  [random, pct:1, pct:2, pct:3, pct:5, pos, surw]")
@click.option("--schedules", type=click.IntRange(1), default=100, show_default=True, metavar="N", help="How many.")
@click.option("--jobs", type=click.IntRange(1, 64), default=2, show_default=True, metavar="N", help="How many at a "
              "time; what comes out is the same.")
@click.option("--until-failure", is_flag=True, help="Stop at the first one that fails.")
@click.option("--seed", type=int, default=1, show_default=True, metavar="N", help="Seed of every draw.")
@click.option("--save", type=click.Path(path_type=Path), default=Path("cpuemu-failures"), show_default=True,
              metavar="DIR", help="Where the first failure of each kind goes.")
@click.option("--self-check", type=click.IntRange(1), metavar="N", help="Search nothing: run N schedules twice each, "
              "and compare who could move before every step.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout and nothing else.")
def explore(workload: str, memory: str, strategies: tuple[str, ...], schedules: int, jobs: int, until_failure: bool,
            seed: int, save: Path, self_check: int | None, as_json: bool, **machine: Any) -> None:
    """Run a workload under schedules that strategies choose, and keep what fails.

    The same processes, sockets and kernel code as in a launch; but one CPU moves at a time, from one point of the
    kernel code to the next, and pending interrupts are delivered when the strategy says so.  WORKLOAD is
    FILE.py:CLASS, as launch takes it.  Bringing the CPUs up is no part of the search.
    """
    from cpuemu.cli.options import parse_size
    from cpuemu.explore.explorer import PORTFOLIO, check_strategy
    from cpuemu.explore.explorer import explore as run
    from cpuemu.explore.failure import failure_of
    from cpuemu.explore.failure import save as save_failure
    from cpuemu.explore.machine import Scenario
    from cpuemu.explore.worlds import Result
    from cpuemu.profiles import profile_named

    names = strategies or PORTFOLIO
    for name in names:
        check_strategy(name)
    profile_named(machine["profile"])
    scenario = Scenario(workload.rpartition(":")[2] or workload, workload, memory=parse_size(memory), **machine)
    if self_check:
        click.get_current_context().exit(_self_check(scenario, self_check, seed, jobs))
    files: list[Path] = []

    def failed(strategy: str, drawn: int, result: Result) -> None:
        path = save / f"{scenario.name}-{len(files) + 1}.json"
        save_failure(failure_of(scenario, strategy, drawn, result), path)
        files.append(path)
        click.echo(f"{result.verdict} under {strategy}: {result.message}\n  cpuemu replay {path}", err=True)

    progress = _Progress(schedules)
    report = run(scenario, names, schedules, seed, jobs, until_failure, failed, progress.show)
    progress.end()
    if as_json:
        _print_json(scenario.name, report, files)
    else:
        _print(report)
    click.get_current_context().exit(INTERRUPTED if report.interrupted else 1 if report.failures else 0)


def _self_check(scenario: Scenario, schedules: int, seed: int, jobs: int) -> int:
    from cpuemu.coordinator.interrupts import interrupts
    from cpuemu.explore.self_check import self_check

    done = 0
    with interrupts() as interrupted:
        for done, found in enumerate(self_check(scenario, schedules, seed, jobs, interrupted), 1):
            if found:
                click.echo(f"schedule {done} ({found.strategy}, seed {found.seed}): the two runs differ before step "
                           f"{found.step}\n--- once\n{found.first}\n--- again\n{found.second}")
                click.echo(f"verdict: the same seed does not give the same schedule ({done - 1} before were the same)")
                return 1
    click.echo(f"verdict: {done} of {schedules} schedules ran twice, each the same at every step")
    return INTERRUPTED if done < schedules else 0


class _Progress:
    """A line now and then on stderr: schedules, how fast, how many differ, how many failed."""

    def __init__(self, wanted: int) -> None:
        self.wanted, self.began, self.shown = wanted, time.monotonic(), time.monotonic()

    def show(self, report: Report) -> None:
        if time.monotonic() - self.shown >= 2:
            self.shown = time.monotonic()
            self._line(report)

    def _line(self, report: Report) -> None:
        rate = report.schedules / (time.monotonic() - self.began)
        left = (self.wanted - report.schedules) / rate
        click.echo(f"  {report.schedules} of {self.wanted} schedules, {rate:.1f} a second, {len(report.traces)} "
                   f"distinct, {report.failures} failed, {left:.0f} s left", err=True)

    def end(self) -> None:
        click.echo(f"  {time.monotonic() - self.began:.1f} s", err=True)


def _print(report: Report) -> None:
    from rich.console import Console
    from rich.table import Table

    from cpuemu.explore.statistics import at_most, wilson

    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("strategy", no_wrap=True)
    for column in ("schedules", "failed", "rate (95 % interval)", "first"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, tally in report.tallies.items():
        low, high = wilson(tally.failures, tally.schedules)
        rate = f"{tally.failures / max(1, tally.schedules):.3f} ({low:.3f}–{high:.3f})" if tally.failures else "–"
        table.add_row(name, str(tally.schedules), str(tally.failures), rate, str(tally.first or "–"))
    Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else 100).print(table)
    for signature, count in report.signatures.most_common():
        click.echo(f"{count} × {signature}")
    if report.failures:
        click.echo(f"verdict: {report.failures} of {report.schedules} schedules failed")
    else:
        click.echo(f"verdict: none of {report.schedules} schedules failed: under these strategies at most "
                   f"{at_most(report.schedules):.2g} of all do, with 95 % confidence")


def _print_json(name: str, report: Report, files: list[Path]) -> None:
    import json
    from dataclasses import asdict

    json.dump({
        "scenario": name, "schedules": report.schedules, "failures": report.failures, "distinct": len(report.traces),
        "steps": report.steps, "strategies": {key: asdict(tally) for key, tally in report.tallies.items()},
        "signatures": dict(report.signatures), "files": [str(path) for path in files],
    }, sys.stdout, indent=2)
    sys.stdout.write("\n")


@click.command(epilog=REPLAY_EXAMPLES, context_settings=SETTINGS)
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
@click.option("--times", type=click.IntRange(1), default=1, show_default=True, metavar="N", help="How often.")
def replay(file: Path, times: int) -> None:
    """Run the schedule of a file again, and compare it step for step."""
    from cpuemu.explore.failure import read

    failure = read(file)
    same = 0
    for number in range(1, times + 1):
        result = failure.replayed()
        same += (result.trace, result.verdict, result.message) == (failure.trace, failure.verdict, failure.message)
        if same < number:
            click.echo(f"replay {number} differs: {result.verdict}: {result.message} after {result.steps} steps "
                       f"({failure.steps} were recorded)", err=True)
    click.echo(f"{failure.scenario.name}, {failure.scenario.cpus} CPUs, profile {failure.scenario.profile}, preempt "
               f"{failure.scenario.preempt}: {len(failure.choices)} decisions, {failure.steps} steps")
    click.echo(f"{failure.verdict}: {failure.message}")
    click.echo(f"verdict: the same {same} times of {times}")
    click.get_current_context().exit(0 if same == times else 1)
