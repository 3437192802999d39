"""The baton of controlled schedules: exactly one actor runs, from one point to the next, and everybody else blocks.

Invariant:     at most one actor is RUNNING; one that is at its point has declared the access that comes next, and the
               terms without which it cannot go on.
Writers:       an actor's record by the actor, but for ``state``: RUNNING is written by the conductor.
Steps:         ``step`` is a point.
Not modelled:  -

Both halves stand here.  The actor's: ``step`` (declare, hand over, block), ``leave``.  The conductor's: ``settled``,
``ready``, ``let``.  Waiting is data: an actor whose terms do not hold is simply not ready, so "nobody is ready" is a
deadlock, known at once.
"""

from __future__ import annotations

import enum
import os
import select
from collections.abc import Callable, Sequence

from cpuemu.arch.cpu import Term
from cpuemu.arch.gate import Kind
from cpuemu.core import Ram
from cpuemu.layout import WAIT_TERMS
from cpuemu.schema import Address, Array, View, array, u32, u64

LOOK_MS = 500
"""How often a conductor that waits looks whether the actor that runs is still alive."""


class ActorState(enum.IntEnum):
    ABSENT = 0
    POINT = 1
    RUNNING = 2
    DONE = 3


class Actor(View, align=64):
    """What an actor does next."""

    state = u32("the actor; RUNNING: the conductor", "ActorState")
    kind = u32("the actor", "gate.Kind of the access")
    site = u32("the actor", "where it stands")
    nterms = u32("the actor", "terms of its wait: one must hold, 0: it can go on")
    word = u64("the actor", "address of the access")
    deadline_ns = u64("the actor", "virtual time from which it can go on without its terms, 0: never")
    opens = u32("the actor", "1: it takes interrupts at this point")
    ticket = u64("the conductor", "0: the access; else the interrupt that is to be taken first")
    term_word = array("u64", WAIT_TERMS, "the actor", "address of each term's word")
    term_op = array("u64", WAIT_TERMS, "the actor", "Op of each term")
    term_value = array("u64", WAIT_TERMS, "the actor", "value of each term")


class ActorDied(Exception):
    """An actor's process ended while it had the baton."""


class Baton:
    """``base``: where the actors' records lie in ``ram``; ``words``: where the words that they wait for lie.

    Made before the actors' processes are forked.
    """

    def __init__(self, ram: Ram, base: int, actors: int, words: Ram | None = None) -> None:
        self.words = words or ram
        self.actors = Array(ram, Actor, base, actors)
        self.turns = [os.eventfd(0, os.EFD_CLOEXEC) for _ in range(actors)]
        self.bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poller = select.poll()
        self._poller.register(self.bell, select.POLLIN)

    def close(self) -> None:
        for descriptor in (*self.turns, self.bell):
            os.close(descriptor)

    # --- the actor -----------------------------------------------------------------------------------------

    def step(self, actor: int, site: int, word: Address, kind: Kind, terms: Sequence[Term] = (), opens: bool = False,
             deadline_ns: int = 0) -> int:
        """Declare the access that comes next, give the baton away, and return when this actor is chosen.

        0, or the ticket of the interrupt that it is to take before the access.
        """
        mine = self.actors[actor]
        mine.site, mine.word, mine.kind = site, word, kind
        mine.opens, mine.deadline_ns = opens, deadline_ns
        for number, term in enumerate(terms):
            mine.term_word[number], mine.term_op[number] = term.word, term.op
            mine.term_value[number] = term.value
        mine.nterms = len(terms)
        mine.state = ActorState.POINT
        os.eventfd_write(self.bell, 1)
        self.wait(actor)
        return mine.ticket

    def leave(self, actor: int) -> None:
        """Done: the baton goes back for good."""
        self.actors[actor].state = ActorState.DONE
        os.eventfd_write(self.bell, 1)

    def wait(self, actor: int) -> None:
        """Block until the conductor gives this actor the baton."""
        os.eventfd_read(self.turns[actor])

    # --- the conductor -------------------------------------------------------------------------------------

    def ready(self, now_ns: int = 0) -> list[Actor]:
        """Actors at a point that can go on, in the order of their numbers."""
        return [each for each in self.actors if each.state == ActorState.POINT and self._holds(each, now_ns)]

    def _holds(self, actor: Actor, now_ns: int) -> bool:
        if actor.deadline_ns and actor.deadline_ns <= now_ns:
            return True
        return not (actor.nterms or actor.deadline_ns) or any(
            self.words.holds(actor.term_word[number], actor.term_op[number], actor.term_value[number])
            for number in range(actor.nterms))

    def let(self, actor: int, alive: Callable[[int], bool], ticket: int = 0) -> None:
        """Give the baton to an actor and wait until it is back.  Raises ActorDied; ``alive`` is asked now and then."""
        record = self.actors[actor]
        record.ticket = ticket
        record.state = ActorState.RUNNING
        os.eventfd_write(self.turns[actor], 1)
        while not self._poller.poll(LOOK_MS):
            if not alive(actor):
                raise ActorDied(f"actor {actor} died after its point {record.site}")
        os.eventfd_read(self.bell)
