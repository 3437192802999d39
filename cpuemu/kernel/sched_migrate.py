"""Tasks that change CPUs, and the border of user mode where they can (Linux: kernel/sched.c, v3.2).

Invariant:     a task is moved only while it is on no run queue: nobody runs it meanwhile.  One that is inside the
               kernel moves with its CPU's end alone, and all those whose stacks one process has move to one CPU.
Writers:       ``cpu`` of a task by its mover, under the rq lock of the CPU it leaves or enters.
Steps:         those of the rq locks.
Not modelled:  balancing: a task goes where its affinity, its wake-up or its CPU's end send it.

The stack of a task that is inside the kernel cannot move: its process is kept, and runs it as the new CPU
(arch/lending.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cpuemu.arch.cpu import Term
from cpuemu.arch.gate import Kind
from cpuemu.arch.lending import ring
from cpuemu.kernel.cpumask import cpumask_copy, for_each_cpu
from cpuemu.kernel.irqflags import local_irq_restore, local_irq_save
from cpuemu.kernel.sched import (
    ASLEEP,
    P_RQ_LOCK,
    P_WAKE_UP,
    activate,
    add_timer,
    count_migration,
    deschedule,
    resched_cpu,
    schedule_away,
    select_task_rq,
)
from cpuemu.kernel.spinlock import raw_spin_lock, raw_spin_unlock
from cpuemu.layout import KEEPING, NOBODY, Mask, SchedClass, Task, TaskFlag, TaskState, rq_lock

if TYPE_CHECKING:
    from cpuemu.arch.cpu import Cpu


def sched_setaffinity(task: Task, number: int) -> None:
    """The current task prefers another CPU from now on: it goes there at its return to user mode."""
    task.home = number


def leave_for(cpu: Cpu, target: int) -> None:
    """The current task goes on on another CPU.  Context: at the border of user mode; the caller's stack ends."""
    task = cpu.current
    local_irq_save(cpu)
    # Not yet on any queue while this CPU chooses its next task: nobody runs it before we have let go.
    task.state = TaskState.MIGRATING
    deschedule(cpu, task)
    _move(cpu, task, target)


def _move(cpu: Cpu, task: Task, target: int) -> None:
    """Put a task that is on no run queue on another CPU's."""
    zones = cpu.machine.dims.zones
    raw_spin_lock(cpu, rq_lock(target, zones), P_WAKE_UP)
    source, task.cpu = task.cpu, target
    task.state = TaskState.RUNNING
    resched = activate(cpu, target, task)
    raw_spin_unlock(cpu, rq_lock(target, zones))
    count_migration(cpu, task, source, target)
    if resched:
        resched_cpu(cpu, target)


def user_wait(cpu: Cpu, why: int, *terms: Term, deadline_ns: int = 0) -> bool:
    """Sleep at the border of user mode, without a stack: any CPU can go on with the task.

    True: the caller's stack must end (return to the hub).  False: a term held already, go on.
    """
    task = cpu.current
    cpu.point(why, terms[0].word if terms else 0, Kind.READ)
    cpu.ram.set_bits(task.addr(Task.flags), TaskFlag.USER_WAIT)  # atomically: the OOM killer may mark it just now
    task.state = TaskState.INTERRUPTIBLE
    cpu.set_wait(task, terms, why, busy=False, deadline_ns=deadline_ns)
    if (terms and cpu.core.terms_hold(task.index)) or (deadline_ns and cpu.now() >= deadline_ns):
        task.state = TaskState.RUNNING
        end_user_wait(cpu, task)
        return False
    if deadline_ns:
        add_timer(cpu.me, deadline_ns)
    local_irq_save(cpu)
    schedule_away(cpu)
    return True


def end_user_wait(cpu: Cpu, task: Task) -> None:
    if task.flags & TaskFlag.USER_WAIT:
        cpu.ram.clear_bits(task.addr(Task.flags), TaskFlag.USER_WAIT)
        cpu.clear_wait(task)


