"""The scheduler: run queues, sleeping, waking, return to user mode (Linux: kernel/sched.c, v3.2).

Invariant:     a task is on one run queue or on none; ``on_rq`` stays 1 while it runs; a task that is not current
               and not ``in_kernel`` has no stack anywhere, so any CPU can go on with it; the stack of one that is
               ``in_kernel`` stands in ``process``, which runs its steps whatever CPU it belongs to (arch/lending.py).
Writers:       run queue words under rq lock; ``state`` by the task, and by its waker under rq lock.
Steps:         schedule(), wait_event(), the windows of irqflags.
Not modelled:  virtual runtime (round robin instead), priorities among fair tasks (a woken kernel thread goes first),
               pulling tasks from other CPUs.

Classes: the stopper first, then the fair queue, then idle.  With PREEMPT_NONE need_resched is honoured only where
a task calls schedule() (or cond_resched) or returns to user mode; VOLUNTARY adds might_sleep; FULL every point
outside preempt_disable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cpuemu.arch.cpu import Term
from cpuemu.arch.gate import Kind
from cpuemu.events import Event
from cpuemu.kernel import oracles
from cpuemu.kernel.bug import BUG_ON, WARN_ON_ONCE
from cpuemu.kernel.cpumask import cpu_active, cpu_online, cpumask_copy, cpumask_first
from cpuemu.kernel.irqflags import in_interrupt, local_irq_restore, local_irq_save, preemptible
from cpuemu.kernel.spinlock import raw_spin_lock, raw_spin_unlock
from cpuemu.layout import (
    NOBODY,
    Counter,
    Mask,
    Preempt,
    Program,
    SchedClass,
    Task,
    TaskState,
    Vector,
    rq_lock,
)
from cpuemu.layout import Cpu as CpuWords
from cpuemu.sites import site

if TYPE_CHECKING:
    from cpuemu.arch.cpu import Cpu
    from cpuemu.schema import Address

P_RQ_LOCK = site("rq_lock")
P_SCHEDULE = site("schedule")
P_WAKE_UP = site("try_to_wake_up")

SLICE_NS = 4_000_000
ASLEEP = (TaskState.INTERRUPTIBLE, TaskState.UNINTERRUPTIBLE)


def enter_kernel(cpu: Cpu, task: Task) -> None:
    """The current task's kernel stack is in this process from here on, until it returns to user mode."""
    task.process = cpu.process
    task.in_kernel = 1


# --- giving the CPU away -----------------------------------------------------------------------------------


def schedule(cpu: Cpu) -> None:
    """Give the CPU to the next task; returns when this one is chosen again.

    Context: not in interrupt, preemption on.
    """
    task = cpu.current
    if task.preempt_count or in_interrupt(cpu):
        BUG_ON(cpu, True, oracles.SCHEDULING_WHILE_ATOMIC,
               f"BUG: scheduling while atomic: {task.comm}/{task.index}, preempt_count {task.preempt_count}")
    flags = local_irq_save(cpu)
    following = deschedule(cpu, task)
    if following != task.index:
        task.stack = cpu.backtrace()
        cpu.switch_to(following)
    local_irq_restore(cpu, flags)


def schedule_away(cpu: Cpu) -> bool:
    """As schedule(), for a task at the border of user mode: its stack ends here.

    True: the caller must return to the hub at once, touching nothing: the task may already run on another CPU.
    False: there is nobody else to run; go on.  Context: interrupts off.
    """
    task = cpu.current
    return deschedule(cpu, task) != task.index


def deschedule(cpu: Cpu, task: Task) -> int:
    me = cpu.me
    lock = rq_lock(cpu.number, cpu.machine.dims.zones)
    raw_spin_lock(cpu, lock, P_RQ_LOCK)
    me.need_resched = 0
    if task.state != TaskState.RUNNING:
        task.on_rq = 0
    elif task.sched_class == SchedClass.FAIR:
        _link(cpu, cpu.number, task, first=False)
    following = _pick_next_task(cpu)
    if following != task.index:
        cpu.core.trace(Event.SCHED_SWITCH, task.index, task.state, following)
        cpu.core.count(Counter.SWITCHES)
    me.current = following
    me.slice_end_ns = cpu.now() + SLICE_NS
    raw_spin_unlock(cpu, lock)
    return following


def _pick_next_task(cpu: Cpu) -> int:
    me = cpu.me
    stopper = me.stop_task
    if stopper != NOBODY and cpu.machine.tasks[stopper].on_rq:
        return stopper
    head = me.rq_head
    if head == NOBODY:
        return me.idle_task
    task = cpu.machine.tasks[head]
    me.rq_head = task.rq_next
    if task.rq_next == NOBODY:
        me.rq_tail = NOBODY
    me.nr_running -= 1
    return head


