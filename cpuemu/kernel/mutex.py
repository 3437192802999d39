"""Sleeping locks (Linux: kernel/mutex.c).

Invariant:     the word is 0 or the owning task plus 1.
Writers:       the word by compare-and-swap; the rest by the owner.
Steps:         wait_event where the lock is taken.
Not modelled:  hand-over in order, optimistic spinning, priority inheritance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cpuemu.arch.cpu import Term
from cpuemu.arch.gate import Kind
from cpuemu.kernel import oracles
from cpuemu.kernel.bug import BUG_ON
from cpuemu.kernel.lockdep import lock_acquire
from cpuemu.kernel.sched import might_sleep, wait_event, wake
from cpuemu.layout import HELD_LOCKS, Lock, Op, Task

if TYPE_CHECKING:
    from cpuemu.arch.cpu import Cpu


def mutex_trylock(cpu: Cpu, lock: int, where: int) -> bool:
    record = cpu.machine.locks[lock]
    cpu.point(where, record.addr(Lock.word), Kind.WRITE)
    task = cpu.me.current
    if not cpu.ram.cmpxchg(record.addr(Lock.word), 0, task + 1):
        return False
    record.holder, record.site, record.since_ns = task + 1, where, cpu.now()
    _hold(cpu.machine.tasks[task], lock)
    return True


def _hold(task: Task, lock: int) -> None:
    if task.nr_mutexes < HELD_LOCKS:
        task.mutexes[task.nr_mutexes] = lock
        task.nr_mutexes += 1


def _let_go(task: Task, lock: int) -> None:
    held = [each for each in list(task.mutexes)[: task.nr_mutexes] if each != lock]
    for at, each in enumerate(held):
        task.mutexes[at] = each
    task.nr_mutexes = len(held)


def mutex_lock(cpu: Cpu, lock: int, where: int) -> None:
    """Take a mutex.  Context: may sleep."""
    might_sleep(cpu)
    lock_acquire(cpu, lock, where)
    while not mutex_trylock(cpu, lock, where):
        wait_event(cpu, where, Term(cpu.machine.locks[lock].addr(Lock.word), Op.EQ, 0))


def mutex_unlock(cpu: Cpu, lock: int) -> None:
    record = cpu.machine.locks[lock]
    BUG_ON(cpu, record.word != cpu.me.current + 1, oracles.MUTEX_NOT_OWNER,
           f"{record.name} unlocked by a task that does not own it")
    _let_go(cpu.current, lock)
    record.holder = 0
    cpu.ram.xchg(record.addr(Lock.word), 0)
    wake(cpu, record.addr(Lock.word))
