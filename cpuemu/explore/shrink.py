"""A failure made smaller: fewer CPUs, tasks, requests, operations, and so on to fewer steps (Size); in this order.

Delta debugging (Zeller, Hildebrandt: "Simplifying and isolating failure-inducing input", TSE 2002) over runs, the steps
of one actor in a row, and moving of runs towards others of their actor (Jalbert, Sen: "A trace simplification technique
for effective debugging of concurrent programs", FSE 2010).  A change is kept when the same failure comes of it (its
signature) and what ran is smaller.  On a smaller machine no step need mean the same: there the changed schedule is a
first try, and some drawn ones come after it.  Operations are left out with the steps that are theirs.

What comes out depends on the failure alone, unless a limit of seconds or an interrupt ends it; not on ``jobs``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import NamedTuple

from cpuemu.errors import UserError
from cpuemu.explore import variants
from cpuemu.explore.actors import actor_name, actor_named, coordinator
from cpuemu.explore.failure import Failure, failure_of
from cpuemu.explore.strategies.base import Strategy
from cpuemu.explore.strategies.loose import Loose
from cpuemu.explore.strategies.pct import Pct
from cpuemu.explore.strategies.pos import Pos
from cpuemu.explore.strategies.random_walk import RandomWalk
from cpuemu.explore.variants import Actors, Variants, joined
from cpuemu.explore.worlds import Result, Worlds
from cpuemu.kernel.user_mode import P_RETURN
from cpuemu.layout import Vector
from cpuemu.scenarios.base import Scenario, spans
from cpuemu.sites import NAMES

DRAWN = 8, 48
"""Schedules drawn on a machine that is smaller, before it is taken for one that does not fail: few, while there are
others to try, then many."""

SHRUNK = ", shrunk"
HANDLER = 16
"""The most steps of an interrupt's handler that are taken out with it."""
MOST_OPERATIONS = 4096
"""A task that does more is left as it is."""
RETURN = NAMES[P_RETURN]


class Size(NamedTuple):
    """What is to become small, the first one first."""

    cpus: int
    tasks: int
    requests: int
    operations: int
    allowances: int
    faults: int
    interrupts: int
    preemptions: int
    switches: int
    steps: int


def size(scenario: Scenario, result: Result) -> Size:
    cpus, last = scenario.cpus, coordinator(scenario.cpus)
    return Size(cpus, len(scenario.present), len(scenario.hotplug),
                sum(task.operations for task in scenario.present), sum(scenario.budget().values()),
                sum(actor > last for actor, _ in result.ran), sum(cpus <= actor < last for actor, _ in result.ran),
                result.preemptions, result.switches, result.steps)


