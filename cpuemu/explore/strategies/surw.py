"""URW and SURW: each actor weighed by the events that it still has, so that interleavings come out nearly uniform.

Zhao, Wolff, Mathur, Roychoudhury: "Selectively uniform concurrency testing", ASPLOS 2025.  SURW makes only the order of
*interesting* events uniform, those of one word that is drawn for each schedule by how often it is accessed; which words
are candidates carries most of the effect: only those that two actors or more touch.

Both need a profile: the most events that each actor had on each word in any of some earlier runs.  A lock is no
candidate: its order follows from who comes first to the word that it guards.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from cpuemu.explore.strategies.base import Event


@dataclass(frozen=True)
class Profile:
    """``counts``: by (actor, word).  ``locks``: words that are locks."""

    counts: Mapping[tuple[int, int], int]
    locks: frozenset[int]


def profile_of(runs: Iterable[Sequence[Event]]) -> Profile:
    """What some runs did: more runs see more of the branches."""
    counts: Counter[tuple[int, int]] = Counter()
    locks: set[int] = set()
    for events in runs:
        counts |= Counter((event.actor, event.word) for event in events)
        locks |= {event.word for event in events if event.lock}
    return Profile(counts, frozenset(locks))


class Urw:
    """All events are interesting."""

    name = "urw"

    def __init__(self, profile: Profile) -> None:
        self.profile = profile

    def begin(self, actors: int, random: Random) -> None:
        self.random = random
        self.weight = [max(1, sum(count for (who, _), count in self.profile.counts.items() if who == actor))
                       for actor in range(actors)]

    def choose(self, enabled: Sequence[Event]) -> Event:
        return self.random.choices(enabled, [self.weight[event.actor] for event in enabled])[0]

    def executed(self, event: Event, enabled: Sequence[Event]) -> None:
        self.weight[event.actor] = max(self.weight[event.actor] - 1, 1)


class Surw:
    """The interesting events are those of one shared word, drawn anew for each schedule: ``chosen``."""

    name = "surw"

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        touched: dict[int, set[int]] = {}
        for actor, word in profile.counts:
            if word and word not in profile.locks:
                touched.setdefault(word, set()).add(actor)
        self.shared = {word: sum(profile.counts[actor, word] for actor in actors)
                       for word, actors in sorted(touched.items()) if len(actors) > 1}

    def begin(self, actors: int, random: Random) -> None:
        self.random = random
        self.chosen = random.choices(list(self.shared), list(self.shared.values()))[0] if self.shared else 0
        self.weight = [self.profile.counts.get((actor, self.chosen), 0) for actor in range(actors)]
        self.held: set[int] = set()
        self.intended: int | None = None
        self.priority: dict[int, float] = {}

    def choose(self, enabled: Sequence[Event]) -> Event:
        while True:
            free = [event for event in enabled if event.actor not in self.held]
            if not free:
                self.held.clear()
                self.intended = None
                continue
            event = self._fallback(free)
            if event.word != self.chosen:
                return event
            if self.intended is None:
                self.intended = self._draw(free)
            if event.actor == self.intended:
                return event
            self.held.add(event.actor)

    def _fallback(self, free: Sequence[Event]) -> Event:
        """A fresh random priority an event."""
        for event in free:
            if event.actor not in self.priority:
                self.priority[event.actor] = self.random.random()
        return max(free, key=lambda event: self.priority[event.actor])

    def _draw(self, free: Sequence[Event]) -> int:
        weights = [self.weight[event.actor] for event in free]
        if not any(weights):  # more events than the profile knows of
            weights = [1] * len(free)
        return self.random.choices([event.actor for event in free], weights)[0]

    def executed(self, event: Event, enabled: Sequence[Event]) -> None:
        self.priority.pop(event.actor, None)
        if event.word == self.chosen:
            self.weight[event.actor] = max(self.weight[event.actor] - 1, 0)
            self.intended = None
            self.held.clear()
