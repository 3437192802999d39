"""User mode: the border where a task has no kernel stack, and the system calls of the batch loop's programs.

Invariant:     a task in user mode has ``in_kernel`` 0 and nothing on its stack that matters: it can go on anywhere.
               It runs in its CPU's own process only.
Writers:       ``position``, ``held``, ``user`` by the task; ``replay_waiters`` atomically by who waits for a line.
Steps:         one at each return to user mode, where interrupts, timers and need_resched are looked at.
Not modelled:  page faults, signals but for the OOM killer's.

The compiled batch loop runs the program (cpuemu.core); it comes back with a reason, and this file acts on it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from cpuemu.arch.cpu import Term
from cpuemu.core import BadPage
from cpuemu.kernel import oracles
from cpuemu.kernel.bug import bad_page, report
from cpuemu.kernel.cpumask import cpu_active
from cpuemu.kernel.irqflags import local_irq_disable, local_irq_enable
from cpuemu.kernel.kthread import FUNCTIONS
from cpuemu.kernel.lockup import test_lockup
from cpuemu.kernel.page_alloc import GFP_KERNEL, alloc_pages
from cpuemu.kernel.page_lists import NO_PAGE, free_pages
from cpuemu.kernel.rcutree import rcu_note_quiescent
from cpuemu.kernel.sched import cpu_idle, enter_kernel, schedule_away, select_task_rq, try_to_wake_up
from cpuemu.kernel.sched_migrate import do_exit, end_user_wait, leave_for, sched_setaffinity, user_wait
from cpuemu.kernel.syscalls import sys_call, sys_reschedule, system_call
from cpuemu.kernel.uapi import Alloc, Exit, Free, Operation, ProgramError, Sleep, UserTask
from cpuemu.kernel.vmscan import add_to_page_cache_lru
from cpuemu.layout import (
    HELD_PAGES,
    LINE_END,
    NOBODY,
    SLOT_EMPTY,
    SLOT_FAILED,
    Counter,
    Gfp,
    Header,
    Op,
    OpKind,
    Program,
    ReplayStream,
    Slot,
    Task,
    TaskFlag,
)
from cpuemu.layout import Exit as Reason
from cpuemu.sites import site

if TYPE_CHECKING:
    from cpuemu.arch.cpu import Cpu

P_RETURN = site("return_to_user_mode")
P_SLOT = site("replay:allocation")
P_WINDOW = site("replay:window")
P_HOTPLUG = site("replay:hotplug")
P_PACE = site("replay:pace")
P_SLEEP = site("sys_nanosleep")


def run_task(cpu: Cpu, number: int) -> None:
    """What a task's stack runs, from its first step or its last return to user mode.  Returns: the stack ends."""
    task = cpu.machine.tasks[number]
    try:
        if task.program == Program.IDLE:
            cpu_idle(cpu)
        elif task.program == Program.KTHREAD:
            local_irq_enable(cpu)
            enter_kernel(cpu, task)
            FUNCTIONS[task.kthread_fn](cpu, task.kthread_arg)
            do_exit(cpu)
        else:
            _user_mode(cpu, task)
    except BadPage as bad:
        bad_page(cpu, bad)


def _user_mode(cpu: Cpu, task: Task) -> None:
    _end_line_wait(cpu, task)
    end_user_wait(cpu, task)
    local_irq_enable(cpu)
    while True:
        if cpu.borrowed:  # the CPU's own process goes on with the task, which needs no stack any more
            local_irq_disable(cpu)
            return None
        cpu.point(P_RETURN)
        if task.flags & TaskFlag.MEMDIE:
            return _exit(cpu, task)
        target = _where_to(cpu, task)
        if target != cpu.number:
            return leave_for(cpu, target)
        if cpu.me.need_resched or (cpu.me.nr_running and cpu.now() >= cpu.me.slice_end_ns):
            local_irq_disable(cpu)
            if schedule_away(cpu):
                return None
            local_irq_enable(cpu)
        rcu_note_quiescent(cpu)
        reason = cpu.core.run_batch(task.index, cpu.gate.batch)
        if reason == Reason.DONE and task.program == Program.REPLAY:
            _wake_replay(cpu, task)  # all its lines are done: who waits for one of them is not told again
        if reason in (Reason.DONE, Reason.STOPPING):
            return _exit(cpu, task)
        if reason in ACTIONS and ACTIONS[reason](cpu, task):
            return None


