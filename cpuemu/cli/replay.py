"""``cpuemu replay``: a failure brought back, step for step."""

from __future__ import annotations

import json
import sys
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cpuemu.errors import UserError

if TYPE_CHECKING:
    from cpuemu.explore.failure import Failure
    from cpuemu.explore.strategies.base import Strategy
    from cpuemu.explore.worlds import Result

EXAMPLES = """
\b
Examples:
  cpuemu replay DIR/MyWorkload-1.json
  cpuemu replay DIR/MyWorkload-1.json --times 100
  cpuemu replay DIR/MyWorkload-1.json --shrink         (then: cpuemu replay DIR/MyWorkload-1-small.json)
  cpuemu replay DIR/MyWorkload-1.json --profile v3.4 --continue-with onward   (what would another release do?)
  cpuemu replay DIR/MyWorkload-1-small.json --story    (what happened)
  cpuemu replay DIR/MyWorkload-1-small.json --one-line
  cpuemu replay --pinned 'MyWorkload cpus=3 …: 0*20 irq1.call 1*19 2*4 -> empty-ipi-mask' my_file.py:MyWorkload

\b
Exit codes:
  0    every replay was the same, step for step (--pinned: it led where it must;
       --shrink: it came back, and what is smallest is kept)
  1    one was not
  2    not a schedule file, or one that does not fit: what was asked and who could move is told
  130  interrupted (--shrink: the smallest one yet is kept)
"""
INTERRUPTED = 130


@click.command(epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("file", metavar="FILE")
@click.option("--times", type=click.IntRange(1), default=1, show_default=True, metavar="N", help="How often.")
@click.option("--jobs", type=click.IntRange(1, 64), default=2, show_default=True, metavar="N", help="How many at a "
              "time; what comes out is the same.")
@click.option("--continue-with", "go_on", metavar="STRATEGY", help="Where the schedule cannot be followed any more, go "
              "on with this one (onward, or as --strategy of explore), and say so: each time with a seed of its own.")
@click.option("--profile", metavar="NAME", help="Follow it on another kernel than its own.")
@click.option("--preempt", type=click.Choice(["none", "voluntary", "full"]), help="Under another preemption model.")
@click.option("--patch", type=click.Path(path_type=Path), metavar="FILE", help="On a kernel with this patch instead "
              "of its own; an empty file stands for none.")
@click.option("--pinned", metavar="LINE", help="Run a schedule that is one line of text; FILE is then its SCENARIO, "
              "as explore takes it.")
@click.option("--one-line", is_flag=True, help="Run nothing: print the schedule of FILE as one line, to be pinned.")
@click.option("--story", is_flag=True, help="Tell what happened, a column for each CPU: who did what to which word of "
              "the kernel, and where interrupts were taken.")
@click.option("--all-steps", is_flag=True, help="In the story also what no other CPU could notice, and what "
              "the scheduler does.")
@click.option("--shrink", is_flag=True, help="Make it smaller: fewer CPUs, tasks, hotplug requests, interrupts, "
              "preemptions, switches, steps, as long as the same failure comes of it.  It goes into FILE-small beside.")
@click.option("--schedules", type=click.IntRange(1), default=1000, show_default=True, metavar="N", help="For --shrink: "
              "how many are tried at most.")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), metavar="S", help="For --shrink: how long at most; "
              "what comes out then depends on the host.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout and nothing else.")
