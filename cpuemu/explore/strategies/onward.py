"""Onward: whoever moved last goes on while it can; then the first CPU, then an interrupt, then the coordinator.

A schedule without a preemption, and without a draw: what is left when all that was chosen has been taken out.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from cpuemu.explore.strategies.base import Event


class Onward:
    """The schedule of fewest surprises."""

    name = "onward"

    def begin(self, actors: int, random: Random) -> None:
        self.last: int | None = None

    def choose(self, enabled: Sequence[Event]) -> Event:
        return next((event for event in enabled if event.actor == self.last), enabled[0])

    def executed(self, event: Event, enabled: Sequence[Event]) -> None:
        self.last = event.line
