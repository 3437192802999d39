"""Another kernel is started from this one: every CPU is brought to a stop first (Linux: powerpc, v2.6.36).

Invariant:     when the other kernel starts, every CPU but the one that starts it has its interrupts off and waits.
Writers:       a paca's state by its CPU; the words of the start by the CPU that starts, which owns them by
               compare-and-swap (kexec_mutex, taken by trylock).
Steps:         before every access to one of these words.
Not modelled:  the image, and what it does: it gives the machine back at once (kexec jump), and the CPUs go on.
               CPUs that are offline are left so; Linux wakes them first.  arch/powerpc/kernel/machine_kexec_64.c.

Both halves stand here: who starts (kexec_prepare_cpus) and who is stopped (kexec_smp_down).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cpuemu.arch.gate import Kind
from cpuemu.kernel.call_functions import KEXEC_SMP_DOWN
from cpuemu.kernel.cpumask import for_each_online_cpu
from cpuemu.kernel.irqflags import local_irq_disable, local_irq_enable, preempt_disable, preempt_enable
from cpuemu.kernel.percpu import per_cpu
from cpuemu.kernel.sched import wake
from cpuemu.kernel.smp import smp_call_function_many
from cpuemu.layout import Kexec, KexecState, Op, Paca
from cpuemu.sites import site

if TYPE_CHECKING:
    from cpuemu.arch.cpu import Cpu
    from cpuemu.schema import Address

P_MUTEX = site("kernel_kexec:kexec_mutex")
P_STATE = site("kexec:kexec_state")
P_ALL_OFF = site("kexec_prepare_cpus:kexec_all_irq_disabled")
P_WAIT = site("kexec_prepare_cpus_wait")
P_DOWN = site("kexec_smp_down")
P_SMP_WAIT = site("kexec_smp_wait")
P_BACK = site("kernel_kexec:back")


def kernel_kexec(cpu: Cpu) -> None:
    """Start the other kernel; nothing when somebody is about to (-EBUSY).  Context: a task, interrupts on."""
    kexec = cpu.machine.kexec
    cpu.point(P_MUTEX, kexec.addr(Kexec.owner), Kind.WRITE)
    if not cpu.ram.cmpxchg(kexec.addr(Kexec.owner), 0, cpu.number + 1):
        return
    preempt_disable(cpu)
    kexec_prepare_cpus(cpu)
    # Here the other kernel would run.
    _set(cpu, kexec.addr(Kexec.all_irq_disabled), 0, P_ALL_OFF)
    _set_state(cpu, KexecState.RUNNING)
    for number in for_each_online_cpu(cpu):
        state = per_cpu(cpu, cpu.machine.pacas, number).addr(Paca.kexec_state)
        cpu.wait_until(state, Op.EQ, KexecState.RUNNING, P_BACK)
    _set(cpu, kexec.addr(Kexec.owner), 0, P_MUTEX)
    local_irq_enable(cpu)
    preempt_enable(cpu)


def kexec_prepare_cpus(cpu: Cpu) -> None:
    """Stop the others.  Context: preemption off; returns with interrupts off."""
    smp_call_function_many(cpu, (1 << cpu.machine.dims.cpus) - 1, KEXEC_SMP_DOWN, 0, wait=False)
    local_irq_disable(cpu)
    _set_state(cpu, KexecState.IRQS_OFF)
    kexec_prepare_cpus_wait(cpu, KexecState.IRQS_OFF)
    _set(cpu, cpu.machine.kexec.addr(Kexec.all_irq_disabled), 1, P_ALL_OFF)
    kexec_prepare_cpus_wait(cpu, KexecState.REAL_MODE)


def kexec_prepare_cpus_wait(cpu: Cpu, state: KexecState) -> None:
    """Until every other CPU has come to a state."""
    for number in for_each_online_cpu(cpu):
        if number != cpu.number:
            paca = per_cpu(cpu, cpu.machine.pacas, number)
            cpu.wait_until(paca.addr(Paca.kexec_state), Op.GE, state, P_WAIT)


def kexec_smp_down(cpu: Cpu, info: int) -> None:
    """Say that interrupts are off, wait until they are everywhere, then for the other kernel.  Context: interrupt."""
    all_off = cpu.machine.kexec.addr(Kexec.all_irq_disabled)
    _set_state(cpu, KexecState.IRQS_OFF)
    cpu.wait_until(all_off, Op.NE, 0, P_DOWN)
    _set_state(cpu, KexecState.REAL_MODE)
    cpu.wait_until(all_off, Op.EQ, 0, P_SMP_WAIT)
    _set_state(cpu, KexecState.RUNNING)


def _set_state(cpu: Cpu, state: KexecState) -> None:
    _set(cpu, per_cpu(cpu, cpu.machine.pacas, cpu.number).addr(Paca.kexec_state), state, P_STATE)


def _set(cpu: Cpu, word: Address, value: int, where: int) -> None:
    cpu.point(where, word, Kind.WRITE)
    cpu.ram.xchg(word, value)
    wake(cpu, word)