def _link(cpu: Cpu, number: int, task: Task, first: bool) -> None:
    queue = cpu.machine.cpus[number]
    task.rq_next = NOBODY
    if queue.rq_head == NOBODY:
        queue.rq_head = queue.rq_tail = task.index
    elif first:
        task.rq_next = queue.rq_head
        queue.rq_head = task.index
    else:
        cpu.machine.tasks[queue.rq_tail].rq_next = task.index
        queue.rq_tail = task.index
    queue.nr_running += 1


# --- preemption --------------------------------------------------------------------------------------------


def preempt_schedule(cpu: Cpu) -> None:
    """need_resched seen at a point: the stopper or a woken thread takes the CPU here, under PREEMPT only."""
    if cpu.header.preempt_model != Preempt.FULL or not preemptible(cpu):
        return
    task = cpu.current
    if task.sched_class != SchedClass.FAIR or task.state != TaskState.RUNNING or not task.in_kernel:
        return  # idle and user mode look for themselves; a task about to sleep calls schedule() anyway
    schedule(cpu)


def cond_resched(cpu: Cpu) -> None:
    """Schedule if somebody else should run: an explicit schedule() in every preemption model (v3.2)."""
    cpu.point(P_SCHEDULE)
    if cpu.me.need_resched and not cpu.current.preempt_count:
        schedule(cpu)


def might_sleep(cpu: Cpu) -> None:
    """Mark a place that may sleep; under PREEMPT_VOLUNTARY it is also a place to be preempted."""
    WARN_ON_ONCE(cpu, in_interrupt(cpu) or bool(cpu.me.irqs_off), oracles.SLEEPING_FUNCTION_CALLED,
                 "BUG: sleeping function called from invalid context")
    if cpu.header.preempt_model == Preempt.VOLUNTARY:
        cond_resched(cpu)


# --- sleeping and waking -----------------------------------------------------------------------------------


def wait_event(cpu: Cpu, why: int, *terms: Term, deadline_ns: int = 0,
               state: TaskState = TaskState.UNINTERRUPTIBLE) -> bool:
    """Sleep inside the kernel until a term holds; False if the deadline came first.

    Context: may sleep.  Who changes a word of ``terms`` calls ``wake``.
    """
    task = cpu.current
    might_sleep(cpu)
    word = terms[0].word if terms else 0
    cpu.point(why, word, Kind.READ)
    waits = False
    while True:
        task.state = state
        cpu.set_wait(task, terms, why, busy=False, deadline_ns=deadline_ns)
        done = bool(terms) and cpu.core.terms_hold(task.index)
        late = bool(deadline_ns) and cpu.now() >= deadline_ns
        if done or late:
            break
        if deadline_ns:
            add_timer(cpu.me, deadline_ns)
        if not waits:
            cpu.trace_wait(Event.CPUEMU_WAIT_BEGIN, why, word, busy=False)
            waits = True
        schedule(cpu)
    task.state = TaskState.RUNNING
    cpu.clear_wait(task)
    if waits:
        cpu.trace_wait(Event.CPUEMU_WAIT_END, why, word, busy=False)
    return done


def wake(cpu: Cpu, word: Address) -> None:
    """Wake whoever waits for ``word``.  Context: the word has been changed."""
    for number in cpu.waiters(word):
        task = cpu.machine.tasks[number]
        if task.busy:
            cpu.ring(task.cpu)
        elif cpu.core.terms_hold(number):
            try_to_wake_up(cpu, number)


def wake_ready(cpu: Cpu) -> None:
    """Wake the sleepers of this CPU whose terms hold: for words that are changed from outside the machine."""
    for number in cpu.core.ready_waiters():
        if cpu.machine.tasks[number].cpu == cpu.number:
            try_to_wake_up(cpu, number)


