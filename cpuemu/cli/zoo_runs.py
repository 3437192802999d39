"""Running the zoo: each kernel in a process of its own, as a process runs one kernel."""

from __future__ import annotations

import inspect
import json
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cpuemu.explore.statistics import at_most, wilson
from cpuemu.itself import run_itself
from cpuemu.scenarios.base import Bug
from cpuemu.scenarios.load import mending, module_of

FREE_CPUS = 8
FREE_MEMORY = 4 << 20
"""At least so much: that many CPUs do not come up with less."""
PATIENCE_S = 120.0
FOUND, SILENT = "found", "silent"


@dataclass(frozen=True)
class Asked:
    """Names and meaning are the command line's (``cpuemu zoo run --help``)."""

    schedules: int
    fixed_schedules: int | None
    strategies: tuple[str, ...]
    seed: int
    jobs: int
    save: Path | None


@dataclass
class Ran:
    """What became of one bug.  ``well``: as it is known to be; ``line``: for a person."""

    bug: Bug
    well: bool
    line: str
    data: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.data = {"number": self.bug.number, "name": self.bug.name, "as_expected": self.well, **self.data}


def explored(bug: Bug, asked: Asked) -> Ran:
    """Both kernels under schedules that strategies choose."""
    broken = _explore(bug, "broken", asked.schedules, asked)
    fewer = asked.schedules if asked.fixed_schedules is None else asked.fixed_schedules
    fixed = _explore(bug, "fixed", fewer, asked) if fewer else None
    fits = [signature for signature in broken["signatures"] if expected(bug, signature)]
    # What the limit of steps cut says nothing: a strategy may have let one task poll for ever.
    others = [signature for signature in broken["signatures"] if signature not in fits and not _cut(signature)]
    wrong = [signature for signature in fixed["signatures"] if not _cut(signature)] if fixed else []
    well = bool(fits) and not others and not wrong
    count, of = broken["failures"], broken["schedules"]
    low, high = wilson(count, of)
    first = broken["first"]
    line = (f"{bug.number:>4}  {bug.name:<28} {count} of {of} fail ({count / of:.1%}, {low:.1%}–{high:.1%})"
            + (f", first: {first}" if first else ", not found"))
    for signature in others:
        line += f"\n      not what it is known for: {signature}"
    if fixed is not None:
        line += (f"; fixed: none of {fixed['schedules'] - fixed['cut']} (≤ {at_most(fixed['schedules']):.2g})"
                 + (f", {fixed['cut']} cut by the limit of steps" if fixed["cut"] else "") if not wrong else
                 f"; FIXED, AND {fixed['failures']} OF {fixed['schedules']} FAIL: {wrong[0]}")
    return Ran(bug, well, line, {"broken": broken, "fixed": fixed})


def _cut(signature: str) -> bool:
    return signature.startswith("limit: ")


def expected(bug: Bug, signature: str) -> bool:
    """Whether a signature is of a rule that the bug is known for."""
    verdict, _, rest = signature.partition(": ")
    return verdict in bug.expects or any(rest.startswith(rule) for rule in bug.expects)


def _explore(bug: Bug, variant: str, schedules: int, asked: Asked) -> dict[str, Any]:
    words = ["explore", f"zoo:{bug.number}/{variant}", "--schedules", str(schedules), "--seed", str(asked.seed),
             "--jobs", str(asked.jobs), "--json"]
    for name in asked.strategies:
        words += ["--strategy", name]
    with tempfile.TemporaryDirectory(prefix="cpuemu-zoo-") as place:
        directory = asked.save / f"{bug.number}-{variant}" if asked.save else Path(place) / variant
        return _json_of([*words, "--save", str(directory)], None)


def replayed(bug: Bug) -> Ran:
    """The pinned schedule.  Raises UserError where what mends the bug no longer fits the kernel."""
    mending(bug)
    if not bug.pinned:
        return Ran(bug, False, f"{bug.number:>4}  {bug.name:<28} no schedule is pinned to it")
    began = time.monotonic()
    run = run_itself(["replay", "--pinned", bug.pinned, f"zoo:{bug.number}/broken"], PATIENCE_S)
    said = [line for line in run.stdout.splitlines() if ": " in line]
    well = any(expected(bug, line) for line in said)
    line = next((line for line in said if expected(bug, line)), (said or run.stderr.splitlines() or ["nothing"])[-1])
    return Ran(bug, well, f"{bug.number:>4}  {bug.name:<28} {line[:100]}",
               {"seconds": round(time.monotonic() - began, 2), "said": line})


def freely(bug: Bug, seconds: float) -> Ran:
    """The broken kernel on processes that nobody conducts, started again after each finding, for so long in all."""
    scenario = bug.scenario
    found, other, operations, runs = 0, 0, 0, 0
    with tempfile.TemporaryDirectory(prefix="cpuemu-zoo-") as place:
        words = ["launch", "--cpus", str(FREE_CPUS), "--workload", f"{inspect.getfile(module_of(bug))}:BUG",
                 "--profile", scenario.profile, "--preempt", scenario.preempt, "--offline", "park",
                 "--memory", f"{max(scenario.memory, FREE_MEMORY) >> 10}K", "--json"]
        if scenario.policy:
            words += ["--policy", scenario.policy]
        if scenario.hotplug:
            words += ["--hotplug", ",".join(str(cpu) for cpu in dict.fromkeys(cpu for cpu, _ in scenario.requests))]
        if bug.broken:
            (Path(place) / "broken.diff").write_text(bug.broken)
            words += ["--patch", f"{place}/broken.diff"]
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0.5:
            runs += 1
            run = run_itself([*words, "--seconds", f"{left:.1f}", "--seed", str(runs), "--run-dir", f"{place}/{runs}"],
                          left + PATIENCE_S)
            if not run.stdout:  # as with a machine that is too small for so many CPUs
                why = (run.stderr.strip().splitlines() or ["nothing was said"])[-1]
                return Ran(bug, True, f"{bug.number:>4}  {bug.name:<28} does not run free: {why}",
                           {"free": {"found": 0, "refused": why}})
            said = json.loads(run.stdout)
            operations += said["counts"]["operations"]
            rules = {each["rule"].partition(" ")[0] for each in said["findings"]}
            known = not rules.isdisjoint(bug.expects)
            found += known
            other += bool(rules) and not known
    line = f"{bug.number:>4}  {bug.name:<28} found {found} times in {seconds:.0f} s ({operations:,} operations)"
    return Ran(bug, True, line + (f", and something else {other} times" if other else ""),
               {"free": {"found": found, "other": other, "operations": operations, "runs": runs, "seconds": seconds}})


def _json_of(words: list[str], patience: float | None) -> dict[str, Any]:
    run = run_itself(words, patience)
    if not run.stdout:
        raise RuntimeError(f"cpuemu {' '.join(words)} ended with status {run.returncode}: {run.stderr[-2000:]}")
    said: dict[str, Any] = json.loads(run.stdout)
    return said
