"""``cpuemu explore``: schedules chosen instead of awaited."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cpuemu.cli.explored import Progress, print_report

if TYPE_CHECKING:
    from cpuemu.scenarios.base import Scenario

EXPLORE_EXAMPLES = """
\b
Examples:
  cpuemu explore my_file.py:MyWorkload --cpus 3 --schedules 1000
  cpuemu explore my_file.py:MyWorkload --strategy pct:3 --strategy pos --until-failure
  cpuemu explore my_file.py:MyWorkload --profile v3.4          (the same on another release)
  cpuemu explore my_file.py:MyWorkload --strategy dfs:1 --cpus 2 --schedules 100000   (all with one preemption)

\b
Exit codes:
  0    no schedule failed (--self-check: each was the same twice)
  1    one did: each kind of failure is in a file of its own, for cpuemu replay
  2    wrong usage or input
  130  interrupted: what was found until then is told and kept; the same command goes on
"""
INTERRUPTED = 130
EXPLORATIONS = Path("cpuemu-explorations")
SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


@click.command(epilog=EXPLORE_EXAMPLES, context_settings=SETTINGS)
@click.argument("spec", metavar="SCENARIO")
@click.option("--cpus", type=click.IntRange(1, 16), metavar="N", help="Number of CPUs.  [as the scenario says, or 3]")
@click.option("--memory", metavar="SIZE", help="Memory, as launch takes it.  [as the scenario says, or 16M]")
@click.option("--profile", metavar="NAME", help="Kernel to behave like.  [as the scenario says, or v3.2]")
@click.option("--preempt", type=click.Choice(["none", "voluntary", "full"]),
              help="Preemption model.  [as the scenario says, or none]")
@click.option("--policy", metavar="NAME", help="Drain policy, as launch takes it.  [the scenario's or the profile's]")
@click.option("--patch", type=click.Path(path_type=Path), metavar="FILE", help="A unified diff against cpuemu/kernel "
              "or cpuemu/policies: the kernel that is explored is the patched one.")
@click.option("--stepped", is_flag=True, help="Every store of a list operation of the allocator is a point, too.  [as "
              "the scenario says]")
@click.option("--no-oracles", is_flag=True, help="Throw away what the oracles find: only a machine that stands "
              "still fails then.")
@click.option("--fault", "faults", multiple=True, metavar="NAME[:TIMES]", help="What may go wrong, so often at most, "
              "where the schedule says so: ipi-lost, ipi-doubled, cpu-death, alloc-failure, failing-notifier (may be "
              "repeated).  [as the scenario says]")
@click.option("--strategy", "strategies", multiple=True, metavar="NAME", help="random, pct:DEPTH, pos, basic-pos, urw, "
              "surw, delay:DELAYS or FILE.py:CLASS; several take turns.  Alone: the exhaustive dfs:PREEMPTIONS, dfs, "
              "dpor and states.  [random, pct:1, pct:2, pct:3, pct:5, pos, surw]")
@click.option("--schedules", type=click.IntRange(1), default=100, show_default=True, metavar="N", help="How many; "
              "a few random walks that measure come on top.")
@click.option("--jobs", type=click.IntRange(1, 64), default=2, show_default=True, metavar="N", help="How many at a "
              "time; what comes out is the same.")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), metavar="S", help="Stop after so long; the same "
              "command goes on.")
@click.option("--until-failure", is_flag=True, help="Stop at the first one that fails.")
@click.option("--seed", type=int, default=1, show_default=True, metavar="N", help="Seed of every draw.")
@click.option("--save", type=click.Path(path_type=Path), metavar="DIR", help="Where the journal and the first failure "
              "of each kind go.  [a directory of this exploration's own in cpuemu-explorations]")
@click.option("--self-check", type=click.IntRange(1), metavar="N", help="Search nothing: run N schedules twice each, "
              "and compare who could move before every step.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout and nothing else.")
def explore(spec: str, memory: str | None, patch: Path | None, stepped: bool, no_oracles: bool, faults: tuple[str, ...],
            strategies: tuple[str, ...], schedules: int, jobs: int, seconds: float | None, until_failure: bool,
            seed: int, save: Path | None, self_check: int | None, as_json: bool, **machine: Any) -> None:
    """Run a scenario under schedules that strategies choose, and keep what fails.

    The same processes, sockets and kernel code as in a launch; but one CPU moves at a time, from one point of the
    kernel code to the next, and pending interrupts are delivered when the strategy says so.  SCENARIO is
    FILE.py (with a SCENARIO in it: tasks, and CPUs that go and come), FILE.py:CLASS (a workload, as launch takes it),
    or zoo:NUMBER.  Bringing the CPUs up is no part of the search.

    An exploration that was stopped, or killed, goes on when the same command is given again, also with more
    --schedules; what comes out is what it would have been without the break.
    """
    from cpuemu import patches
    from cpuemu.cli.options import parse_size
    from cpuemu.scenarios.load import boot_kernel, file_of, load_scenario

    scenario = load_scenario(spec, memory=parse_size(memory) if memory else None,
                             patch=patches.read(patch) if patch else None, oracles=False if no_oracles else None,
                             stepped=stepped or None,
                             faults=tuple(each.replace(":", " ") for each in faults) or None, **machine)
    boot_kernel(scenario)  # before the kernel is imported, as the next lines do

    from cpuemu.explore.explorer import Exploration
    from cpuemu.explore.failure import failure_of
    from cpuemu.explore.failure import save as save_failure
    from cpuemu.explore.journal import Journal, code
    from cpuemu.explore.portfolio import PORTFOLIO, check_strategies, runs
    from cpuemu.explore.summary import as_data
    from cpuemu.explore.worlds import Result
    from cpuemu.profiles import policy_named

    names = strategies or PORTFOLIO
    check_strategies(names)
    policy_named(scenario.profile, scenario.policy)
    if self_check:
        click.get_current_context().exit(_self_check(scenario, self_check, seed, jobs))
    files = [*filter(None, [file_of(spec)]), *(Path(name.rpartition(":")[0]) for name in names if ".py:" in name)]
    header = {"scenario": repr(scenario), "strategies": list(names), "seed": seed, "until_failure": until_failure,
              "code": code(files)}
    directory = save or EXPLORATIONS / f"{scenario.name}-{_digest(header)}"

    def failed(strategy: str, drawn: int, result: Result, number: int) -> None:
        path = _file(directory, scenario.name, number)
        save_failure(failure_of(scenario, strategy, drawn, result), path)
        progress.say(f"{result.verdict} under {strategy}: {result.message}\n"
                     f"  more:  cpuemu replay --shrink {path}\n  again: cpuemu replay {path}")

    journal = Journal(directory, header)
    progress = Progress(runs(names, schedules))
    if journal.kept:
        progress.say(f"{directory}: {journal.kept} schedules of this exploration were run before; they are counted, "
                     "not run again")
    try:
        report = Exploration(scenario, names, schedules, seed, jobs, until_failure, failed, progress.show,
                             journal, seconds).run()
    finally:
        progress.end()
        journal.close()
    kept = [_file(directory, scenario.name, number + 1) for number in range(len(report.signatures))]
    if as_json:
        sys.stdout.write(json.dumps(as_data(scenario.name, report, kept), indent=2) + "\n")
    else:
        print_report(report)
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


def _file(directory: Path, name: str, number: int) -> Path:
    return directory / f"{name}-{number}.json"


def _digest(header: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(header).encode()).hexdigest()[:8]