def try_to_wake_up(cpu: Cpu, number: int) -> bool:
    """Make a sleeping task runnable; False if it was not asleep.  Sends a reschedule interrupt where needed."""
    task = cpu.machine.tasks[number]
    zones = cpu.machine.dims.zones
    flags = local_irq_save(cpu)
    while True:
        where = task.cpu
        raw_spin_lock(cpu, rq_lock(where, zones), P_WAKE_UP)
        if task.cpu == where:
            break
        raw_spin_unlock(cpu, rq_lock(where, zones))
    if task.state not in ASLEEP:
        raw_spin_unlock(cpu, rq_lock(where, zones))
        local_irq_restore(cpu, flags)
        return False
    task.state = TaskState.RUNNING
    if task.on_rq:  # it runs, on its way into schedule(): it will see its state
        raw_spin_unlock(cpu, rq_lock(where, zones))
        local_irq_restore(cpu, flags)
        return True
    target = where if task.in_kernel else select_task_rq(cpu, task)
    if target != where:
        # Asleep at the border of user mode: nobody else can reach it now, its state says RUNNING.
        task.cpu = target
        raw_spin_unlock(cpu, rq_lock(where, zones))
        raw_spin_lock(cpu, rq_lock(target, zones), P_WAKE_UP)
        count_migration(cpu, task, where, target)
    resched = activate(cpu, target, task)
    raw_spin_unlock(cpu, rq_lock(target, zones))
    cpu.core.trace(Event.SCHED_WAKEUP, number, target)
    if resched:
        resched_cpu(cpu, target)
    local_irq_restore(cpu, flags)
    return True


def wake_up_new_task(cpu: Cpu, number: int) -> None:
    """A task that was just made runs for the first time, on the CPU it is bound to."""
    try_to_wake_up(cpu, number)


def activate(cpu: Cpu, target: int, task: Task) -> bool:
    """Put a task on a run queue; whether its CPU must look.  Context: rq lock of ``target``."""
    queue = cpu.machine.cpus[target]
    task.on_rq, task.since_ns = 1, cpu.now()
    if task.sched_class == SchedClass.STOP:
        queue.need_resched = 1
        return True
    thread = task.program == Program.KTHREAD
    _link(cpu, target, task, first=thread)
    running = cpu.machine.tasks[queue.current]
    if running.sched_class == SchedClass.IDLE or (thread and running.program != Program.KTHREAD):
        queue.need_resched = 1
        return True
    return False


def resched_cpu(cpu: Cpu, target: int) -> None:
    """Tell a CPU to look at its run queue (smp_send_reschedule)."""
    if target == cpu.number:
        return
    if not WARN_ON_ONCE(cpu, not cpu_online(cpu, target), oracles.IPI_TO_OFFLINE,
                        f"reschedule interrupt to cpu {target}, which is offline", cpus=(target,)):
        cpu.apic.send(target, Vector.RESCHEDULE, cpu.off)


def scheduler_ipi(cpu: Cpu) -> None:
    """The reschedule interrupt: need_resched is set already; the return from the interrupt looks at it."""


def select_task_rq(cpu: Cpu, task: Task) -> int:
    """Where a task without a stack goes: home if that is active, else where it was, else the first active CPU."""
    if task.home != NOBODY and cpu_active(cpu, task.home):
        return task.home
    if cpu_active(cpu, task.cpu):
        return task.cpu
    active = cpumask_copy(cpu, Mask.ACTIVE) & cpumask_copy(cpu, Mask.ONLINE)
    if not active:
        return 0
    # Spread by number, so that all tasks of a leaving CPU do not end on CPU 0.
    steps = task.index % active.bit_count()
    for _ in range(steps):
        active &= active - 1
    return cpumask_first(active)


def count_migration(cpu: Cpu, task: Task, source: int, target: int) -> None:
    cpu.core.trace(Event.SCHED_MIGRATE_TASK, task.index, source, target)
    cpu.core.count(Counter.TASK_MIGRATIONS)


# --- timers ------------------------------------------------------------------------------------------------


def add_timer(words: CpuWords, deadline_ns: int) -> None:
    """A CPU is to wake one of its tasks at a time.  The timers are the deadlines in the tasks' wait records.

    Context: on that CPU, or nobody runs it.
    """
    if not words.timer_ns or deadline_ns < words.timer_ns:
        words.timer_ns = deadline_ns


def run_timers(cpu: Cpu) -> None:
    """The timer interrupt: wake what is due."""
    due, cpu.me.timer_ns = cpu.core.due_timers(cpu.now())
    for number in due:
        try_to_wake_up(cpu, number)


# --- idle --------------------------------------------------------------------------------------------------


def cpu_idle(cpu: Cpu) -> None:
    """swapper/N: sleep until there is something to run.  Ends (CpuOffline) when this CPU went offline."""
    me = cpu.me
    while True:
        if not cpu_online(cpu, cpu.number):
            raise CpuOffline
        cpu.gate.idle(cpu)
        wake_ready(cpu)
        if me.need_resched:
            schedule(cpu)


class CpuOffline(BaseException):
    """play_dead: this CPU has left the machine."""
