"""The baton of controlled schedules: exactly one actor runs, from one point to the next, and everybody else blocks.

Invariant:     at most one actor is RUNNING; one that is at its point has declared the access that comes next, and the
               terms without which it cannot go on.
Writers:       an actor's record by the actor, but for ``state``: RUNNING is written by the conductor.
Steps:         ``step`` is a point.
Not modelled:  -

Both halves stand here; what they do at every point is compiled (core/baton.pxi).  The actor's: ``step`` (declare, hand
over, block), ``leave``.  The conductor's: ``ready``, ``let``.  Waiting is data: an actor whose terms do not hold is
simply not ready, so "nobody is ready" is a deadlock, known at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cpuemu.arch.cpu import Term
from cpuemu.arch.gate import Kind
from cpuemu.core import Ram, Turns
from cpuemu.layout import Actor, ActorState
from cpuemu.schema import Address, Array

LOOK_US = 500_000
"""How often a conductor that waits looks whether the actor that runs is still alive."""


class ActorDied(Exception):
    """An actor's process ended while it had the baton."""


class Baton:
    """``base``: where the actors' records lie in ``ram``; ``words``: where the words that they wait for lie.

    ``ram`` is mapped shared, before the actors' processes are forked.
    """

    def __init__(self, ram: Ram, base: int, actors: int, words: Ram | None = None) -> None:
        self.actors = Array(ram, Actor, base, actors)
        self._turns = Turns(ram, base, actors, words or ram)

    # --- the actor -----------------------------------------------------------------------------------------

    def step(self, actor: int, site: int, word: Address, kind: Kind, terms: Sequence[Term] = (), opens: bool = False,
             deadline_ns: int = 0) -> int:
        """Declare the access that comes next, give the baton away, and return when this actor is chosen.

        0, or the ticket of the interrupt that it is to take before the access.
        """
        return self._turns.step(actor, site, word, kind, terms, opens, deadline_ns)

    def leave(self, actor: int) -> None:
        """Done: the baton goes back for good."""
        self._turns.give_back(actor, ActorState.DONE)

    def wait(self, actor: int) -> int:
        """Block until the conductor gives this actor the baton; the ticket that comes with it."""
        return self._turns.wait(actor)

    def stand_by(self, actor: int) -> None:
        """The baton goes back, at the same point; it comes again to a copy of this process."""
        self._turns.give_back(actor, ActorState.POINT)

    # --- the conductor -------------------------------------------------------------------------------------

    def ready(self, now_ns: int = 0) -> list[int]:
        """Actors at a point that can go on: no terms, or one that holds, or their time has come; by number."""
        return self._turns.ready(now_ns)

    def raised(self, cpus: int) -> list[tuple[int, int, int]]:
        """Interrupts that could be taken here and now: CPU, vector, ticket.  Actors are the CPUs at ``cpus`` of RAM."""
        return self._turns.raised(cpus)

    def declared(self, actor: int) -> tuple[Address, int, int, bool] | None:
        """What an actor at its point does next: word, Kind, site, whether it waits; None when it is at none."""
        return self._turns.declared(actor)

    def opens(self, actor: int) -> bool:
        """Whether an actor is at a point where it takes interrupts."""
        return self._turns.opens(actor)

    def let(self, actor: int, alive: Callable[[int], bool], ticket: int = 0) -> None:
        """Give the baton to an actor and wait until it is back.  Raises ActorDied; ``alive`` is asked now and then."""
        if not self._turns.let(actor, ticket, LOOK_US):
            self.await_back(actor, alive)

    def ask(self, actor: int, question: int) -> bool:
        """Give the baton to an actor; whether it is back soon."""
        return self._turns.let(actor, question, LOOK_US)

    def grant(self, actor: int) -> None:
        """Give the baton to an actor whose process is still to be made."""
        self.actors[actor].state = ActorState.RUNNING

    def await_back(self, actor: int, alive: Callable[[int], bool]) -> None:
        """Until the baton is back.  As ``let`` else."""
        back = self._turns.back(actor, LOOK_US)
        while not back:
            if not alive(actor):
                raise ActorDied(f"actor {actor} died after its point {self.actors[actor].site}")
            back = self._turns.back(actor, LOOK_US)
