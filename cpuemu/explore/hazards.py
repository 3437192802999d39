"""Faults as decisions: what ``launch --fault`` injects by chance is injected where the schedule says so.

Each is an actor, numbered behind the coordinator (explore/actors.py), that can move where it could strike, as often as
the scenario allows, while somebody else can move: a machine that stands still is not helped on by a fault.

| fault            | can strike at                         | and then                                                 |
|------------------|---------------------------------------|----------------------------------------------------------|
| ipi-lost         | an interrupt that is pending          | it is never delivered; later ones coalesce with it       |
| ipi-doubled      | an interrupt that was taken, where    | its frame comes once more                                |
|                  | its CPU takes interrupts              |                                                          |
| cpu-death        | a CPU, wherever it stands             | its process is killed                                    |
| alloc-failure    | a CPU before an allocation            | the CPU goes on, and the allocation fails                |
| failing-notifier | a CPU before a notifier that may fail | the CPU goes on, and the notifier returns -ENOMEM        |

Late or overtaken is no fault here: when an interrupt is delivered is a decision of every schedule.  The coordinator's
own interrupt is a device's and is left alone, as in a free run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from cpuemu.arch.controlled import FAULT_SITES
from cpuemu.explore.actors import VECTORS, coordinator, fault_actor, fault_of
from cpuemu.explore.signature import CPU_DIED
from cpuemu.explore.strategies.base import Event
from cpuemu.faults import NOTIFIERS, Fault, name_of
from cpuemu.kernel.wait_graph import Edge
from cpuemu.kernel.wait_records import Node
from cpuemu.layout import Cpu, CpuState, Machine, Vector

ASKED_FOR = {Fault.ALLOC_FAILURE: 0, Fault.FAILING_NOTIFIER: (1 << len(NOTIFIERS)) - 1}
"""Faults that a CPU asks for, and their arguments in RAM."""


def write_plan(machine: Machine, faults: Mapping[str, int]) -> None:
    """Have the CPUs ask where they could fail.  Context: before power-on."""
    for fault, argument in ASKED_FOR.items():
        if name_of(fault) in faults:
            machine.faults[fault].rate, machine.faults[fault].argument = 1, argument


class Hazards:
    """The faults of one schedule.  ``left``: how often each may still strike."""

    def __init__(self, machine: Machine, faults: Mapping[str, int]) -> None:
        self.machine, self.left = machine, dict(faults)
        self.cpus: int = machine.dims.cpus
        self.lost: set[int] = set()
        """Tickets that are never delivered."""
        self.taken: dict[tuple[int, int], int] = {}
        """Of each CPU and vector, the ticket of the last that was delivered."""
        self.injected: list[str] = []

    def enabled(self, following: Sequence[Event | None], ready: Sequence[Event], opens: Sequence[bool]) -> list[Event]:
        """Where a fault could strike, by number.  ``following``: what each CPU does next, None for one that is done;
        ``ready``: who can move.
        """
        if not ready or not any(self.left.values()):
            return []
        able = {event.actor: event for event in ready if event.actor < self.cpus}
        found: list[Event] = []
        if self.left.get("ipi-lost"):
            found += [self._event("ipi-lost", cpu, vector, words.addr(Cpu.pending, vector))
                      for cpu, words in enumerate(self.machine.cpus) if following[cpu] and words.pending.whole()
                      for vector in VECTORS if vector != Vector.PLATFORM and words.pending[vector]
                      and words.pending[vector] >> 16 not in self.lost]
        if self.left.get("ipi-doubled"):
            found += [self._event("ipi-doubled", cpu, vector, self.machine.cpus[cpu].addr(Cpu.pending, vector), cpu)
                      for cpu, vector in sorted(self.taken) if following[cpu] and opens[cpu]]
        if self.left.get("cpu-death"):
            found += [self._event("cpu-death", cpu, host=cpu) for cpu, event in enumerate(following) if event]
        for fault in ASKED_FOR:
            if self.left.get(name_of(fault)):
                found += [self._event(name_of(fault), cpu, host=cpu) for cpu, event in able.items()
                          if event.site == FAULT_SITES[fault]]
        return found

    def _event(self, name: str, cpu: int, vector: int = 0, word: int = 0, host: int | None = None) -> Event:
        return Event(fault_actor(name, cpu, vector, self.cpus), word, bool(word), host=host)

    def is_one(self, actor: int) -> bool:
        return actor > coordinator(self.cpus)

    def strikes(self, actor: int) -> tuple[str, int, Vector]:
        """It is this one's turn: fault, CPU and vector."""
        name, cpu, vector = fault_of(actor, self.cpus)
        self.left[name] -= 1
        words = self.machine.cpus[cpu]
        self.injected.append(f"{name} ({VECTORS[Vector(vector)]} interrupt to cpu {cpu})" if name.startswith("ipi-")
                             else f"{name} (cpu {cpu})")
        if name == "ipi-lost":
            self.lost.add(words.pending[vector] >> 16)
            words.faults[Fault.IPI_LOST] = words.faults[Fault.IPI_LOST] + 1
        elif name == "ipi-doubled":
            words.faults[Fault.IPI_DOUBLED] = words.faults[Fault.IPI_DOUBLED] + 1
        return name, cpu, Vector(vector)

    def died(self, waits: Iterable[Edge]) -> str:
        """Of the CPUs whose processes were killed, as a finding; empty when none was."""
        dead = [cpu.index for cpu in self.machine.cpus if cpu.state == CpuState.DEAD]
        if not dead:
            return ""
        awaited = any(self._cpu(edge.waiter) not in dead for edge in waits)
        return (f"{CPU_DIED} the process of cpu {', '.join(map(str, dead))} died, "
                f"and {'it is waited for' if awaited else 'what it had to do was not done'}")

    def _cpu(self, waiter: Node) -> int:
        kind, number = waiter
        return int(self.machine.tasks[number].cpu) if kind == "task" else number

    def told(self) -> str:
        """What was injected, as a sentence of a message; empty when nothing was."""
        return f"injected: {', '.join(self.injected)}" if self.injected else ""
