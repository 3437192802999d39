"""Does the same seed give the same schedule?  Schedules run twice; who could move is compared before every step.

What a failure's file is worth stands on this: a schedule that depends on anything but its decisions (a clock, the order
in which messages came, a hash) would not come back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from random import Random

from cpuemu.explore.actors import actor_name
from cpuemu.explore.strategies.base import Event, Strategy
from cpuemu.explore.strategies.pct import Pct
from cpuemu.explore.strategies.pos import Pos
from cpuemu.explore.strategies.random_walk import RandomWalk
from cpuemu.explore.worlds import Result, run_worlds
from cpuemu.kernel.wait_records import Look
from cpuemu.layout import Machine
from cpuemu.scenarios.base import Scenario
from cpuemu.sites import NAMES

STEPS = 1000
"""k of PCT: no guarantee is asked of it here, only other schedules than a random walk's."""
THE_END = "the schedule is over"


@dataclass(frozen=True)
class Difference:
    """The first step of a schedule before which the two runs were not the same: what each could do there."""

    seed: int
    strategy: str
    step: int
    first: str
    second: str


def self_check(scenario: Scenario, schedules: int, seed: int, jobs: int,
               interrupted: Sequence[float] = ()) -> Iterator[Difference | None]:
    """For each of so many schedules the first difference, None where there is none.  Raises UserError."""
    seeds = Random(seed)
    strategies: tuple[Strategy, ...] = RandomWalk(), Pct(3, STEPS), Pos()
    plan = [(strategies[number % len(strategies)], seeds.getrandbits(63)) for number in range(schedules)]
    worlds = run_worlds(scenario, (run for run in plan for _ in range(2)), jobs, interrupted, watch=could_move)
    for (strategy, drawn), first, second in zip(plan, worlds, worlds, strict=False):  # fewer when it is interrupted
        yield difference(drawn, strategy.name, first, second)


def difference(seed: int, strategy: str, first: Result, second: Result) -> Difference | None:
    """Of two runs of one schedule."""
    # At the end nobody could move, and nothing is said of that.
    ends = [[*filter(None, result.watched), f"{THE_END}: {result.verdict} {result.message}".rstrip()]
            for result in (first, second)]
    for step, (one, other) in enumerate(zip_longest(*ends, fillvalue=THE_END)):
        if one != other:
            return Difference(seed, strategy, step, one, other)
    if first.trace != second.trace:
        return Difference(seed, strategy, first.steps, f"trace {first.trace}", f"trace {second.trace}")
    return None


def could_move(machine: Machine, enabled: Sequence[Event]) -> str:
    """Who can move, one a line: where it stands, what it does next, and its stack."""
    look = Look(machine)
    return "\n".join(_actor(look, event) for event in enabled)


def _actor(look: Look, event: Event) -> str:
    cpus = look.machine.dims.cpus
    if event.actor >= cpus:
        return actor_name(event.actor, cpus)
    task = look.machine.cpus[event.actor].current
    does = "locks" if event.lock else "writes" if event.write else "reads"
    return (f"cpu {event.actor}, {look.comm(task)}: {NAMES[event.site]} {does} {look.word_name(event.word)}"
            f"; stack: {look.machine.tasks[task].stack}")
