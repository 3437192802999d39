"""The coordinator's hands: processes through the zygote, interrupts through the controller, doorbells."""

from __future__ import annotations

import contextlib
import os
import socket
from dataclasses import dataclass, field

from cpuemu.arch.apic import Apic
from cpuemu.arch.lending import bell_of, ring
from cpuemu.coordinator.zygote import send
from cpuemu.core import Ram, now
from cpuemu.layout import Cpu, CpuState, Machine, Process, ProcessState, Vector

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
    """Process (its entry in RAM) -> the CPU that it was forked for."""
    leaving: set[int] = field(default_factory=set)
    """Processes that may leave."""

    def start_process(self, cpu: int) -> None:
        """The CPU's next life: in its parked process, or in a new one beside a process that keeps tasks."""
        words = self.machine.cpus[cpu]
        last = self.machine.processes[words.process]
        if words.state == CpuState.PARKED:
            # It keeps tasks, or has just let the last one go: this settles whether it still is there for us.
            self.ram.cmpxchg(last.addr(Process.state), ProcessState.KEPT, ProcessState.ABANDONED)
            if last.state == ProcessState.PARKED:
                self._wake(last)
                return
        self._fork(cpu)

    def _wake(self, process: Process) -> None:
        process.generation = new_life(self.ram, self.machine, process.cpu, process.index)
        self.leaving.discard(process.index)
        self.ram.xchg(process.addr(Process.state), ProcessState.RUNNING)
        ring(self.machine, self.doorbells, process.index)

    def _fork(self, cpu: int) -> None:
        entry = self._free_entry()
        assert entry is not None, "no operation is begun without room"
        process = self.machine.processes[entry]
        process.cpu, process.pid, process.state = cpu, 0, ProcessState.RUNNING
        process.generation = new_life(self.ram, self.machine, cpu, entry)
        self.alive[entry] = cpu
        self.leaving.discard(entry)
        with contextlib.suppress(OSError):  # the zygote died: its pidfd says so
            send(self.channel, {"start": [cpu, process.generation, entry]})

    def room(self) -> bool:
        """Whether one more process can be started."""
        return self._free_entry() is not None

    def _free_entry(self) -> int | None:
        return next((entry for entry in range(len(self.machine.processes)) if entry not in self.alive), None)

    def reaped(self, entry: int, status: int) -> None:
        """A process has ended: its entry is free."""
        self.alive.pop(entry, None)
        process = self.machine.processes[entry]
        words = self.machine.cpus[process.cpu]
        words.exit_status = status
        if words.process == entry and words.state == CpuState.PARKED and process.state == ProcessState.GONE:
            words.state = CpuState.GONE  # it had kept tasks, and they are out

    def platform_interrupt(self, cpu: int) -> None:
        # The coordinator always connects, so its frames leave at once, but for a CPU that has just been killed.
        end = now() + ABANDON_NS
        self.apic.send(cpu, Vector.PLATFORM, abandon=lambda: now() > end)

    def expect_exit(self, cpu: int) -> None:
        self.leaving.add(self.machine.cpus[cpu].process)

    def process_gone(self, cpu: int) -> bool:
        return self.machine.cpus[cpu].process not in self.alive

    def ring(self, cpu: int) -> None:
        os.eventfd_write(self.doorbells[cpu], 1)

    def ring_all(self) -> None:
        """Wake every CPU and every process: a word was changed that anybody may wait for."""
        self.ram.fence()
        for cpu in range(self.machine.dims.cpus):
            self.ring(cpu)
        for process in self.alive:
            os.eventfd_write(self.doorbells[bell_of(self.machine, process)], 1)


def new_life(ram: Ram, machine: Machine, cpu: int, process: int) -> int:
    """Reset what the hardware of a dead CPU holds; the number of its next life.

    Context: no process runs this CPU, or it is parked.
    """
    words = machine.cpus[cpu]
    for vector in range(Vector.NR):
        words.pending[vector] = words.inservice[vector] = 0
    words.in_hand = words.hardirq = words.need_resched = words.user = words.lock_wait = 0
    words.timer_ns = 0
    words.irqs_off = 1
    words.process = words.runner = process
    generation = words.generation + 1
    words.generation = generation
    ram.xchg(words.addr(Cpu.state), CpuState.STARTING)
    return generation
