"""Loose: recorded actors in their order, as far as they can; nothing of it is wrong, it is a wish.

Each decision goes to the first of the list who can move, and takes it off the list; who cannot keeps its place.  Where
nobody of the list can, it goes on without a preemption.  So a list from which something was taken out, or in which
something was moved, is a schedule again, whatever follows from the change.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from random import Random

from cpuemu.explore.strategies.base import Event
from cpuemu.explore.strategies.onward import Onward


class Loose:
    """``actors``: who should move at each step, also where there is nothing to decide."""

    name = "loose"

    def __init__(self, actors: Sequence[int]) -> None:
        self.actors = list(actors)

    def begin(self, actors: int, random: Random) -> None:
        self.left = self.actors[:]
        self.onward = Onward()
        self.onward.begin(actors, random)

    def choose(self, enabled: Sequence[Event]) -> Event:
        able = {event.actor: event for event in enabled}
        wanted = next((actor for actor in self.left if actor in able), None)
        return able[wanted] if wanted is not None else self.onward.choose(enabled)

    def executed(self, event: Event, enabled: Sequence[Event]) -> None:
        with suppress(ValueError):
            self.left.remove(event.actor)
        self.onward.executed(event, enabled)
