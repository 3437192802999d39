"""Programs on the gate alone: words, locks and waits, one process an actor; no machine, no tasks, no timers.

What published figures for schedulers are about.  Each access is one event: declared, decided, then done.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from cpuemu.arch.baton import Baton
from cpuemu.arch.cpu import Term
from cpuemu.arch.gate import Kind
from cpuemu.core import Ram
from cpuemu.layout import Actor, Op
from cpuemu.schema import Address, View, array, text, u32

WORDS = 64
T = TypeVar("T")


class Board(View, align=64):
    """What the actors of a stage share."""

    words = array("i64", WORDS, "the actors", "the program's words; a lock is one of them, 0 when free")
    over = u32("the conductor", "1: the schedule is over, whoever gets the baton leaves")
    failed = u32("the actor that failed", "1 + its number")
    message = text(128, "the actor that failed", "what it found")


class Failure(Exception):
    """An actor found what must not be: the schedule ends here."""


class Over(BaseException):
    """The schedule is over: the actor's program ends where it stands."""


@dataclass(frozen=True)
class Program:
    """Actors in the order of their numbers, and what all of them must have left behind (None: nothing more)."""

    name: str
    actors: Sequence[Callable[[Stage], None]]
    initial: Sequence[int] = ()
    check: Callable[[Board], str] | None = None


def size_of(actors: int) -> int:
    """Bytes of a stage."""
    return Board.SIZE + actors * Actor.SIZE


class Stage:
    """One actor's view: every method is one event."""

    def __init__(self, baton: Baton, ram: Ram, actor: int) -> None:
        self.baton, self.actor = baton, actor
        self.board = Board(ram, 0)

    def word(self, number: int) -> Address:
        return self.board.addr(Board.words, number)

    def event(self, number: int, kind: Kind, action: Callable[[], T], *terms: Term) -> T:
        """``action`` on a word, as one event that is chosen only when a term holds."""
        self.baton.step(self.actor, 0, self.word(number), kind, terms)
        if self.board.over:
            raise Over
        return action()

    def read(self, number: int) -> int:
        return self.event(number, Kind.READ, lambda: self.board.words[number])

    def write(self, number: int, value: int) -> None:
        self.event(number, Kind.WRITE, lambda: self._store(number, value))

    def lock(self, number: int) -> None:
        """Disabled while somebody else holds it."""
        self.event(number, Kind.LOCK, lambda: self._store(number, 1 + self.actor), Term(self.word(number), Op.EQ, 0))

    def unlock(self, number: int) -> None:
        self.event(number, Kind.LOCK, lambda: self._store(number, 0))

    def wait_until(self, number: int, op: Op, value: int) -> int:
        """Disabled until ``word op value`` holds; chosen, it reads the word again."""
        return self.event(number, Kind.READ, lambda: self.board.words[number], Term(self.word(number), op, value))

    def _store(self, number: int, value: int) -> None:
        self.board.words[number] = value