def replay(file: str, times: int, jobs: int, go_on: str | None, patch: Path | None, as_json: bool, shrink: bool,
           schedules: int, seconds: float | None, pinned: str | None, one_line: bool, story: bool, all_steps: bool,
           **machine: Any) -> None:
    """Run the schedule of a file again, and compare it step for step.

    Every step is compared: who moves, and from which point.  A file that does not fit is refused with the first place
    where it parts from what runs here; with --continue-with it is followed up to there.
    """
    other = {name: value for name, value in machine.items() if value is not None}
    if pinned:
        if shrink or one_line:
            raise UserError("--pinned: a line is small already; give --shrink and --one-line the file of a failure")
        click.get_current_context().exit(_pinned(pinned, file, other, patch, go_on, as_json, story))
    failure = _failure(Path(file), other, patch)
    if one_line:
        from cpuemu.explore.pinned import pin

        click.echo(pin(failure).line)
        return
    misfit = _other(failure, other) or failure.misfit()
    if misfit and not go_on:
        raise UserError(f"{file}: {misfit}{'' if misfit.endswith('again') else '; --continue-with STRATEGY tries it'}")
    if (shrink or story) and (misfit or go_on):
        raise UserError(f"--{'shrink' if shrink else 'story'} takes a schedule as it is, on the kernel that it was "
                        "found on: leave out --continue-with, --profile, --preempt and --patch")
    if shrink:
        from cpuemu.cli.shrunk import shrink as smaller

        click.get_current_context().exit(smaller(Path(file), failure, schedules, seconds, jobs, as_json, all_steps))
    if story:
        from cpuemu.cli.told import tell

        tell(failure, as_json, all_steps)
        return
    failure = replace(failure, scenario=replace(failure.scenario, **other))
    strategy = _strategy(go_on, failure.steps) if go_on else None
    results, interrupted = _run(Path(file), failure, strategy, times, jobs)
    same = sum(failure.same(result) for result in results)
    if as_json:
        sys.stdout.write(json.dumps(_data(Path(file), failure, results, go_on, misfit), indent=2) + "\n")
    else:
        _print(failure, results, go_on, misfit)
    click.get_current_context().exit(INTERRUPTED if interrupted else 0 if same == times else 1)


def _failure(file: Path, other: dict[str, Any], patch: Path | None) -> Failure:
    """The file's, with the kernel that it, or ``patch``, is for.  Raises UserError."""
    from cpuemu import patches
    from cpuemu.scenarios.load import boot_kernel_of

    if patch:
        other["patch"] = patches.read(patch) or None
        if other["patch"]:
            patches.apply(other["patch"])
    else:
        boot_kernel_of(file)

    from cpuemu.explore.failure import read

    return read(file)


def _pinned(line: str, spec: str, other: dict[str, Any], patch: Path | None, go_on: str | None, as_json: bool,
            story: bool) -> int:
    """Run a line on a scenario; the exit code.  Raises UserError."""
    from cpuemu import patches
    from cpuemu.explore.pinned import parse
    from cpuemu.scenarios.load import boot_kernel, load_scenario

    pinned = parse(line)
    for name, value in other.items():
        if pinned.parts[name] != value and not go_on:
            raise UserError(f"--pinned: a schedule of {name} {pinned.parts[name]}, and {value} is asked for; "
                            "--continue-with STRATEGY tries it")
    base = load_scenario(spec, patch=patches.read(patch) or None if patch else None)
    boot_kernel(base)
    pinned = replace(pinned, parts={**pinned.parts, **other})
    result = pinned.run(base, _strategy(go_on, sum(count for _, count in pinned.runs)) if go_on else None)
    met = pinned.met(result)
    if story and met and not go_on:
        from cpuemu.cli.told import tell
        from cpuemu.explore.failure import failure_of

        tell(failure_of(pinned.scenario(base), "pinned", 0, result), as_json, False)
        return 0
    if as_json:
        sys.stdout.write(json.dumps({
            "scenario": base.name, "expects": pinned.expects, "met": met, "verdict": result.verdict,
            "message": result.message, "signature": result.signature, "steps": result.steps,
            "continued": _continued(result, go_on)}, indent=2) + "\n")
        return 0 if met else 1
    if parted := _parted(result):
        click.echo(f"{parted[1]}\n  continued with {go_on} from there on")
    click.echo(f"{result.verdict}{f': {result.message}' if result.bad else ''} after {result.steps} steps")
    click.echo("verdict: as pinned" if met else f"verdict: {pinned.expects} was expected")
    return 0 if met else 1


