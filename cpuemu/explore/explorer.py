"""Exploring a scenario: schedule after schedule, strategies in turn, failures kept.

A failure is kept once a *signature*: the verdict, the rule, and the CPUs that it names left out.  What was found is on
disk before the next schedule is counted.  With a journal an exploration can be stopped at any moment: whoever gives the
same command again counts what is in it, and goes on.
"""

from __future__ import annotations

import contextlib
import pickle
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from random import Random

from cpuemu.coordinator.interrupts import interrupts
from cpuemu.errors import UserError
from cpuemu.explore.actors import actors
from cpuemu.explore.journal import Entry, Journal
from cpuemu.explore.portfolio import PROFILE, PROFILE_EVERY, PROFILE_RUNS, Learnt, is_search, is_user
from cpuemu.explore.strategies.base import Strategy
from cpuemu.explore.strategies.dfs import Frontier
from cpuemu.explore.strategies.dfs import Path as Bounded
from cpuemu.explore.strategies.dpor import Dpor
from cpuemu.explore.strategies.random_walk import RandomWalk
from cpuemu.explore.strategies.states import Graph, Known, StatePath
from cpuemu.explore.strategies.struck import Struck
from cpuemu.explore.tally import Report, Search, Tally
from cpuemu.explore.worlds import Result, Worlds
from cpuemu.scenarios.base import Scenario

WAVE = 32
"""Prefixes that an exhaustive search takes at a time: what it runs next does not depend on ``jobs``."""
STATE = "search"

Run = tuple[str, int]
"""A strategy's name and a seed."""


class _Enough(Exception):
    """There is nothing more to be run: a failure was what it was for, or the time is up."""


