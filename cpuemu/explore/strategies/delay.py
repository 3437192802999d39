"""Delay bounding: the default order, with at most c deviations drawn at random.

Emmi, Qadeer, Rakamaric: "Delay-bounded scheduling", POPL 2011.  The default goes on with whoever ran, and when that one
cannot, with the next by number.  A delay at a decision skips the default's candidate once.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from cpuemu.explore.strategies.base import Event


def default(enabled: Sequence[Event], last: int, skip: int = 0) -> Event:
    """Whom the default order chooses after ``last`` ran, ``skip`` candidates passed over."""
    order = sorted(enabled, key=lambda event: (event.actor < last, event.actor))
    return order[skip % len(order)]


class Delay:
    """``delays``: c.  ``decisions``: an upper bound of the decisions of a schedule, from which the delays are drawn."""

    def __init__(self, delays: int, decisions: int) -> None:
        self.name = f"delay:{delays}"
        self.delays, self.decisions = delays, decisions

    def begin(self, actors: int, random: Random) -> None:
        self.at = [random.randrange(self.decisions) for _ in range(self.delays)]
        self.decision, self.last = 0, 0

    def choose(self, enabled: Sequence[Event]) -> Event:
        event = default(enabled, self.last, self.at.count(self.decision))
        self.decision += 1
        return event

    def executed(self, event: Event, enabled: Sequence[Event]) -> None:
        self.last = event.actor
