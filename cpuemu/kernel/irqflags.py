"""Interrupt flag and preempt count (Linux: include/linux/irqflags.h, preempt.h).

Invariant:     preempt_count of the current task is the depth of preempt_disable and spinlocks held.
Writers:       the CPU, for itself.
Steps:         one wherever interrupts or preemption become possible again.
Not modelled:  softirq and NMI bits of the count.

On a kernel without PREEMPT, preempt_disable emits no code; the count is kept all the same, because the
post-mortem shows it.  Only the preemption model decides whether it matters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cpuemu.arch.cpu import P_IRQ_WINDOW
from cpuemu.kernel.lockdep import held_with_irqs_on
from cpuemu.layout import Preempt

if TYPE_CHECKING:
    from cpuemu.arch.cpu import Cpu


def irqs_disabled(cpu: Cpu) -> bool:
    return bool(cpu.me.irqs_off)


def in_interrupt(cpu: Cpu) -> bool:
    return bool(cpu.me.hardirq)


def local_irq_disable(cpu: Cpu) -> None:
    cpu.me.irqs_off = 1


def local_irq_enable(cpu: Cpu) -> None:
    if cpu.me.nr_held:
        held_with_irqs_on(cpu)
    cpu.me.irqs_off = 0
    cpu.point(P_IRQ_WINDOW)


def local_irq_save(cpu: Cpu) -> int:
    flags = cpu.me.irqs_off
    cpu.me.irqs_off = 1
    return flags


def local_irq_restore(cpu: Cpu, flags: int) -> None:
    if not flags:
        local_irq_enable(cpu)


def preempt_disable(cpu: Cpu) -> None:
    task = cpu.current
    task.preempt_count += 1


def preempt_enable_no_resched(cpu: Cpu) -> None:
    task = cpu.current
    task.preempt_count -= 1


def preempt_enable(cpu: Cpu) -> None:
    """May schedule under PREEMPT when it was the last one."""
    preempt_enable_no_resched(cpu)
    if cpu.me.need_resched and cpu.header.preempt_model == Preempt.FULL:
        cpu.point(P_IRQ_WINDOW)


def preemptible(cpu: Cpu) -> bool:
    """Whether the stopper may take the CPU from kernel code here (CONFIG_PREEMPT)."""
    return cpu.current.preempt_count == 0 and not cpu.me.irqs_off and not cpu.me.hardirq
