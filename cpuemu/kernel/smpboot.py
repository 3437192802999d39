"""Bringing CPUs up: what stands in RAM before any runs, and a new CPU's first steps (Linux: arch/x86/kernel/smpboot.c).

Invariant:     smp_prepare_cpus is called once, before a process of a CPU exists: all of them start at the same time.
Writers:       the launcher's half before power-on; start_secondary on the new CPU.
Steps:         those of start_secondary, in v3.2's order.
Not modelled:  ACPI tables: every CPU that is possible is present.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from cpuemu.arch.cpu import state_word
from cpuemu.arch.gate import Kind
from cpuemu.events import Event
from cpuemu.faults import Fault
from cpuemu.kernel.cpumask import cpu_active, cpumask_set_cpu, cpumask_word
from cpuemu.kernel.irqflags import local_irq_enable
from cpuemu.kernel.sched import wake
from cpuemu.kernel.spinlock import spin_lock, spin_unlock
from cpuemu.layout import (
    LINE_END,
    LOCK_CALL_FUNCTION,
    NOBODY,
    Cpumask,
    CpuState,
    Machine,
    MachineState,
    Mask,
    Op,
    Vector,
    idle_task,
)
from cpuemu.layout import Cpu as CpuWords
from cpuemu.sites import site, write_sites

if TYPE_CHECKING:
    from cpuemu.arch.cpu import Cpu

P_CALLOUT = site("start_secondary:cpu_callout")
P_APIC = site("setup_local_APIC")
P_ONLINE_LOCK = site("start_secondary:ipi_call_lock")
P_ACTIVE = site("start_secondary:cpu_active")
P_EARLY_ONLINE = site("start_secondary:early_online")


def smp_prepare_cpus(machine: Machine, absent: Iterable[int] = ()) -> None:
    """Masks of what is possible, empty queues, names of sites.  ``absent``: numbers that no CPU has."""
    cpus = machine.dims.cpus
    possible = (1 << cpus) - 1 & ~sum(1 << number for number in set(absent))
    write_sites(machine)
    machine.header.coordinator_line = LINE_END
    for mask in (Mask.POSSIBLE, Mask.PRESENT):
        for index in range(len(machine.cpumasks[mask].bits)):
            machine.cpumasks[mask].bits[index] = possible >> 64 * index & 0xFFFF_FFFF_FFFF_FFFF
    machine.call_function.next = machine.call_function.prev = cpus
    for number in range(cpus):
        words = machine.cpus[number]
        words.rq_head = words.rq_tail = words.stop_task = NOBODY
        words.idle_task = words.current = idle_task(number)
        words.irqs_off = 1
        machine.stoppers[number].head = machine.stoppers[number].tail = NOBODY
        machine.single_queues[number].head = machine.single_queues[number].tail = NOBODY


def setup_local_APIC(cpu: Cpu) -> None:
    """From here on the interrupt controller takes in what is sent; what it held before is acknowledged, unserved."""
    cpu.point(P_APIC, cpu.me.addr(CpuWords.pending, Vector.CALL_FUNCTION_SINGLE), Kind.WRITE)
    cpu.apic.clear()


def start_secondary(cpu: Cpu) -> None:
    """A CPU that comes up, in v3.2's order: callout, its APIC, online under call_function.lock, active, interrupts.

    Context: the new CPU's idle task, interrupts off.  A sender that waits for this CPU in between waits until
    the control task has run its first CPU_ONLINE notifier (zoo 5 is what happens when interrupts come earlier).
    """
    number = cpu.number
    bit = 1 << number % 64
    callout = cpu.machine.cpumasks[Mask.CALLOUT].addr(Cpumask.bits, number // 64)
    cpu.wait_until(callout, Op.MASK_SET, bit, P_CALLOUT)
    setup_local_APIC(cpu)
    spin_lock(cpu, LOCK_CALL_FUNCTION, P_ONLINE_LOCK)
    cpumask_set_cpu(cpu, number, Mask.ONLINE)
    spin_unlock(cpu, LOCK_CALL_FUNCTION)
    cpu.core.trace(Event.CPUEMU_CPU_ONLINE, number, cpu.me.generation)
    wake(cpu, cpumask_word(cpu, Mask.ONLINE, number))
    if cpu.faults is not None and cpu.faults.strike(Fault.EARLY_ONLINE, number):
        # Deaf and dumb in cpu_online_mask: only the time, or the machine's end, lets it go on.
        cpu.wait_until(state_word(cpu.machine), Op.GE, MachineState.OFF, P_EARLY_ONLINE,
                       deadline_ns=cpu.now() + cpu.faults.arguments[Fault.EARLY_ONLINE] * 1000)
    if not cpu_active(cpu, number):
        cpu.wait_until(cpumask_word(cpu, Mask.ACTIVE, number), Op.MASK_SET, bit, P_ACTIVE)
    cpu.me.state = CpuState.RUNNING
    wake(cpu, cpu.me.addr(CpuWords.state))
    local_irq_enable(cpu)
