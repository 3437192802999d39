"""Faults on purpose, as one CPU meets them: whether this occasion is one, by the CPU's own random stream.

Invariant:     without ``--fault`` nothing of this exists on a CPU (``Cpu.faults`` and ``Apic.wire`` are None); with it,
               nothing strikes before the workload runs: a machine always boots.
Writers:       the CPU its own stream and counts; the plan is the launcher's.
Steps:         none.
Not modelled:  faults of memory; of the coordinator's own interrupt (a device's, not one between processors).
"""

from __future__ import annotations

import os
import signal

from cpuemu.core import Core
from cpuemu.events import Event
from cpuemu.faults import CERTAIN, Fault
from cpuemu.layout import FIRST_ZONE_LOCK, Machine, lock_class

MASK = (1 << 64) - 1


class Faults:
    """The faults of one CPU."""

    def __init__(self, machine: Machine, core: Core, number: int) -> None:
        self.machine, self.core, self.me = machine, core, machine.cpus[number]
        plans = {fault: machine.faults[fault] for fault in range(Fault.NR)}
        self.rates = {fault: plan.rate for fault, plan in plans.items() if plan.rate}
        self.arguments = {fault: plan.argument for fault, plan in plans.items()}

    def become(self, number: int) -> None:
        """This process runs another CPU from now on."""
        self.me = self.machine.cpus[number]

    def strike(self, fault: Fault, target: int = 0, detail: int = 0, microseconds: int = 0) -> bool:
        """Whether this occasion is one; it is then counted and traced, so whoever asks must do it."""
        rate = self.rates.get(fault, 0)
        if not rate or not self.machine.header.go or self.below(CERTAIN) >= rate:
            return False
        self.record(fault, target, detail, microseconds)
        return True

    def record(self, fault: Fault, target: int = 0, detail: int = 0, microseconds: int = 0) -> None:
        """Count and trace one that is being injected."""
        self.me.faults[fault] = self.me.faults[fault] + 1
        self.core.trace(Event.CPUEMU_FAULT, fault, target, detail, microseconds)

    def kill_holder(self, lock: int) -> None:
        """With a zone's lock in its hands, this process may end here."""
        if lock_class(lock, self.machine.dims.zones) == FIRST_ZONE_LOCK and self.strike(Fault.KILLED_HOLDER, lock):
            os.kill(os.getpid(), signal.SIGKILL)

    def below(self, limit: int) -> int:
        """A number from 0 to ``limit`` - 1, of this CPU's stream (splitmix64)."""
        state = self.me.fault_rng = self.me.fault_rng + 0x9E3779B97F4A7C15 & MASK
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & MASK
        state = (state ^ state >> 27) * 0x94D049BB133111EB & MASK
        return (state ^ state >> 31) % limit


def injected(machine: Machine, core: Core, number: int) -> Faults | None:
    """What a CPU is given at power-on: None on a machine that nothing is done to."""
    faults = Faults(machine, core, number)
    return faults if faults.rates else None
