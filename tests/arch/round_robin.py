"""A controlled gate, as small as it can be: one actor at a time, the next one in turn at every point, virtual time.

It stands for the conductor of a later release and proves the gate's promise: kernel, scheduler and interrupts run under
it unchanged, and the same run twice leaves the same trace.
"""

from __future__ import annotations

import mmap
import os
import select
import struct
import zlib
from typing import TYPE_CHECKING

from cpuemu.arch.cpu import PowerOff
from cpuemu.arch.gate import FreeGate, Kind
from cpuemu.sites import NAMES

if TYPE_CHECKING:
    from cpuemu.arch.cpu import Cpu

HASH, STEPS, ACTORS = 0, 8, 16
"""Places in the shared page: hash of the trace, number of steps, one byte an actor (1: takes part)."""
LIMIT = 200_000


class Rotation:
    """The baton: an eventfd an actor.  Who holds it runs; everybody else blocks."""

    def __init__(self, actors: int) -> None:
        self.actors = actors
        self.page = mmap.mmap(-1, 4096)
        self.turn = [os.eventfd(0) for _ in range(actors)]

    def join(self, actor: int) -> None:
        self.page[ACTORS + actor] = 1

    def leave(self, actor: int) -> None:
        """For good: the baton goes on and does not come back."""
        self.page[ACTORS + actor] = 0
        self._pass(actor)

    def step(self, actor: int, what: str) -> None:
        """One step of the trace, then everybody else's turn, then ours again."""
        crc, steps = struct.unpack_from("<QQ", self.page, 0)
        if steps > LIMIT:
            raise PowerOff  # nobody gets anywhere
        struct.pack_into("<QQ", self.page, 0, zlib.crc32(f"{actor} {what}".encode(), crc), steps + 1)
        self._pass(actor)
        self.wait(actor)

    def wait(self, actor: int) -> None:
        os.eventfd_read(self.turn[actor])

    def _pass(self, actor: int) -> None:
        others = (number % self.actors for number in range(actor + 1, actor + 1 + self.actors))
        following = next((number for number in others if self.page[ACTORS + number]), None)
        if following is not None:
            os.eventfd_write(self.turn[following], 1)

    def steps(self) -> int:
        return int(struct.unpack_from("<Q", self.page, STEPS)[0])

    def trace(self) -> tuple[int, int]:
        """Hash and number of steps."""
        crc, steps = struct.unpack_from("<QQ", self.page, 0)
        return crc, steps


class RoundRobin(FreeGate):
    """The gate's six methods over a rotation."""

    batch = 1

    def __init__(self, rotation: Rotation) -> None:
        self.rotation = rotation

    def point(self, cpu: Cpu, site: int, word: int, kind: Kind) -> None:
        self.rotation.step(cpu.number, f"{NAMES[site]} {word:#x} {kind.name}")
        cpu.core.point(site, word)
        self._attend(cpu)

    def wait(self, cpu: Cpu, task: int) -> None:
        while not cpu.core.terms_hold(task):
            self.rotation.step(cpu.number, "wait")
            self._attend(cpu)

    def idle(self, cpu: Cpu) -> None:
        self.rotation.step(cpu.number, "idle")
        self._attend(cpu)

    def lock(self, cpu: Cpu, lock: int, site: int) -> bool:
        taken = cpu.core.spin_trylock(lock, site)
        if not taken:
            self.rotation.step(cpu.number, f"lock {lock}")
        return taken

    def now(self, cpu: Cpu) -> int:
        return 1_000 * self.rotation.steps()

    def _attend(self, cpu: Cpu) -> None:
        """Take what was raised: the decision names the ticket, so its frame is waited for, however long it travels."""
        if cpu.off():
            raise PowerOff
        me = cpu.me
        if me.irqs_off or me.hardirq:
            return
        poller = select.poll()
        poller.register(cpu.apic.fd, select.POLLIN)
        while any(pending and pending >> 16 not in cpu.apic.in_hand for pending in me.pending):
            cpu.apic.collect()
            poller.poll(1)
        cpu.take_interrupts()
        if cpu.timer_due():
            cpu.traps.timer(cpu)
        if me.need_resched:
            cpu.traps.preempt(cpu)