def do_exit(cpu: Cpu) -> None:
    """The current task ends.  The caller's stack ends too."""
    task = cpu.current
    local_irq_save(cpu)
    task.in_kernel = 0
    task.state = TaskState.DEAD
    schedule_away(cpu)


def migrate_tasks(cpu: Cpu) -> None:
    """The tasks of this leaving CPU go to active ones (CPU_DYING): the runnable, and all that are inside the kernel.

    Context: stopper thread, every other CPU stopped, interrupts off.  Linux leaves those that sleep until they wake.
    """
    target = _fallback_cpu(cpu)
    _move_runnable(cpu, target)
    for task in cpu.machine.tasks:
        if task.cpu == cpu.number and task.in_kernel and task.sched_class == SchedClass.FAIR and task.state in ASLEEP:
            _move_sleeper(cpu, task, target)
    for process in cpu.machine.processes:
        if process.index == cpu.process or (process.state in KEEPING and process.serves == cpu.number):
            process.serves = target
            ring(cpu.machine, cpu.doorbells, process.index)


def _fallback_cpu(cpu: Cpu) -> int:
    """Where everything goes that is inside the kernel here: one CPU for all, another one for each that leaves."""
    active = list(for_each_cpu(cpumask_copy(cpu, Mask.ACTIVE) & cpumask_copy(cpu, Mask.ONLINE) & ~(1 << cpu.number)))
    return active[cpu.number % len(active)]


def _move_runnable(cpu: Cpu, target: int) -> None:
    me, lock = cpu.me, rq_lock(cpu.number, cpu.machine.dims.zones)
    while True:
        raw_spin_lock(cpu, lock, P_RQ_LOCK)
        head = me.rq_head
        if head == NOBODY:
            raw_spin_unlock(cpu, lock)
            return
        task = cpu.machine.tasks[head]
        me.rq_head = task.rq_next
        if task.rq_next == NOBODY:
            me.rq_tail = NOBODY
        me.nr_running -= 1
        task.on_rq = 0
        raw_spin_unlock(cpu, lock)
        _move(cpu, task, target if task.in_kernel else select_task_rq(cpu, task))


def _move_sleeper(cpu: Cpu, task: Task, target: int) -> None:
    lock = rq_lock(cpu.number, cpu.machine.dims.zones)
    raw_spin_lock(cpu, lock, P_RQ_LOCK)
    task.cpu = target
    raw_spin_unlock(cpu, lock)
    count_migration(cpu, task, cpu.number, target)
    if task.deadline_ns:
        add_timer(cpu.machine.cpus[target], task.deadline_ns)


def adopt_sleepers(cpu: Cpu, dead: int) -> None:
    """Take over the tasks that sleep at the border of user mode on a CPU that has died: their timers too.

    Context: CPU_DEAD, after migrate_tasks.  Linux moves timers in hrtimer's and timer's own notifiers.
    """
    for task in cpu.machine.tasks:
        if task.cpu == dead and task.flags & TaskFlag.USER_WAIT and task.state in ASLEEP:
            zones = cpu.machine.dims.zones
            flags = local_irq_save(cpu)
            raw_spin_lock(cpu, rq_lock(dead, zones), P_RQ_LOCK)
            if task.cpu == dead and task.state in ASLEEP:
                task.cpu = cpu.number
                if task.deadline_ns:
                    add_timer(cpu.me, task.deadline_ns)
            raw_spin_unlock(cpu, rq_lock(dead, zones))
            local_irq_restore(cpu, flags)


def tasks_left_on(cpu: Cpu, dead: int) -> list[str]:
    """Tasks of the fair class that are still a dead CPU's.  Context: CPU_DEAD is over; a wake-up moves them at once."""
    zones = cpu.machine.dims.zones
    flags = local_irq_save(cpu)
    raw_spin_lock(cpu, rq_lock(dead, zones), P_RQ_LOCK)
    left = [task.comm for task in cpu.machine.tasks if task.cpu == dead and task.comm
            and task.sched_class == SchedClass.FAIR and task.state not in (TaskState.UNUSED, TaskState.DEAD)]
    raw_spin_unlock(cpu, rq_lock(dead, zones))
    local_irq_restore(cpu, flags)
    return left
