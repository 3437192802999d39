"""Spinlocks (Linux: kernel/spinlock.c).

Invariant:     a lock word names its owner: CPU, generation, task, place, time.
Writers:       the word by compare-and-swap; holder, site and time by the owner.
Steps:         one before the word is tried.
Not modelled:  ticket order: whoever's compare-and-swap comes first has it.

A waiter sleeps (futex) instead of spinning, always for a bounded time; then it looks whether the owner is still
alive.  A lock is never stolen from a dead owner: the machine ends with ``owner-died``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cpuemu.arch.cpu import PowerOff
from cpuemu.arch.gate import Kind
from cpuemu.kernel import oracles
from cpuemu.kernel.bug import report
from cpuemu.kernel.irqflags import local_irq_restore, local_irq_save, preempt_disable, preempt_enable_no_resched
from cpuemu.kernel.lockdep import lock_acquire
from cpuemu.layout import CpuState, Lock, MachineState

if TYPE_CHECKING:
    from cpuemu.arch.cpu import Cpu


def spin_lock(cpu: Cpu, lock: int, where: int) -> None:
    """Take a lock.  Context: interrupts off if an interrupt handler takes it too."""
    preempt_disable(cpu)
    raw_spin_lock(cpu, lock, where)


def raw_spin_lock(cpu: Cpu, lock: int, where: int) -> None:
    """As spin_lock, without the preempt count: for the scheduler, which changes the current task under it."""
    record = cpu.machine.locks[lock]
    cpu.point(where, record.addr(Lock.word), Kind.WRITE)
    lock_acquire(cpu, lock, where)
    while not cpu.gate.lock(cpu, lock, where):
        cpu.current.stack = cpu.backtrace()  # a long wait: whoever finds out why shall see where we stand
        _owner_alive(cpu, record, where)
    if cpu.faults is not None:
        cpu.faults.kill_holder(lock)


def spin_unlock(cpu: Cpu, lock: int) -> None:
    """Give a lock back; does not schedule: the caller's irq restore or preempt_enable is the next point."""
    cpu.core.spin_unlock(lock)
    preempt_enable_no_resched(cpu)


def raw_spin_unlock(cpu: Cpu, lock: int) -> None:
    cpu.core.spin_unlock(lock)


def spin_lock_irqsave(cpu: Cpu, lock: int, where: int) -> int:
    flags = local_irq_save(cpu)
    spin_lock(cpu, lock, where)
    return flags


def spin_unlock_irqrestore(cpu: Cpu, lock: int, flags: int) -> None:
    spin_unlock(cpu, lock)
    local_irq_restore(cpu, flags)


def owner_of(record: Lock) -> int:
    """The CPU that holds a spinlock, -1 if nobody."""
    return (record.word & 0xFFFF) - 1


def _owner_alive(cpu: Cpu, record: Lock, where: int) -> None:
    owner = owner_of(record)
    died = owner >= 0 and cpu.machine.cpus[owner].state == CpuState.DEAD
    over = cpu.header.state > MachineState.STOPPING
    if died or over:
        # The machine ends in this wait: that we came for the lock is what the post-mortem reads.
        cpu.me.lock_wait, cpu.me.lock_wait_site = record.index + 1, where
    if over:
        raise PowerOff
    if died:
        report(cpu, oracles.OWNER_DIED, f"{record.name} is held by cpu {owner}, whose process died", cpus=(owner,))