def _where_to(cpu: Cpu, task: Task) -> int:
    """A task leaves a CPU that is being taken down, and goes home when home is back."""
    if not cpu_active(cpu, cpu.number) or (task.home not in (NOBODY, cpu.number) and cpu_active(cpu, task.home)):
        return select_task_rq(cpu, task)
    return cpu.number


# --- why the batch loop came back; True: the stack ends ----------------------------------------------------


def _kernel(cpu: Cpu, task: Task) -> bool:
    """A system call.  What sleeps without a stack, and the end, happen at the border, not inside."""
    if task.program == Program.PYTHON:
        return _python(cpu, task)
    if task.op_kind == OpKind.SLEEP:
        return user_wait(cpu, P_PACE, deadline_ns=task.user[1])
    _inside(cpu, task, _replay if task.program == Program.REPLAY else _storm)
    return False


def _inside(cpu: Cpu, task: Task, call: Callable[[Cpu, Task], None]) -> None:
    enter_kernel(cpu, task)
    if cpu.faults is not None:
        test_lockup(cpu)
    call(cpu, task)
    cpu.core.count(Counter.OPERATIONS)  # those of the batch loop are counted there
    task.in_kernel = 0


def _wait_for_slot(cpu: Cpu, task: Task) -> bool:
    """The allocation is an earlier line, on another CPU, that is not done yet."""
    slot = cpu.machine.slots[task.op_slot]
    return _line_wait(cpu, task, P_SLOT, Term(slot.addr(Slot.page), Op.NE, SLOT_EMPTY))


def _wait_for_window(cpu: Cpu, task: Task) -> bool:
    """Too far ahead of the slowest stream, or of a hotplug operation of the recording."""
    stream = cpu.machine.streams[task.stream]
    line = max(0, stream.next_line - cpu.header.window)
    if task.op_arg == LINE_END:
        return _line_wait(cpu, task, P_HOTPLUG, Term(cpu.header.addr(Header.coordinator_line), Op.GE, line))
    slowest = cpu.machine.streams[task.op_arg]
    return _line_wait(cpu, task, P_WINDOW, Term(slowest.addr(ReplayStream.next_line), Op.GE, line))


def _line_wait(cpu: Cpu, task: Task, why: int, term: Term) -> bool:
    # Counted before the wait record is written: who stores the word afterwards finds a waiter to look for.
    cpu.ram.set_bits(task.addr(Task.flags), TaskFlag.LINE_WAIT)
    cpu.ram.add(cpu.header.addr(Header.replay_waiters), 1)
    # A wait on this CPU's own earlier lines cannot be: told now, before we sleep, what we have done so far.
    _wake_replay(cpu, task)
    if user_wait(cpu, why, term):
        return True
    _end_line_wait(cpu, task)
    return False


def _end_line_wait(cpu: Cpu, task: Task) -> None:
    if task.flags & TaskFlag.LINE_WAIT:
        cpu.ram.clear_bits(task.addr(Task.flags), TaskFlag.LINE_WAIT)
        cpu.ram.add(cpu.header.addr(Header.replay_waiters), -1)


def _wake_replay(cpu: Cpu, task: Task) -> bool:
    """Somebody waits for a slot or a line: wake whose is done, and tell the coordinator when all passed its line."""
    for number in cpu.core.ready_waiters():
        if cpu.machine.tasks[number].flags & TaskFlag.LINE_WAIT:
            try_to_wake_up(cpu, number)
    if cpu.core.minimum_line() >= cpu.header.coordinator_line:
        cpu.ring_coordinator()
    return False


def _spill(cpu: Cpu, task: Task) -> bool:
    if cpu.spill is not None:
        cpu.spill()
    return False


ACTIONS: dict[int, Callable[[Cpu, Task], bool]] = {
    Reason.KERNEL: _kernel,
    Reason.WAIT: _wait_for_slot,
    Reason.WINDOW: _wait_for_window,
    Reason.WAKE: _wake_replay,
    Reason.TRACE: _spill,
}
"""INTERRUPT, RESCHED and BUDGET need nothing more than the point at the top of the loop."""


# --- replay ------------------------------------------------------------------------------------------------


def _replay(cpu: Cpu, task: Task) -> None:
    """One line of the recording that needs the kernel."""
    kind = task.op_kind
    if kind == OpKind.ALLOC:
        _replay_alloc(cpu, task)
    elif kind == OpKind.FREE:
        free_pages(cpu, task.op_arg, task.op_order)
    elif kind in (OpKind.CSD, OpKind.IPI):
        sent = (sys_call if kind == OpKind.CSD else sys_reschedule)(cpu, task.op_slot % cpu.machine.dims.cpus)
        if not sent:
            cpu.core.count(Counter.REPLAY_IPI_SKIPPED)
    if cpu.header.pace_permille:
        stream = cpu.machine.streams[task.stream]
        task.user[0] += cpu.machine.ops[stream.first + task.position].delta
    task.position += 1
    if kind == OpKind.ALLOC:
        cpu.ram.fence()
        if cpu.header.replay_waiters:
            _wake_replay(cpu, task)


