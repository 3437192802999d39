"""What a strategy is asked: at every decision, which of the enabled actors moves.

Every event is known before it runs: an actor at a point has declared the word that it accesses next, and whether it
writes.  Strategies draw from the generator that they are given and from nothing else, and look at actors in the order
of their numbers: the same seed gives the same schedule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True)
class Event:
    """What an actor does from its point to the next one.

    ``word``: the object that it accesses, 0 for none.  ``lock``: it takes a lock or gives it back (a write, too).
    ``waits``: it can go on only while something holds; a lock is taken so, and given back without.
    ``host``: the actor on which it runs, if that is another one: a delivery runs on its CPU.
    """

    actor: int
    word: int
    write: bool
    site: int = 0
    lock: bool = False
    waits: bool = False
    host: int | None = None

    @property
    def line(self) -> int:
        """Whose steps it is one of: those of one line are in order."""
        return self.actor if self.host is None else self.host

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


@runtime_checkable
class Search(Strategy, Protocol):
    """A strategy of an exhaustive search: it is told how its schedule went, and says what is left to do."""

    def end(self, events: Sequence[Event], pending: Sequence[Sequence[Event]]) -> None:
        """The steps of the schedule, and before each of them, and at its end, what every actor does next."""

    def told(self) -> Any:
        """What whoever goes on with the search has to know: plain data."""


@runtime_checkable
class Stateful(Search, Protocol):
    """A search that ends a schedule where it comes to a state that is known."""

    beyond: bool
    """Whether it wants to know the state before the next step."""

    def knows(self, state: bytes, enabled: Sequence[Event]) -> bool:
        """Whether the schedule ends in this one, in which so many can move."""
