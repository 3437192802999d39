"""The interrupt table: what a vector, and the timer, mean to the kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cpuemu.kernel import oracles
from cpuemu.kernel.bug import WARN_ON_ONCE
from cpuemu.kernel.kgdb import do_nmi
from cpuemu.kernel.sched import run_timers, scheduler_ipi, wake_ready
from cpuemu.kernel.smp import generic_smp_call_function_interrupt, generic_smp_call_function_single_interrupt
from cpuemu.kernel.vmstat import run_vmstat_timer
from cpuemu.layout import Vector

if TYPE_CHECKING:
    from cpuemu.arch.cpu import Cpu


def interrupt(cpu: Cpu, vector: Vector, source: int) -> None:
    """Run a vector's handler.  Context: interrupts off, hardirq counted."""
    life = cpu.apic.life_taken
    if life != cpu.me.generation & 0xFFFF:
        WARN_ON_ONCE(cpu, True, oracles.STALE_FRAME, f"an interrupt is taken that was sent to life {life} of cpu "
                     f"{cpu.number}, which is in its life {cpu.me.generation}")
    if vector == Vector.RESCHEDULE:
        scheduler_ipi(cpu)
    elif vector == Vector.CALL_FUNCTION:
        generic_smp_call_function_interrupt(cpu)
    elif vector == Vector.CALL_FUNCTION_SINGLE:
        generic_smp_call_function_single_interrupt(cpu)
    elif vector == Vector.NMI:
        do_nmi(cpu)
    else:
        wake_ready(cpu)  # the coordinator has changed a word that the control task waits for


def timer(cpu: Cpu) -> None:
    """What is due: sleepers, with interrupts off as on hardware (each of many would nest in the one before), then the
    deferrable work.
    """
    cpu.me.irqs_off = 1
    run_timers(cpu)
    cpu.me.irqs_off = 0
    run_vmstat_timer(cpu)
