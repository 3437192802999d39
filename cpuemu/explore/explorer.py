"""Exploring a scenario: schedule after schedule, each in a process of its own, strategies in turn, failures kept.

A failure is kept once a *signature*: the verdict, the rule, and the CPUs that it names left out.  What was found is on
disk before the next schedule begins.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import ceil
from random import Random

from cpuemu.coordinator.interrupts import interrupts
from cpuemu.errors import UserError
from cpuemu.explore.machine import Scenario
from cpuemu.explore.strategies.base import Strategy
from cpuemu.explore.strategies.delay import Delay
from cpuemu.explore.strategies.pct import Pct
from cpuemu.explore.strategies.pos import Pos
from cpuemu.explore.strategies.random_walk import RandomWalk
from cpuemu.explore.strategies.surw import Profile, Surw, Urw
from cpuemu.explore.worlds import Result, run_worlds

PORTFOLIO = ("random", "pct:1", "pct:2", "pct:3", "pct:5", "pos", "surw")
KINDS = ("random", "pct:DEPTH", "pos", "basic-pos", "urw", "surw", "delay:DELAYS")
PROFILE_RUNS = 5
"""Random walks before the first strategy: they give k, and the profile that URW and SURW need."""
MARGIN = 1.25
"""k is so many times the longest of these: PCT's guarantee needs one that is no smaller than a schedule's steps."""


@dataclass
class Tally:
    """One strategy's schedules, kept apart from the others'."""

    schedules: int = 0
    failures: int = 0
    first: int = 0
    """Its number of schedules up to the first failure, 0: none yet."""


@dataclass
class Report:
    tallies: dict[str, Tally] = field(default_factory=dict)
    signatures: Counter[str] = field(default_factory=Counter)
    traces: set[str] = field(default_factory=set)
    steps: int = 0
    """The most steps that a schedule took."""
    interrupted: bool = False

    @property
    def schedules(self) -> int:
        return sum(tally.schedules for tally in self.tallies.values())

    @property
    def failures(self) -> int:
        return sum(tally.failures for tally in self.tallies.values())


def check_strategy(name: str) -> None:
    """Raises UserError on a name that is none."""
    kind, _, number = name.partition(":")
    with_number = kind in ("pct", "delay")
    if kind not in {each.partition(":")[0] for each in KINDS} or (with_number != number.isdigit()) or number == "0":
        raise UserError(f"--strategy {name}: unknown; known are {', '.join(KINDS)}")


def strategy_named(name: str, steps: int, profile: Profile) -> Strategy:
    """``steps``: k, an upper bound of a schedule's length."""
    kind, _, number = name.partition(":")
    made: dict[str, Callable[[], Strategy]] = {
        "random": RandomWalk, "pos": Pos, "basic-pos": lambda: Pos(resample=False), "urw": lambda: Urw(profile),
        "surw": lambda: Surw(profile), "pct": lambda: Pct(int(number), steps),
        "delay": lambda: Delay(int(number), steps),
    }
    return made[kind]()


def explore(scenario: Scenario, strategies: Sequence[str], schedules: int, seed: int, jobs: int, until_failure: bool,
            failed: Callable[[str, int, Result], None], tell: Callable[[Report], None]) -> Report:
    """Run so many schedules, ``jobs`` at a time; what comes out does not depend on how many.

    ``failed`` is given the first failure of each signature: strategy, seed, result.
    """
    report = Report({name: Tally() for name in strategies})
    seeds = Random(seed)
    walks = [(RandomWalk(), seeds.getrandbits(63)) for _ in range(PROFILE_RUNS)]
    with interrupts() as interrupted:
        profile = _profile(list(run_worlds(scenario, walks, jobs, interrupted)), report)
        steps = ceil(MARGIN * report.steps)
        plan = [(strategies[number % len(strategies)], seeds.getrandbits(63)) for number in range(schedules)]
        runs = ((strategy_named(name, steps, profile), drawn) for name, drawn in plan)
        worlds = run_worlds(scenario, runs, jobs, interrupted)
        for (name, drawn), result in zip(plan, worlds, strict=False):  # fewer when it is interrupted
            _count(report, name, result)
            if result.bad and report.signatures[result.signature] == 1:
                failed(name, drawn, result)
            tell(report)
            if result.bad and until_failure:
                break
        worlds.close()
        report.interrupted = bool(interrupted)
    return report


def _count(report: Report, name: str, result: Result) -> None:
    tally = report.tallies[name]
    tally.schedules += 1
    report.steps = max(report.steps, result.steps)
    report.traces.add(result.trace)
    if result.bad:
        tally.failures += 1
        tally.first = tally.first or tally.schedules
        report.signatures[result.signature] += 1


def _profile(results: Sequence[Result], report: Report) -> Profile:
    counts: Counter[tuple[int, int]] = Counter()
    locks: set[int] = set()
    for result in results:
        counts |= Counter({(actor, word): count for actor, word, count in result.counts})
        locks |= set(result.locks)
        report.steps = max(report.steps, result.steps)
    return Profile(counts, frozenset(locks))
