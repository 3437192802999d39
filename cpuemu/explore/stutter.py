"""Polling: whoever only goes round is disabled until somebody else has changed something.

A loop that looks for what others are to change does not wait, so nothing says that it cannot go on; under a strategy
with strict priorities it goes round for ever.  What it does is nothing, though: the machine is *the same as before*
when all of RAM is, but for what only measures, and every kernel stack.  Between two such moments lies a *round*, and a
schedule without it leads to the same states.  So at the end of a round those who can move and did not are the only ones
that can be chosen, until one of them has changed RAM.  No strategy needs to know: as in a wait, the actor is disabled.

A round is noticed by Brent's rule: the machine is compared with a mark, which is set anew after twice as many steps as
the last time; nothing is compared but where everybody stands, until that is the same.  Rounds of several who poll, each
of them disabled whenever it is back, are seen one level higher: there a step is a round below, from another mark.

A round after which nobody is left who did not take part is told apart: a loop may end with time.  The next time the
others come at the next step of the round: what they need may be free at one of its steps and not at another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from cpuemu.core import Ram
from cpuemu.explore.measures import mask_of
from cpuemu.explore.species import point_name
from cpuemu.explore.strategies.base import Event
from cpuemu.layout import Machine

FIRST = 256
"""Steps of a schedule before it is looked at: most have come to something else by then."""
SOON = 64
"""Steps to the next mark, once somebody was found to go round."""

Following = Sequence[Event | None]
"""What each CPU does next."""


@dataclass(eq=False)
class Mark:
    """The machine as it was: where everybody stood, RAM, kernel stacks.

    ``since``: the step at which it was so last; ``ticks``: looks at the machine since then, after ``until`` of them the
    mark is set anew.  ``turned``: what was done in rounds that ended here; ``outside``: something else could have been
    done in the last one.  ``below``: the mark of the level below when the machine was so last.
    """

    following: list[Event | None]
    memory: bytes
    stacks: list[int]
    since: int
    until: int
    below: Mark | None
    ticks: int = 0
    turned: set[Event] = field(default_factory=set)
    outside: bool = False


class Stutter:
    """Of one machine, schedule after schedule.

    ``stacks``: a number for those of a CPU.  ``last``: the first actor that is no part of the machine, so that what it
    does is never a round: the coordinator; the faults behind it need not strike.
    """

    def __init__(self, ram: Ram, machine: Machine, stacks: Callable[[int], int], last: int) -> None:
        self.ram, self.mask, self.ask, self.last = ram, mask_of(machine, ram.size), stacks, last
        self.begin()

    def begin(self) -> None:
        """A new schedule."""
        self.marks: list[Mark] = []
        self.looks = False
        self.stacks: dict[int, int] = {}
        """Of the CPUs that have not moved since they were asked."""
        self.round: list[Event] = []
        """What is done again and again, when nobody is left who did not take part; empty: there is somebody."""
        self.rounds = 0
        """How many such rounds there have been: whoever sees that a task has got on may set it to 0."""
        self.ended, self.length = 0, 1
        """The last round of all: after which step, of how many."""

    def able(self, events: Sequence[Event], following: Following, enabled: Sequence[Event]) -> Sequence[Event]:
        """Those of ``enabled`` who do not only go round.  ``events``: what has been done."""
        self.round = []
        if len(events) < FIRST and not self.looks:
            return enabled
        self.looks = True
        self._forget(events, following)
        self._look(events, following)
        return self._others(len(events), enabled) or enabled

    def _forget(self, events: Sequence[Event], following: Following) -> None:
        """What was known of rounds is no longer true when somebody else has changed RAM."""
        event = events[-1]
        self.stacks.pop(event.line, None)
        if event.actor >= self.last:
            self.marks.clear()
            self.stacks.clear()
        for level, mark in enumerate(self.marks):
            if mark.turned and event not in mark.turned and not self.ram.same(mark.memory, self.mask):
                self._mark(level, events, following, SOON if not level else 1)

    def _look(self, events: Sequence[Event], following: Following) -> None:
        """Whether the machine is as it was at the marks."""
        below: Mark | None = None
        for level, mark in enumerate(self.marks):
            if mark.since == len(events) or (level and mark.below is below):
                return
            if not self._comes_round(mark, events, following):
                if mark.ticks >= mark.until:
                    self._mark(level, events, following, 2 * mark.until)
                return
            mark.below = below
            below = mark
        self._mark(len(self.marks), events, following, 1 if self.marks else FIRST)

    def _comes_round(self, mark: Mark, events: Sequence[Event], following: Following) -> bool:
        mark.ticks += 1
        if mark.following != following or not self._same(mark):
            return False
        done = events[mark.since:]
        if mark is self.marks[0]:
            self.ended, self.length = len(events), len(done)
        if mark.turned.issuperset(done) and not mark.outside:
            self.round = sorted(mark.turned, key=lambda event: (event.line, event.site))
            self.rounds += 1
            mark.turned.clear()
        else:
            mark.turned.update(done)
        mark.until = 2 * mark.ticks  # whatever comes now, a round is this long
        mark.since, mark.ticks, mark.outside = len(events), 0, False
        return True

    def _others(self, step: int, enabled: Sequence[Event]) -> list[Event]:
        """Who can do something that is no part of what was done again and again, on the highest level there is."""
        found: list[Event] = []
        for mark in self.marks:
            if mark.turned and (others := [event for event in enabled
                                           if event not in mark.turned and event.actor <= self.last]):
                mark.outside, found = True, others
        return found if step >= self.ended + self.rounds % self.length else []

    def _mark(self, level: int, events: Sequence[Event], following: Following, until: int) -> None:
        self.marks[level:level + 1] = [
            Mark(list(following), self.ram.whole(), list(self._all_stacks(following)), len(events), until,
                 self.marks[level - 1] if level else None)]

    def _same(self, mark: Mark) -> bool:
        return self.ram.same(mark.memory, self.mask) and all(
            one == other for one, other in zip(mark.stacks, self._all_stacks(mark.following), strict=True))

    def _all_stacks(self, following: Following) -> Iterator[int]:
        for cpu, event in enumerate(following):
            if event and cpu not in self.stacks:
                self.stacks[cpu] = self.ask(cpu)
            yield self.stacks.get(cpu, 0)


def told(machine: Machine, steps: Sequence[Event]) -> str:
    """Who goes round, and through which points."""
    points: dict[int, list[str]] = {}
    for event in steps:
        places = points.setdefault(event.line, [])
        if event.site and (name := point_name(event.site)) not in places:
            places.append(name)
    rounds = [f"cpu {cpu} ({machine.tasks[machine.cpus[cpu].current].comm}) goes round {', '.join(_turned(places))}"
              for cpu, places in sorted(points.items()) if places]
    return f"nobody gets on: {'; '.join(rounds)}; the same {len(steps)} steps again and again"


def _turned(places: list[str]) -> list[str]:
    """A round begins wherever one looks: here with the first by name."""
    first = places.index(min(places))
    return places[first:] + places[:first]