def _replay_alloc(cpu: Cpu, task: Task) -> None:
    order, pieces = task.op_order, task.op_arg
    pfn = alloc_pages(cpu, task.op_gfp | Gfp.NO_OOM, order, task.op_migratetype)
    if pfn != NO_PAGE and order and pieces:
        cpu.core.split_page(pfn, order)  # before the slot is published: its pieces are freed one by one, anywhere
    cpu.machine.slots[task.op_slot].page = SLOT_FAILED if pfn == NO_PAGE else pfn + 1


# --- storm and Python programs: pages in held_pages --------------------------------------------------------


def _storm(cpu: Cpu, task: Task) -> None:
    if task.op_kind == OpKind.FREE:
        free_pages(cpu, task.op_slot, task.op_order)
    elif task.op_kind == OpKind.YIELD:
        sched_setaffinity(task, task.op_arg)
    else:
        pfn = alloc_pages(cpu, task.op_gfp, task.op_order, task.op_migratetype)
        if pfn != NO_PAGE and task.op_kind == OpKind.FILE:
            add_to_page_cache_lru(cpu, pfn)
        elif pfn != NO_PAGE:
            _hold(cpu, task, pfn, task.op_order)
    task.position += 1


def _hold(cpu: Cpu, task: Task, pfn: int, order: int) -> None:
    entry = cpu.machine.held_pages[task.index * HELD_PAGES + task.held]
    entry.pfn, entry.order = pfn, order
    task.held += 1


def _python(cpu: Cpu, task: Task) -> bool:
    """Ask the user's program what it does next, and do it."""
    over = task.end and task.position >= task.end
    try:
        operation = Exit() if over else cpu.workload.next(UserTask(cpu.machine, task.index, cpu.number))
    except ProgramError as error:
        place = f"task {task.comm} stopped at its operation {task.position}"
        report(cpu, oracles.USER_PROGRAM, f"{place}: {error}")
        return True
    task.position += 1
    match operation:
        case Sleep(microseconds):
            return user_wait(cpu, P_SLEEP, deadline_ns=cpu.now() + microseconds * 1000)
        case Exit():
            _exit(cpu, task)
            return True
    _inside(cpu, task, lambda cpu, task: _system_call(cpu, task, operation))
    return False


def _system_call(cpu: Cpu, task: Task, operation: Operation) -> None:
    match operation:
        case Alloc(order, migratetype):
            room = task.held < min(task.held_limit, HELD_PAGES)
            pfn = alloc_pages(cpu, GFP_KERNEL, order, migratetype) if room else NO_PAGE
            task.op_arg = pfn == NO_PAGE
            if pfn != NO_PAGE:
                _hold(cpu, task, pfn, order)
        case Free(index):
            _free_held(cpu, task, index)
        case _:
            system_call(cpu, operation)


def _free_held(cpu: Cpu, task: Task, index: int) -> None:
    count = task.held
    if not count:
        return
    base = task.index * HELD_PAGES
    place, last = cpu.machine.held_pages[base + index % count], cpu.machine.held_pages[base + count - 1]
    pfn, order = place.pfn, place.order
    place.pfn, place.order = last.pfn, last.order
    task.held = count - 1
    free_pages(cpu, pfn, order)


def _exit(cpu: Cpu, task: Task) -> None:
    """The program is over: give back what it holds, and end."""
    enter_kernel(cpu, task)
    while task.held:
        _free_held(cpu, task, -1)
    if task.program == Program.STORM:
        _empty_slots(cpu, task)
    if cpu.ram.add(cpu.header.addr(Header.tasks_done), 1) >= cpu.header.nr_workload:
        cpu.ring_coordinator()
    task.in_kernel = 0
    do_exit(cpu)


def _empty_slots(cpu: Cpu, task: Task) -> None:
    """Pages given away and taken by nobody: each task that ends frees what it finds."""
    for slot in cpu.machine.slots:
        if slot.page:
            pfn = cpu.ram.xchg(slot.addr(Slot.page), 0) - 1
            if pfn >= 0:
                free_pages(cpu, pfn, cpu.machine.mem_map[pfn].order)