@dataclass
class Shrinking:
    """``schedules``: how many it may try; ``until``: CLOCK_MONOTONIC at which it ends.

    ``tell`` is given it after every try: the smallest one yet (``scenario``, ``size``), and how many were tried.
    """

    failure: Failure
    schedules: int
    until: float = float("inf")
    jobs: int = 1
    interrupted: Sequence[float] = ()
    tell: Callable[[Shrinking], None] = lambda _: None
    tried: int = field(default=0, init=False)

    def run(self) -> Failure:
        """The smallest that was found.  Raises UserError where the failure does not come back as it was."""
        self.scenario = self.failure.scenario
        self.seen: set[tuple[int, ...]] = set()
        with ExitStack() as self.stack:
            self.worlds = self._worlds(self.scenario)
            first = next(self.worlds.run([(self.failure.follow(), self.failure.seed)]), None)
            return self.failure if first is None else self._run(first)

    def _worlds(self, scenario: Scenario) -> Worlds:
        """Those of the machine that is tried now: they stay up from one try to the next."""
        return self.stack.enter_context(Worlds(scenario, self.jobs, self.interrupted))

    def _run(self, first: Result) -> Failure:
        if not self.failure.same(first):
            raise UserError(f"the failure does not come back as it was ({first.verdict} after {first.steps} steps)")
        self.best, self.size, self.signature = first, size(self.scenario, first), first.signature
        self.tell(self)
        self._smaller_machine()
        self._drawn(self.scenario, DRAWN[-1])
        before = None
        while before != self.size and not self.over:
            before = self.size
            self._smaller_schedule()
            self._fewer_operations()
        return self.smallest

    @property
    def smallest(self) -> Failure:
        """The smallest one yet."""
        strategy = f"{self.failure.strategy.removesuffix(SHRUNK)}{SHRUNK}"
        return failure_of(self.scenario, strategy, self.failure.seed, self.best)

    @property
    def over(self) -> bool:
        return self.tried >= self.schedules or bool(self.interrupted) or time.monotonic() >= self.until

    # --- smaller machines ------------------------------------------------------------------------------------

    def _smaller_machine(self) -> None:
        for drawn in DRAWN:
            for smaller in (self._fewer_cpus, self._fewer_tasks, self._fewer_requests, self._fewer_allowances):
                while not self.over and any(self._fails(scenario, drawn) for scenario in smaller()):
                    pass
            self._fewer_operations()

    def _fewer_cpus(self) -> Generator[Scenario]:
        count = self.scenario.cpus
        for cpus in dict.fromkeys((count // 2, count - 1)):
            away = tuple(number for number, task in enumerate(self.scenario.tasks) if task.cpu >= cpus)
            asked = tuple(text for text in self.scenario.hotplug if int(text.split()[1]) < cpus)
            yield from self._changed(cpus=cpus, hotplug=asked,
                                     left_out=tuple(sorted({*self.scenario.left_out, *away})))

    def _fewer_tasks(self) -> Generator[Scenario]:
        out = self.scenario.left_out
        for number in range(len(self.scenario.tasks)):
            if number not in out:
                yield from self._changed(left_out=tuple(sorted((*out, number))))

    def _fewer_requests(self) -> Generator[Scenario]:
        asked = self.scenario.hotplug
        for length in (2, 1):  # there and back at once, then one alone
            for at in range(len(asked) - length + 1):
                yield from self._changed(hotplug=asked[:at] + asked[at + length:])

    def _fewer_allowances(self) -> Generator[Scenario]:
        """Of what may go wrong, less."""
        for name, times in self.scenario.budget().items():
            left = {**self.scenario.budget(), name: times - 1}
            yield from self._changed(faults=tuple(f"{each} {count}" for each, count in left.items() if count))

    def _fewer_operations(self) -> None:
        """Of each task half of them at once, then fewer, then each alone."""
        for number, task in enumerate(self.scenario.tasks):
            if number in self.scenario.left_out or task.operations > MOST_OPERATIONS:
                continue
            length = (task.operations + 1) // 2
            while length:
                at = 0
                while at < len(left := self._operations(number)) and not self.over:
                    if not self._fails_without(number, left[at:at + length], at):
                        at += length
                length //= 2

    def _operations(self, number: int) -> list[int]:
        """The places of those that a task does yet."""
        return sorted(set(range(self.scenario.tasks[number].operations)) - self.scenario.skips(number))

    def _fails_without(self, number: int, places: Sequence[int], at: int) -> bool:
        """``at``: how many the task does before those."""
        skipped = [span for task in range(len(self.scenario.tasks))
                   for span in spans(task, self.scenario.skips(task) | set(places if task == number else ()))]
        whole = [actor for actor, _ in self.best.ran]
        cpu = self.scenario.tasks[number].cpu
        return any(self._first(scenario, map(Loose, (self._less_of(cpu, at, len(places)), whole))) is not None
                   for scenario in self._changed(skipped=tuple(skipped)))

    def _less_of(self, cpu: int, at: int, count: int) -> Actors:
        """What ran, less the steps of so many operations of a CPU: each begins where the one before has returned."""
        begun = 0
        kept = []
        for actor, point in self.best.ran:
            begun += actor == cpu and point == RETURN
            if actor != cpu or not at < begun <= at + count:
                kept.append(actor)
        return kept

    def _changed(self, **parts: object) -> Generator[Scenario]:
        """The scenario with these, unless it cannot be."""
        try:
            yield replace(self.scenario, **parts)  # type: ignore[arg-type]
        except UserError:
            pass

    def _fails(self, scenario: Scenario, drawn: int) -> bool:
        """Whether the same failure was found on this smaller machine; it is then the one to go on with."""
        names = [actor_name(actor, self.scenario.cpus) for actor, _ in self.best.ran]
        kept = [actor for name in names if (actor := actor_named(name, scenario.cpus)) is not None]
        if not kept:
            return False
        try:
            return self._first(scenario, [Loose(kept)]) is not None or self._drawn(scenario, drawn)
        except UserError:
            return False  # the workload does not want to be on such a machine

    def _drawn(self, scenario: Scenario, count: int) -> bool:
        """Whether so many schedules drawn on a machine had one that is smaller."""
        steps = max(2, self.best.steps)
        kinds: tuple[Callable[[], Strategy], ...] = (lambda: Pct(2, steps), lambda: Pct(3, steps), RandomWalk, Pos)
        return self._first(scenario, [kinds[number % len(kinds)]() for number in range(count)]) is not None

    # --- smaller schedules -----------------------------------------------------------------------------------

    def _smaller_schedule(self) -> None:
        self._sweep(variants.without_an_actor)
        self._sweep(self._without_an_interrupt)
        length = max(1, len(self._runs()) // 2)
        while length:
            self._sweep(lambda runs, length=length: variants.without_runs(runs, length))  # type: ignore[misc]
            length //= 2
        for change in (variants.later, variants.earlier, variants.less_of_an_actor, variants.cut, variants.longer):
            self._sweep(change)

    def _without_an_interrupt(self, runs: list[Actors]) -> Generator[Actors]:
        """One not taken, and the steps of its handler, however many they are, not done."""
        actors, cpus = joined(runs), self.scenario.cpus
        for at, actor in enumerate(actors):
            if cpus <= actor < coordinator(cpus):
                host = (actor - cpus) // Vector.NR
                after = [place for place in range(at + 1, len(actors)) if actors[place] == host]
                for count in range(min(len(after), HANDLER) + 1):
                    out = {at, *after[:count]}
                    yield [each for place, each in enumerate(actors) if place not in out]

    def _runs(self) -> list[Actors]:
        return [list(run) for _, run in groupby(actor for actor, _ in self.best.ran)]

    def _sweep(self, change: Variants) -> None:
        """All variants once; where one is taken, the sweep goes on at the same place of the new one."""
        at: int | None = 0
        passed = 0
        while at is not None and not self.over:
            passed += at
            new = [each for each in list(change(self._runs()))[passed:] if tuple(each) not in self.seen]
            at = self._first(self.scenario, map(Loose, new), new)

    def _first(self, scenario: Scenario, strategies: Iterable[Strategy],
               wishes: Sequence[Actors] = ()) -> int | None:
        """The place of the first that fails in the same way and is smaller: it is the best now."""
        if self.over:
            return None
        seed = self.failure.seed + self.tried  # by the number of the try: some are begun that never count
        runs = ((strategy, seed + at) for at, strategy in enumerate(strategies))
        if self.worlds.scenario != scenario:
            self.stack.close()
            self.worlds = self._worlds(scenario)
        results = self.worlds.run(runs)
        try:
            for at, result in enumerate(results):
                if wishes:
                    self.seen.add(tuple(wishes[at]))
                self.tried += 1
                if self._take(scenario, result):
                    return at
                if self.over:
                    break
        finally:
            results.close()
        return None

    def _take(self, scenario: Scenario, result: Result) -> bool:
        smaller = (result.bad and result.signature == self.signature
                   and size(scenario, result) < self.size)
        if smaller:
            self.scenario, self.best, self.size = scenario, result, size(scenario, result)
            self.seen.clear()
        self.tell(self)
        return smaller
