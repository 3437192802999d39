"""The wire between two interrupt controllers, where it is not what it should be: frames lost, doubled, late, unheard.

Invariant:     a pending word is never touched here: an interrupt that is raised stays raised, whatever becomes of its
               frame.
Writers:       none of RAM but the counts of faults.
Steps:         none.
Not modelled:  frames whose content changes.

A frame is lost or doubled where it is sent; it is late, or not heard, where it arrives.
"""

from __future__ import annotations

import heapq

from cpuemu.arch.faults import Faults
from cpuemu.core import now
from cpuemu.faults import Fault
from cpuemu.layout import Vector


class Wire:
    """One controller's end of the wire.  Frames of the platform vector are left alone, but for a deaf CPU's."""

    def __init__(self, faults: Faults, number: int) -> None:
        self.faults, self.number = faults, number
        self.deaf = False
        self._late: list[tuple[int, int, int, int]] = []
        """(when it is presented, ticket, vector, source), as a heap."""

    def copies(self, target: int, vector: Vector) -> int:
        """How often a frame is sent."""
        if vector == Vector.PLATFORM:
            return 1
        if self.faults.strike(Fault.IPI_LOST, target, vector):
            return 0
        return 2 if self.faults.strike(Fault.IPI_DOUBLED, target, vector) else 1

    def hears(self, ticket: int, vector: int, source: int) -> bool:
        """Whether a frame that has come is in hand at once; False: later (``due``), or never."""
        if not self.deaf and self.faults.arguments[Fault.DEAF_CPU] == self.number:
            self.deaf = self.faults.strike(Fault.DEAF_CPU, self.number, vector)
        if self.deaf:
            return False
        if vector == Vector.PLATFORM:
            return True
        most = self.faults.arguments[Fault.IPI_LATE]
        late_us = 1 + self.faults.below(most) if most else 0
        if not late_us or not self.faults.strike(Fault.IPI_LATE, self.number, vector, late_us):
            return True
        heapq.heappush(self._late, (now() + late_us * 1000, ticket, vector, source))
        return False

    def due(self) -> dict[int, tuple[int, int]]:
        """Late frames whose time has come: ticket to (vector, source)."""
        ready: dict[int, tuple[int, int]] = {}
        while self._late and self._late[0][0] <= now():
            _, ticket, vector, source = heapq.heappop(self._late)
            ready[ticket] = vector, source
        return ready

    def next_ns(self) -> int:
        """When the next late frame is due, 0: none is."""
        return self._late[0][0] if self._late else 0
