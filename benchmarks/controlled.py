"""Controlled schedules: a point whose actor goes on, a hand-over to another one, a whole schedule with its reset."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

from benchmarks.measure import Goal, Row, Settings, median
from cpuemu.explore.conductor import Conductor
from cpuemu.explore.stage import Program, Stage
from cpuemu.explore.strategies.base import Event, Strategy
from cpuemu.explore.strategies.random_walk import RandomWalk
from cpuemu.explore.worlds import run_worlds
from cpuemu.scenarios.base import Scenario

ACTORS = 8
STEPS = 1000
CPUS = 4
SCHEDULES = 20
CALLERS = f"{Path(__file__).resolve().parent / 'callers.py'}:Callers"

SAME_NOTE = f"{ACTORS} actors, all enabled at every point, and the one that ran goes on; goal 100,000 a second"
OTHER_NOTE = f"{ACTORS} actors; at every point the next one is chosen, a process of its own; goal 30,000 a second"
RANDOM_NOTE = f"{ACTORS} actors, each decision drawn by a random walk"


class Same:
    """Whoever runs goes on."""

    name = "same"

    def begin(self, actors: int, random: Random) -> None:
        pass

    def choose(self, enabled: Sequence[Event]) -> Event:
        return enabled[0]

    def executed(self, event: Event, enabled: Sequence[Event]) -> None:
        pass


class Other(Same):
    """In turn."""

    name = "other"

    def begin(self, actors: int, random: Random) -> None:
        self.turn = itertools.count()

    def choose(self, enabled: Sequence[Event]) -> Event:
        return enabled[next(self.turn) % len(enabled)]


def points(settings: Settings) -> Iterator[Row]:
    """Microseconds from one point to the next, on the gate alone."""
    rounds = settings.rounds(STEPS)

    def actor(stage: Stage) -> None:
        for number in range(rounds):
            stage.write(stage.actor, number)

    rows: list[tuple[Strategy, Row]] = [
        (Same(), Row("point, the same actor goes on", "µs", [], goal=Goal(value=10), note=SAME_NOTE)),
        (Other(), Row("point, another process goes on", "µs", [], goal=Goal(value=33.3), note=OTHER_NOTE)),
        (RandomWalk(), Row("point, chosen at random", "µs", [], note=RANDOM_NOTE)),
    ]
    with Conductor(Program("points", [actor] * ACTORS)) as conductor:
        for number, (strategy, row) in itertools.product(range(settings.repeat), rows):
            row.ours.append(_a_point(conductor, strategy, number))
    for _, row in rows:
        yield row


def _a_point(conductor: Conductor, strategy: Strategy, seed: int) -> float:
    started = time.monotonic()
    steps = len(conductor.run(strategy, seed).events)
    return (time.monotonic() - started) * 1e6 / steps


def schedules(settings: Settings) -> Iterator[Row]:
    """Milliseconds of one schedule of a whole machine, and of its coming up, which happens once for all of them."""
    scenario = Scenario("callers", workload=CALLERS, cpus=CPUS)
    row = Row(f"a schedule on {CPUS} CPUs, with its reset", "ms", [], goal=Goal(value=15))
    up = Row("… its machine comes up, once for all schedules", "ms", [])
    steps = []
    for turn in range(settings.repeat):
        count = settings.rounds(SCHEDULES)
        started = time.monotonic()
        results = run_worlds(scenario, [(RandomWalk(), turn * count + seed) for seed in range(1 + count)], 1)
        next(results)
        first = time.monotonic()
        steps += [result.steps for result in results]
        each = (time.monotonic() - first) * 1e3 / count
        row.ours.append(each)
        up.ours.append((first - started) * 1e3 - each)
    row.note = f"with the audit of its pages; tasks that call all CPUs; {median(steps):.0f} points"
    up.note = f"the time to the end of the first schedule, less one of the {SCHEDULES} that follow"
    yield row
    yield up
