"""Kernel threads and the one that makes them (Linux: kernel/kthread.c, v3.2).

Invariant:     one request at a time (kthread_create_lock); the requester sleeps until kthreadd has answered.
Writers:       the request's words by the requester, the answer's by kthreadd.
Steps:         the two waits; kthreadd's allocation may reclaim and drain, as any other.
Not modelled:  kthread_should_stop: a stopper ends with its CPU's process.

That a CPU coming up waits for kthreadd, and kthreadd for memory, is one half of the deadlock that the first
version of Gorman's patch warns of (zoo 2).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from cpuemu.arch.cpu import Term
from cpuemu.kernel.fork import new_kthread
from cpuemu.kernel.irqflags import local_irq_restore, local_irq_save
from cpuemu.kernel.kswapd import kswapd_thread
from cpuemu.kernel.mutex import mutex_lock, mutex_unlock
from cpuemu.kernel.page_alloc import GFP_KERNEL, alloc_pages
from cpuemu.kernel.page_lists import NO_PAGE, free_pages
from cpuemu.kernel.sched import wait_event, wake
from cpuemu.kernel.spinlock import raw_spin_lock, raw_spin_unlock
from cpuemu.layout import LOCK_KTHREAD, Kthread, MigrateType, Op, SchedClass, Task, TaskState, rq_lock
from cpuemu.sites import site

if TYPE_CHECKING:
    from cpuemu.arch.cpu import Cpu

KthreadFunction = Callable[["Cpu", int], None]

P_CREATE_LOCK = site("kthread_create_on_node")
P_CREATE_WAIT = site("kthread_create_on_node:wait_for_completion")
P_KTHREADD = site("kthreadd")
P_FREE_TASK = site("free_task:rq_lock")

THREAD_SIZE_ORDER = 1
FUNCTIONS: dict[int, KthreadFunction] = {}
ENOMEM = 12


def kthread_function(name: str, function: KthreadFunction) -> int:
    """Register a thread's function; the number is its site, so a post-mortem names it."""
    number = site(name)
    FUNCTIONS[number] = function
    return number


def kthread_create_on_node(cpu: Cpu, fn: int, arg: int, comm: str, bind: int, task: int) -> int:
    """Have kthreadd make a thread in entry ``task`` of the table.  0 or -ENOMEM.  Context: may sleep."""
    request = cpu.machine.kthread
    mutex_lock(cpu, LOCK_KTHREAD, P_CREATE_LOCK)
    try:
        request.fn, request.arg, request.cpu, request.comm, request.task = fn, arg, bind, comm, task
        number = cpu.ram.add(request.addr(Kthread.request), 1)
        wake(cpu, request.addr(Kthread.request))
        wait_event(cpu, P_CREATE_WAIT, Term(request.addr(Kthread.answer), Op.EQ, number))
        return min(0, request.task)
    finally:
        mutex_unlock(cpu, LOCK_KTHREAD)


def kthreadd(cpu: Cpu, arg: int) -> None:
    """Make the threads that are asked for: a stack of two pages, a task asleep until it is woken."""
    request = cpu.machine.kthread
    while True:
        wait_event(cpu, P_KTHREADD, Term(request.addr(Kthread.request), Op.NE, request.answer),
                   state=TaskState.INTERRUPTIBLE)
        stack = alloc_pages(cpu, GFP_KERNEL, THREAD_SIZE_ORDER, MigrateType.UNMOVABLE)
        if stack == NO_PAGE:
            request.task = -ENOMEM
        else:
            _make(cpu, cpu.machine.tasks[request.task], stack)
        cpu.ram.xchg(request.addr(Kthread.answer), request.request)
        wake(cpu, request.addr(Kthread.answer))


def _make(cpu: Cpu, task: Task, stack: int) -> None:
    request = cpu.machine.kthread
    task.user[0] = stack + 1
    new_kthread(cpu, task.index, request.fn, request.arg, request.comm, request.cpu, SchedClass.STOP)


def free_task(cpu: Cpu, number: int) -> None:
    """Give back a thread that has ended: its stack and its entry."""
    task = cpu.machine.tasks[number]
    stack = task.user[0]
    lock = rq_lock(task.cpu, cpu.machine.dims.zones)
    flags = local_irq_save(cpu)
    raw_spin_lock(cpu, lock, P_FREE_TASK)  # a waker may just be looking at it
    task.state = TaskState.UNUSED
    raw_spin_unlock(cpu, lock)
    local_irq_restore(cpu, flags)
    task.user[0] = 0
    if stack:
        free_pages(cpu, stack - 1, THREAD_SIZE_ORDER)


FN_KTHREADD = kthread_function("kthreadd", kthreadd)
FN_KSWAPD = kthread_function("kswapd", kswapd_thread)
