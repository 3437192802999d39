"""What a strategy is asked: at every decision, which of the enabled actors moves.

Every event is known before it runs: an actor at a point has declared the word that it accesses next, and whether it
writes.  Strategies draw from the generator that they are given and from nothing else, and look at actors in the order
of their numbers: the same seed gives the same schedule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol


@dataclass(frozen=True)
class Event:
    """What an actor does from its point to the next one.

    ``word``: the object that it accesses, 0 for none.  ``lock``: it takes a lock or gives it back (a write, too).
    """

    actor: int
    word: int
    write: bool
    site: int = 0
    lock: bool = False

    def conflicts(self, other: Event) -> bool:
        """Whether the order of the two can matter: one object, and one of them writes it."""
        return self.actor != other.actor and self.word == other.word != 0 and (self.write or other.write)


class Strategy(Protocol):
    """Chooses schedules one after the other."""

    name: str

    def begin(self, actors: int, random: Random) -> None:
        """A new schedule of so many actors; all draws come from ``random``."""

    def choose(self, enabled: Sequence[Event]) -> Event:
        """Who moves: one of ``enabled``, which are two or more, in the order of their actors."""

    def executed(self, event: Event, enabled: Sequence[Event]) -> None:
        """``event`` ran, chosen among ``enabled`` (itself included), or because it was the only one."""
