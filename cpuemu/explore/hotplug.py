"""The coordinator as an actor of a schedule: one row of a hotplug request's walk is one step.

Invariant:     one request at a time, in the scenario's order; the next can begin whenever the strategy says so.
Writers:       as coordinator/hotplug.py, whose rows these are.
Steps:         each is declared as a write of ``Hotplug.request``, the word that the control task waits for.
Not modelled:  a process that dies.

An offline CPU's process is parked.  One that keeps tasks then goes on as the CPU that they were moved to, under the
baton of that CPU; should its own CPU come back meanwhile, it runs in a spare process: they were forked before there
was a ZeroMQ context, and a pipe tells them who they are.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import count

from cpuemu.arch.lending import keeps
from cpuemu.coordinator.hands import new_life
from cpuemu.coordinator.hotplug import Operation
from cpuemu.core import Ram
from cpuemu.explore.strategies.base import Event
from cpuemu.layout import Hotplug, Machine, Process, ProcessState
from cpuemu.sites import site

P_ROW = site("coordinator:row")
LOOK_S, PATIENCE_S = 0.0005, 30.0


class ParkedHands:
    """What the coordinator of a schedule does to processes and to the interrupt controller.

    ``interrupt`` raises the platform vector; ``copy_spare`` makes a process for a CPU, an entry of RAM, and a
    generation; ``let`` gives the baton to a CPU and waits for it.
    """

    def __init__(self, ram: Ram, machine: Machine, interrupt: Callable[[int], None],
                 copy_spare: Callable[[int, int, int], None], let: Callable[[int], None]) -> None:
        self.ram, self.machine, self.interrupt, self.copy_spare, self.let = ram, machine, interrupt, copy_spare, let
        self.spares = count(machine.dims.cpus)
        """Entries that no process has had."""

    def start_process(self, cpu: int) -> None:
        words = self.machine.cpus[cpu]
        last = self.machine.processes[words.process]
        if last.state == ProcessState.KEPT and not keeps(self.machine, last.index):
            self._await_parked(last)
        if last.state == ProcessState.PARKED:
            last.generation = new_life(self.ram, self.machine, cpu, last.index)
            last.state = ProcessState.RUNNING
        else:
            self.ram.cmpxchg(last.addr(Process.state), ProcessState.KEPT, ProcessState.ABANDONED)
            spare = self.machine.processes[next(self.spares)]
            spare.cpu, spare.state = cpu, ProcessState.RUNNING
            spare.generation = new_life(self.ram, self.machine, cpu, spare.index)
            self.copy_spare(cpu, spare.index, spare.generation)
        self.let(cpu)

    def _await_parked(self, process: Process) -> None:
        """Its last task is out, which a schedule decides; that it says so is a matter of the host."""
        end = time.monotonic() + PATIENCE_S
        while process.state == ProcessState.KEPT:
            assert time.monotonic() < end, f"process {process.index} keeps no task and does not say so"
            time.sleep(LOOK_S)

    def platform_interrupt(self, cpu: int) -> None:
        self.interrupt(cpu)

    def expect_exit(self, cpu: int) -> None:
        pass

    def process_gone(self, cpu: int) -> bool:
        return True


class Requests:
    """A scenario's hotplug requests, walked one after the other."""

    def __init__(self, machine: Machine, hands: ParkedHands, requests: Sequence[tuple[int, bool]], actor: int) -> None:
        self.machine, self.hands, self.requests = machine, hands, requests
        self.results: list[int] = []
        """Of those that are over: 0, or the errno of the row that failed, negative."""
        self.steps = 0
        self._operation: Operation | None = None
        self._event = Event(actor, machine.hotplug.addr(Hotplug.request), True, P_ROW)

    @property
    def over(self) -> bool:
        return len(self.results) == len(self.requests)

    @property
    def next(self) -> Event | None:
        """What it does next, now or once a row has ended; None: nothing more is asked."""
        return None if self.over else self._event

    def ready(self) -> bool:
        return not self.over and (self._operation is None or self._operation.ready())

    def step(self, now_ns: int) -> None:
        """End a row and begin the next one.  Context: ready."""
        self.steps += 1
        if self._operation is None:
            cpu, up = self.requests[len(self.results)]
            self._operation = Operation(self.machine, self.hands, cpu, up)
        if self._operation.go_on(now_ns):
            self.results.append(self._operation.result)
            self._operation = None

    def place(self) -> tuple[int, ...]:
        """How far the walk is."""
        asked = self._operation
        return (len(self.results), *((*asked.place(), asked.result) if asked else ()))

    def under_way(self) -> str:
        """In words, empty when nothing is."""
        asked = self._operation
        return f"{'online' if asked.up else 'offline'} of cpu {asked.cpu}: {asked.row_name}" if asked else ""


