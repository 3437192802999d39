"""Locks taken in the wrong order or the wrong place, and by whom they should not."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

from cpuemu.arch.cpu import Cpu
from cpuemu.kernel import oracles, page_alloc, page_lists, stop_machine, syscalls
from cpuemu.kernel.irqflags import local_irq_restore, local_irq_save
from cpuemu.kernel.mutex import mutex_lock, mutex_unlock
from cpuemu.kernel.spinlock import spin_lock, spin_lock_irqsave, spin_unlock, spin_unlock_irqrestore
from cpuemu.layout import (
    LOCK_KTHREAD,
    LOCK_OOM,
    LOCK_VECTOR,
    Lock,
    Op,
    single_queue_lock,
    stopper_lock,
)
from cpuemu.sites import site
from tests.mutants.declaration import CALLS, ONE_CALLS, STORM, mutant, replace, wrap

HERE, THERE = site("mutant:here"), site("mutant:there")


def after_each_call(what: Callable[[Cpu], None]) -> None:
    """Something more is done in each call of a user program, after what it asked for."""
    @wrap(syscalls, "smp_call_function_single")
    def _(right: Any, *arguments: Any) -> int:
        error = int(right(*arguments))
        what(arguments[0])
        return error


@mutant(oracles.DEADLOCK, *CALLS, also=(oracles.LOCK_ORDER,))
def a_and_b_and_b_and_a() -> None:
    """Tasks take two mutexes in different orders, and wait between them until both are taken."""
    def take(cpu: Cpu) -> None:
        first, second = (LOCK_OOM, LOCK_KTHREAD) if cpu.current.index % 2 else (LOCK_KTHREAD, LOCK_OOM)
        mutex_lock(cpu, first, HERE)
        word = cpu.machine.locks[second].addr(Lock.word)
        while not cpu.ram.read(word):  # nobody wakes who waits for a lock to be taken
            cpu.wait_until(word, Op.NE, 0, HERE, deadline_ns=cpu.now() + 10_000_000)
        mutex_lock(cpu, second, THERE)

    after_each_call(take)


@mutant(oracles.LOCK_ORDER, *ONE_CALLS)
def a_b_then_b_a() -> None:
    """One task takes two mutexes in one order, and later in the other: nothing hangs."""
    def take(cpu: Cpu) -> None:
        for first, second in ((LOCK_OOM, LOCK_KTHREAD), (LOCK_KTHREAD, LOCK_OOM)):
            mutex_lock(cpu, first, HERE)
            mutex_lock(cpu, second, THERE)
            mutex_unlock(cpu, second)
            mutex_unlock(cpu, first)

    after_each_call(take)


@mutant(oracles.RECURSIVE_LOCK, *ONE_CALLS)
def two_of_a_kind() -> None:
    """The stopper locks of two CPUs are taken at once, in no order."""
    def take(cpu: Cpu) -> None:
        zones = cpu.machine.dims.zones
        flags = spin_lock_irqsave(cpu, stopper_lock(0, zones), HERE)
        spin_lock(cpu, stopper_lock(1, zones), THERE)
        spin_unlock(cpu, stopper_lock(1, zones))
        spin_unlock_irqrestore(cpu, stopper_lock(0, zones), flags)

    after_each_call(take)


@mutant(oracles.IRQ_UNSAFE_LOCK, *ONE_CALLS)
def taken_with_irqs_on() -> None:
    """The lock of a call queue, which the interrupt takes too, is taken with interrupts on."""
    def take(cpu: Cpu) -> None:
        lock = single_queue_lock(cpu.number, cpu.machine.dims.zones)
        spin_lock(cpu, lock, HERE)
        spin_unlock(cpu, lock)

    after_each_call(take)


@mutant(oracles.IRQ_LOCK_INVERSION, *ONE_CALLS)
def unsafe_under_safe() -> None:
    """Under the lock of a call queue one is taken that elsewhere is held with interrupts on."""
    def take(cpu: Cpu) -> None:
        spin_lock(cpu, LOCK_VECTOR, HERE)
        spin_unlock(cpu, LOCK_VECTOR)
        lock = single_queue_lock(cpu.number, cpu.machine.dims.zones)
        flags = spin_lock_irqsave(cpu, lock, HERE)
        spin_lock(cpu, LOCK_VECTOR, THERE)
        spin_unlock(cpu, LOCK_VECTOR)
        spin_unlock_irqrestore(cpu, lock, flags)

    after_each_call(take)


@mutant(oracles.OWNER_DIED, *STORM, verdict="cpu-died")
def killed_with_a_lock() -> None:
    """A CPU's process is killed while the CPU holds zone->lock."""
    @wrap(page_lists, "spin_unlock")
    def _(right: Any, cpu: Cpu, lock: int) -> None:
        if cpu.number == 1 and cpu.header.go:
            os.kill(os.getpid(), signal.SIGKILL)
        right(cpu, lock)


@mutant(oracles.MUTEX_NOT_OWNER, *STORM, "--hotplug", "1")
def unlocked_by_nobody() -> None:
    """stop_cpus gives its mutex back twice."""
    @wrap(stop_machine, "mutex_unlock")
    def _(right: Any, cpu: Cpu, lock: int) -> None:
        right(cpu, lock)
        right(cpu, lock)


@mutant(oracles.SCHEDULING_WHILE_ATOMIC, *STORM, "--hotplug", "1")
def preemption_stays_off() -> None:
    """stop_cpus forgets preempt_enable before it waits."""
    replace(stop_machine, "preempt_enable", lambda cpu: None)


@mutant(oracles.SLEEPING_FUNCTION_CALLED, *STORM)
def allocates_with_irqs_off() -> None:
    """An allocation that may sleep is asked for with interrupts off."""
    @wrap(page_alloc, "might_sleep")
    def _(right: Any, cpu: Cpu) -> None:
        flags = local_irq_save(cpu)
        right(cpu)
        local_irq_restore(cpu, flags)
