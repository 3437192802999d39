"""What is counted of an exploration, strategy by strategy and for all together; what that says is worked out later."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import exp, log1p
from typing import NamedTuple

from cpuemu.explore.journal import Entry
from cpuemu.explore.species import Access, Pair
from cpuemu.explore.statistics import Discovery, Survival, discovery, survival
from cpuemu.explore.strategies.pct import guarantee


@dataclass
class Series:
    """Schedules that were drawn from one distribution, and the species among them."""

    parameters: str
    orders: Counter[str] = field(default_factory=Counter)
    handovers: Counter[str] = field(default_factory=Counter)


class Proof(NamedTuple):
    """A bug of this depth is missed by all ``runs`` of PCT with at most this probability."""

    depth: int
    actors: int
    steps: int
    runs: int
    missed: float


@dataclass
class Tally:
    """One strategy's schedules, kept apart from the others'."""

    schedules: int = 0
    failures: int = 0
    first: int = 0
    """Its number of schedules up to the first failure, 0: none yet."""
    tries: list[int] = field(default_factory=list)
    """From each failure to the next, and at first from the beginning: how many schedules."""
    series: Series = field(default_factory=lambda: Series(""))
    series_before: int = 0
    steps_told: Counter[int] = field(default_factory=Counter)
    """How many schedules were told which k."""

    def count(self, entry: Entry, parameters: str, steps_told: int) -> None:
        if parameters != self.series.parameters:
            self.series_before += bool(self.schedules)
            self.series = Series(parameters)
        self.schedules += 1
        self.steps_told[steps_told] += 1
        self.series.orders[entry.orders] += 1
        self.series.handovers[entry.handovers] += 1
        if entry.bad:
            self.failures += 1
            self.first = self.first or self.schedules
            self.tries.append(self.schedules - sum(self.tries))

    @property
    def survival(self) -> Survival:
        """Schedules to a failure.  Each is drawn for itself, so that after a failure it is the first try again."""
        left = self.schedules - sum(self.tries)
        return survival([*((number, True) for number in self.tries), *([(left, False)] if left else [])])

    def discovery(self) -> Discovery:
        """Of hand-over species, in the series that goes on."""
        return discovery(self.series.handovers.values())


@dataclass(frozen=True)
class Points:
    """Points of kernel code that ran.  ``private``: those that came to no word that a second actor came to, too."""

    ran: list[str]
    private: list[str]
    words: int
    shared_words: int


@dataclass
class Search:
    """How far an exhaustive search is.

    ``preemptions``: every schedule with at most so many was run, -1: not even those with none; None: no bound.
    ``exhausted``: there is nothing left that it is for.  ``classes``: of DPOR, schedules of a class not run before.
    ``done``: the estimated share (Knuth 1975).  Of a search that tells states apart: ``states`` and ``transitions``,
    the steps between them; ``waiting``: those not taken yet; ``again``: how many were walked once more, and how many of
    these led elsewhere (``torn``); ``longest``: steps of the longest schedule, None: one goes round for ever.
    """

    bound: int | None
    exhausted: bool = False
    preemptions: int = -1
    done: float = 0.0
    classes: int | None = None
    states: int | None = None
    transitions: int = 0
    waiting: int = 0
    again: int = 0
    torn: int = 0
    longest: int | None = None


@dataclass
class Report:
    tallies: dict[str, Tally] = field(default_factory=dict)
    signatures: Counter[str] = field(default_factory=Counter)
    traces: set[str] = field(default_factory=set)
    orders: set[str] = field(default_factory=set)
    handovers: set[str] = field(default_factory=set)
    pairs: set[Pair] = field(default_factory=set)
    last_new_pair: int = 0
    first: int = 0
    """Which schedule failed first, 0: none."""
    accesses: dict[tuple[int, int, str, bool, bool], None] = field(default_factory=dict)
    steps: int = 0
    """The most steps that a schedule took."""
    all_steps: int = 0
    decisions: int = 0
    deliveries: int = 0
    """The most interrupts that a schedule took."""
    cut: int = 0
    """Schedules that the limit of steps ended."""
    resumed: int = 0
    """Schedules that an earlier run had run."""
    search: Search | None = None
    interrupted: bool = False

    @property
    def schedules(self) -> int:
        return sum(tally.schedules for tally in self.tallies.values())

    @property
    def failures(self) -> int:
        return sum(tally.failures for tally in self.tallies.values())

    def new_pairs(self, pairs: Iterable[Pair]) -> list[Pair]:
        return [pair for pair in pairs if pair not in self.pairs]

    def new_accesses(self, accesses: Iterable[Access]) -> list[Access]:
        return [each for each in accesses if each[:5] not in self.accesses]

    def count(self, entry: Entry, parameters: str = "", steps_told: int = 0) -> None:
        self.tallies.setdefault(entry.strategy, Tally()).count(entry, parameters, steps_told)
        self.steps = max(self.steps, entry.steps)
        self.all_steps += entry.steps
        self.decisions += entry.decisions
        self.deliveries = max(self.deliveries, entry.deliveries)
        self.traces.add(entry.trace)
        self.orders.add(entry.orders)
        self.handovers.add(entry.handovers)
        if not self.pairs.issuperset(entry.pairs):
            self.pairs |= set(entry.pairs)
            self.last_new_pair = self.schedules
        self.accesses |= {each[:5]: None for each in entry.accesses}
        self.cut += entry.verdict == "limit"
        if entry.bad:
            self.signatures[entry.signature] += 1
            self.first = self.first or self.schedules

    # --- what it says --------------------------------------------------------------------------------------

    @property
    def actors(self) -> int:
        """How many ever moved."""
        return len({actor for actor, *_ in self.accesses})

    @property
    def points(self) -> Points:
        actors: dict[int, set[int]] = {}
        words: dict[str, set[int]] = {}
        for actor, word, site, _, _ in self.accesses:
            actors.setdefault(word, set()).add(actor)
            words.setdefault(site, set()).add(word)
        shared = {word for word, who in actors.items() if word and len(who) > 1}
        return Points(sorted(words), sorted(site for site, at in words.items() if not at & shared), len(actors),
                      len(shared))

    def discovery(self) -> float | None:
        """The probability that the next schedule's hand-overs are new to its strategy: the strategies take turns."""
        found = [tally.discovery() for tally in self.tallies.values() if tally.schedules]
        return sum(each.probability for each in found) / len(found) if found else None

    def proof(self, name: str) -> Proof | None:
        """What the runs of PCT prove: only those count that were told a k no smaller than any schedule's steps.

        None for other strategies, and where the limit of steps cut schedules: their length is not known.
        """
        kind, _, number = name.partition(":")
        if kind != "pct" or self.cut or not self.actors:
            return None
        missed, runs = 0.0, 0
        for steps, count in self.tallies[name].steps_told.items():
            if steps >= self.steps:
                chance = guarantee(int(number), self.actors, steps)
                missed += count * (log1p(-chance) if chance < 1 else float("-inf"))
                runs += count
        return Proof(int(number), self.actors, self.steps, runs, exp(missed))
