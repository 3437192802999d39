"""A system call that does not give its CPU away (Linux: lib/test_lockup.c, a module for tests).

Invariant:     without ``--fault lockup`` nothing of this runs.
Writers:       ``struck`` of its plan by the one CPU that wins its compare-and-swap.
Steps:         one after the other until the time is over: interrupts are taken, and preemption comes as it may.
Not modelled:  its other ways to be in the way: locks, interrupts off, memory.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from cpuemu.faults import Fault
from cpuemu.layout import FaultPlan
from cpuemu.sites import site

if TYPE_CHECKING:
    from cpuemu.arch.cpu import Cpu

P_LOCKUP = site("test_lockup")
STEP_S = 0.0005
"""Between two points: a delay that does not take the host's core from the other CPUs."""


def test_lockup(cpu: Cpu) -> None:
    """The first time that a CPU goes offline, be busy for as long as the plan says.  Context: inside a system call."""
    faults, hotplug = cpu.faults, cpu.machine.hotplug
    if faults is None or Fault.LOCKUP not in faults.rates or not hotplug.busy or hotplug.up:
        return
    plan = cpu.machine.faults[Fault.LOCKUP]
    if cpu.number == cpu.machine.tasks[hotplug.control_task].cpu or plan.struck:
        return
    if not cpu.ram.cmpxchg(plan.addr(FaultPlan.struck), 0, cpu.number + 1):
        return  # another CPU has just begun
    microseconds = faults.arguments[Fault.LOCKUP]
    if faults.strike(Fault.LOCKUP, cpu.number, 0, min(microseconds, 0xFFFF_FFFF)):
        end = cpu.now() + microseconds * 1000
        while cpu.now() < end:
            cpu.point(P_LOCKUP)
            time.sleep(STEP_S)