def _other(failure: Failure, other: dict[str, Any]) -> str:
    """What it is asked to run on instead of its own, in a sentence."""
    for name, value in other.items():
        own = getattr(failure.scenario, name)
        if own != value:
            return "of another kernel than that of --patch" if name == "patch" else \
                f"a schedule of {name} {own}, and {value} is asked for"
    return ""


def _strategy(name: str, steps: int) -> Strategy:
    """Raises UserError."""
    from cpuemu.explore.portfolio import Tuning, check_strategies, is_search
    from cpuemu.explore.strategies.onward import Onward
    from cpuemu.explore.strategies.surw import Profile

    if name == Onward.name:
        return Onward()
    check_strategies([name])
    if is_search(name) or name in ("urw", "surw"):
        raise UserError(f"--continue-with {name}: needs schedules of its own before it; take onward, random, "
                        "pct:DEPTH, pos, basic-pos, delay:DELAYS or FILE.py:CLASS")
    return Tuning(max(2 * steps, 1), Profile(Counter(), frozenset()), 0).strategy(name)


def _run(file: Path, failure: Failure, go_on: Strategy | None, times: int, jobs: int) -> tuple[list[Result], bool]:
    from cpuemu.coordinator.interrupts import interrupts
    from cpuemu.explore.worlds import run_worlds

    runs = [(failure.follow(go_on), failure.seed + number) for number in range(times)]
    with interrupts() as interrupted:
        try:
            results = list(run_worlds(failure.scenario, runs, jobs, interrupted))
        except UserError as error:
            raise UserError(f"{file}: {error}") from None
        return results, bool(interrupted)


def _parted(result: Result) -> tuple[int, str] | None:
    found = result.search["parted"]
    return tuple(found) if found else None


def _print(failure: Failure, results: list[Result], go_on: str | None, misfit: str) -> None:
    scenario = failure.scenario
    click.echo(f"{scenario.name}, {scenario.cpus} CPUs, profile {scenario.profile}, preempt {scenario.preempt}: "
               f"{len(failure.choices)} decisions, {failure.steps} steps")
    if misfit:
        click.echo(f"it does not fit: {misfit}")
    ends: dict[str, Counter[str]] = defaultdict(Counter)
    for number, result in enumerate(results, 1):
        end = f"{result.verdict}{f': {result.message}' if result.bad else ''}"
        if parted := _parted(result):
            ends[parted[1]][end] += 1
        elif not failure.same(result):
            click.echo(f"replay {number} differs: {end} after {result.steps} steps ({failure.steps} were recorded)")
    for sentence, counts in ends.items():
        click.echo(sentence)
        for end, count in counts.most_common():
            click.echo(f"  continued with {go_on} from there on: {count} × {end}")
    followed = [result for result in results if not _parted(result)]
    if any(map(failure.same, results)):
        click.echo(f"{failure.verdict}: {failure.message}")
    if len(followed) == len(results):
        click.echo(f"verdict: the same {sum(map(failure.same, results))} times of {len(results)}")
    else:
        bad = sum(result.bad for result in results)
        click.echo(f"verdict: followed to its end {len(followed)} times of {len(results)}; the others are other "
                   f"schedules, continued with {go_on}; {bad} of all failed")


def _data(file: Path, failure: Failure, results: list[Result], go_on: str | None, misfit: str) -> dict[str, Any]:
    scenario = failure.scenario
    return {
        "file": str(file), "scenario": scenario.name, "cpus": scenario.cpus, "profile": scenario.profile,
        "preempt": scenario.preempt, "recorded": {"verdict": failure.verdict, "message": failure.message,
                                                  "signature": failure.signature, "steps": failure.steps},
        "misfit": misfit, "times": len(results), "same": sum(map(failure.same, results)),
        "replays": [{"verdict": result.verdict, "message": result.message, "steps": result.steps,
                     "same": failure.same(result), "continued": _continued(result, go_on)} for result in results],
    }


def _continued(result: Result, go_on: str | None) -> dict[str, Any] | None:
    parted = _parted(result)
    return {"with": go_on, "from_step": parted[0], "parted": parted[1]} if parted else None
