"""The coordinator's hands: processes through the zygote, interrupts through the controller, doorbells."""

from __future__ import annotations

import contextlib
import os
import socket
from dataclasses import dataclass, field

from cpuemu.arch.apic import Apic
from cpuemu.coordinator.zygote import send
from cpuemu.core import Ram, now
from cpuemu.layout import Cpu, CpuState, Machine, Vector

PLATFORM_GENERATION = 1
ABANDON_NS = 100_000_000


@dataclass
class Hands:
    """What ``hotplug.Operation`` and the coordinator do to the world."""

    machine: Machine
    ram: Ram
    apic: Apic
    channel: socket.socket
    doorbells: list[int]
    alive: dict[int, int] = field(default_factory=dict)
    """CPU -> generation that its process was forked for (a parked process lives more than one)."""
    leaving: set[int] = field(default_factory=set)

    def start_process(self, cpu: int) -> None:
        generation = self._new_life(cpu)
        self.alive[cpu] = generation
        self.leaving.discard(cpu)
        with contextlib.suppress(OSError):  # the zygote died: its pidfd says so
            send(self.channel, {"start": [cpu, generation]})

    def wake_process(self, cpu: int) -> None:
        self._new_life(cpu)
        self.leaving.discard(cpu)
        self.ring(cpu)

    def _new_life(self, cpu: int) -> int:
        """Reset what the hardware of a dead CPU holds.  Context: no process runs this CPU, or it is parked."""
        words = self.machine.cpus[cpu]
        for vector in range(Vector.NR):
            words.pending[vector] = words.inservice[vector] = 0
        words.in_hand = words.hardirq = words.need_resched = words.user = words.lock_wait = 0
        words.timer_ns = 0
        words.irqs_off = 1
        generation = words.generation + 1
        words.generation = generation
        self.ram.xchg(words.addr(Cpu.state), CpuState.STARTING)
        return generation

    def platform_interrupt(self, cpu: int) -> None:
        # The coordinator always connects, so its frames leave at once, but for a CPU that has just been killed.
        end = now() + ABANDON_NS
        self.apic.send(cpu, Vector.PLATFORM, abandon=lambda: now() > end)

    def expect_exit(self, cpu: int) -> None:
        self.leaving.add(cpu)

    def process_gone(self, cpu: int) -> bool:
        return cpu not in self.alive

    def ring(self, cpu: int) -> None:
        os.eventfd_write(self.doorbells[cpu], 1)

    def ring_all(self) -> None:
        """Wake every CPU: a word was changed that anybody may wait for."""
        self.ram.fence()
        for cpu in range(self.machine.dims.cpus):
            self.ring(cpu)