@dataclass
class Exploration:
    """What is explored, and how.

    ``failed`` is given the first failure of each signature: strategy, seed, result, and its number from 1.
    """

    scenario: Scenario
    strategies: Sequence[str]
    schedules: int
    seed: int = 1
    jobs: int = 1
    until_failure: bool = False
    failed: Callable[[str, int, Result, int], None] = lambda *_: None
    tell: Callable[[Report], None] = lambda _: None
    journal: Journal | None = None
    seconds: float | None = None
    """No schedule is counted after so long."""

    def run(self) -> Report:
        """Run so many schedules, ``jobs`` at a time; what comes out does not depend on how many.  Raises UserError."""
        self.report, self.learnt = Report({name: Tally() for name in self.strategies}), Learnt()
        self.end = time.monotonic() + self.seconds if self.seconds else inf
        self.state: bytes | None = None
        self.waiting = iter(self.journal.entries[:] if self.journal else ())
        with interrupts() as self.interrupted, Worlds(self.scenario, self.jobs, self.interrupted) as self.worlds:
            try:
                if is_search(self.strategies[0]):
                    self._search(self.strategies[0])
                else:
                    self._sample()
            except _Enough:
                pass
            self.report.interrupted = bool(self.interrupted)
        return self.report

    # --- strategies that draw --------------------------------------------------------------------------------

    def _sample(self) -> None:
        plan = list(self._plan())
        for part in (plan[:PROFILE_RUNS], plan[PROFILE_RUNS:]):  # without the first, no strategy can be made
            for _ in self._run(part, self._strategy):
                pass
            if self.interrupted:
                break

    def _plan(self) -> Generator[Run]:
        """Every run of the exploration; more ``schedules`` add to it and change nothing."""
        seeds = Random(self.seed)
        for number in range(self.schedules):
            if number % PROFILE_EVERY == 0:
                for _ in range(PROFILE_RUNS):
                    yield PROFILE, seeds.getrandbits(63)
            yield self.strategies[number % len(self.strategies)], seeds.getrandbits(63)

    def _strategy(self, name: str, number: int) -> Strategy:
        past = number - PROFILE_RUNS
        strategy = self.learnt.of(past).strategy(name) if past >= 0 else RandomWalk()
        if not self.scenario.faults or is_user(name):
            return strategy
        steps = self.learnt.of(past).steps if past >= 0 and name != PROFILE else 0
        return Struck(strategy, steps, actors(self.scenario.cpus, faults=False))

    # --- searches that come to an end ------------------------------------------------------------------------

    def _search(self, name: str) -> None:
        kind, _, number = name.partition(":")
        self.report.search = Search(int(number) if number else None)
        if kind == "dfs":
            self._depth_first(name, self.report.search)
        elif kind == "states":
            self._stateful(name, self.report.search)
        else:
            self._reduced(name, self.report.search)

    def _depth_first(self, name: str, search: Search) -> None:
        frontier = Frontier()
        while self.report.schedules < self.schedules and (wave := frontier.take(WAVE)):
            before = self.report.schedules
            wave = wave[:self.schedules - before]
            for entry in self._run([(name, 0)] * len(wave),
                                   lambda _, number: Bounded(wave[number - before], search.bound)):  # noqa: B023
                frontier.add(entry.search)
                search.done = frontier.done
            if frontier.under_way:
                return  # it was interrupted, or no more schedules were wanted
            search.exhausted = frontier.exhausted
            if not frontier.exhausted:
                search.preemptions = max(search.preemptions, frontier.next_preemptions - 1)

    def _stateful(self, name: str, search: Search) -> None:
        """In waves: paths know what all waves before them found."""
        if self.scenario.faults:
            raise UserError(f"--strategy {name}: what a fault has left behind is not compared; give dfs, or no fault")
        if self.scenario.stepped:
            raise UserError(f"--strategy {name}: how far a compiled leaf has come is not compared; give dfs, or a "
                            "scenario that is not stepped")
        with tempfile.TemporaryDirectory(prefix="cpuemu-states-") as directory:
            graph = Graph(Known(Path(directory) / "states"))
            while self.report.schedules < self.schedules and (wave := graph.take(max(WAVE, len(graph.names) // 250))):
                before = self.report.schedules
                wave = wave[:self.schedules - before]
                seeds = Random(self.seed + before)
                for entry in self._run([(name, seeds.getrandbits(63)) for _ in wave],
                                       lambda _, number: StatePath(wave[number - before], graph.known)):  # noqa: B023
                    graph.add(entry.search)
                search.states, search.transitions, search.waiting = len(graph.names), graph.steps, graph.left
                search.again, search.torn = graph.again, graph.torn
                if graph.taken:
                    return  # it was interrupted, or no more schedules were wanted
                search.exhausted = not graph.open
                graph.publish()
            if search.exhausted:
                search.longest = graph.longest()

    def _reduced(self, name: str, search: Search) -> None:
        """One schedule at a time: which one comes next is known when the one before has ended."""
        search.classes = 0
        while self.report.schedules < self.schedules and not search.exhausted:
            entry = next(self._run([(name, 0)], lambda *_: self._dpor()), None)
            if entry is None:
                return
            search.classes += not entry.search["redundant"]
            search.exhausted, search.done = entry.search["exhausted"], entry.search["done"]

    def _dpor(self) -> Dpor:
        """As it was after the schedule before."""
        if self.state is None and self.journal and self.journal.entries:
            self.state = self.journal.saved(STATE, len(self.journal.entries))
        if self.state is None:
            return Dpor()
        found = pickle.loads(self.state)
        assert isinstance(found, Dpor)
        return found

    # --- running and counting ------------------------------------------------------------------------------

    def _run(self, plan: Sequence[Run], strategy: Callable[[str, int], Strategy]) -> Generator[Entry]:
        """Each of the plan, counted: those that the journal knows, then the others, which are run.

        ``strategy`` is asked with a name and the number of the schedule in the exploration.
        """
        known = 0
        for (name, seed), entry in zip(plan, self.waiting, strict=False):
            assert (entry.strategy, entry.seed) == (name, seed), "the journal is of another plan"
            known += 1
            self.report.resumed += 1
            self._count(entry)
            yield entry
        left = plan[known:]
        if not left:
            return
        runs = ((strategy(name, number), seed) for number, (name, seed) in enumerate(left, self.report.schedules))
        with contextlib.closing(self.worlds.run(runs)) as results:
            for (name, seed), result in zip(left, results, strict=False):  # fewer when it is interrupted
                yield self._found(name, seed, result)

    def _found(self, name: str, seed: int, result: Result) -> Entry:
        """On disk first: the failure, then the journal's line, whose presence says that the failure is there."""
        entry = self._entry(name, seed, result)
        if entry.bad and entry.signature not in self.report.signatures:
            self.failed(name, seed, result, len(self.report.signatures) + 1)
        if isinstance(entry.search, dict):
            self.state = entry.search.pop(STATE, None)
        if self.journal:
            if self.state is not None:
                self.journal.save(STATE, len(self.journal.entries) + 1, self.state)
            self.journal.append(entry)
        self._count(entry)
        return entry

    def _entry(self, name: str, seed: int, result: Result) -> Entry:
        accesses = result.accesses if name == PROFILE else self.report.new_accesses(result.accesses)
        return Entry(name, seed, result.verdict, result.signature, result.steps,
                     len(result.choices), result.deliveries, result.trace, result.orders, result.handovers,
                     self.report.new_pairs(result.pairs), accesses, result.search)

    def _count(self, entry: Entry) -> None:
        past = self.report.schedules - PROFILE_RUNS
        if past >= 0 and not is_search(entry.strategy):
            tuning = self.learnt.of(past)
            self.report.count(entry, tuning.series(entry.strategy), tuning.steps)
        else:
            self.report.count(entry)
        if entry.strategy == PROFILE:
            self.learnt.walked(entry.accesses)
        self.learnt.count(entry.steps, entry.verdict == "limit")
        self.tell(self.report)
        if (entry.bad and self.until_failure) or time.monotonic() >= self.end:
            raise _Enough
