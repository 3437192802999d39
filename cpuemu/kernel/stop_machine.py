"""The stopper threads and stop_machine (Linux: kernel/stop_machine.c, v3.2).

Invariant:     nobody is in state s+1 before every thread has acknowledged s; the last to acknowledge moves on.
Writers:       a stopper's list under its lock; the barrier's state by the last acker; acks atomically.
Steps:         before each acknowledgement and at each wait for the next state.
Not modelled:  stop_machine_from_inactive_cpu; the NMI watchdog (v3.2 does not touch it here either).

Both halves stand here: who asks (__stop_cpus, __stop_machine) and who answers (cpu_stopper_thread,
stop_machine_cpu_stop).  num_threads is num_online_cpus() when asked, apart from the walk that queues the works, as
v3.2 has it: whoever asks without the hotplug lock counts threads that may not be there (zoo 6).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from cpuemu.arch.cpu import Term
from cpuemu.arch.gate import Kind
from cpuemu.events import Event
from cpuemu.kernel import oracles
from cpuemu.kernel.bug import WARN_ON_ONCE
from cpuemu.kernel.cpumask import bits_of, cpumask_copy, cpumask_first, for_each_cpu, num_online_cpus, store_bits
from cpuemu.kernel.hotplug_lock import get_online_cpus, put_online_cpus
from cpuemu.kernel.irqflags import local_irq_disable, local_irq_enable, preempt_disable, preempt_enable
from cpuemu.kernel.mutex import mutex_lock, mutex_unlock
from cpuemu.kernel.page_check import check_page_counts
from cpuemu.kernel.sched import try_to_wake_up, wait_event, wake
from cpuemu.kernel.spinlock import spin_lock_irqsave, spin_unlock_irqrestore
from cpuemu.layout import (
    LOCK_STOP_CPUS,
    NOBODY,
    Counter,
    Mask,
    Op,
    StopDone,
    StopMachine,
    Stopper,
    StopState,
    StopWork,
    TaskState,
    migration_task,
    stopper_lock,
)
from cpuemu.sites import site

if TYPE_CHECKING:
    from cpuemu.arch.cpu import Cpu

StopFunction = Callable[["Cpu", int], int]

P_QUEUE_WORK = site("cpu_stop_queue_work")
P_STOPPER_LOCK = site("cpu_stopper_thread:lock")
P_STOPPER_IDLE = site("cpu_stopper_thread")
P_STOP_CPUS = site("stop_cpus")
P_ONLINE_MASK = site("__stop_cpus:cpu_online_mask")
P_COMPLETION = site("__stop_cpus:wait_for_completion")
P_ACK = site("stop_machine_cpu_stop:ack_state")
P_STATE = site("stop_machine_cpu_stop")
P_SET_STATE = site("set_state")
P_NUM_THREADS = site("__stop_machine:num_online_cpus")

STOP_MACHINE_CPU_STOP = 0
STOP_NOTHING = 1
STOP_FUNCTIONS: list[StopFunction] = []
"""What a stopper can be asked to run; a work carries a number, never code."""


def stop_function(function: StopFunction) -> int:
    """Register a function and return its number.  Called at import, so the number is the same everywhere."""
    STOP_FUNCTIONS.append(function)
    return len(STOP_FUNCTIONS) - 1


# --- works -------------------------------------------------------------------------------------------------


def cpu_stop_queue_work(cpu: Cpu, target: int, work: StopWork) -> None:
    """Queue a work on a CPU's stopper and wake it; a stopper not enabled completes it at once, unexecuted."""
    stopper = cpu.machine.stoppers[target]
    lock = stopper_lock(target, cpu.machine.dims.zones)
    flags = spin_lock_irqsave(cpu, lock, P_QUEUE_WORK)
    if stopper.enabled:
        work.next, work.queued = NOBODY, 1
        if stopper.head == NOBODY:
            stopper.head = work.index
        else:
            cpu.machine.stop_works[stopper.tail].next = work.index
        stopper.tail = work.index
        cpu.ram.fence()
        try_to_wake_up(cpu, migration_task(cpu.machine.dims.cpus, target))
    else:
        cpu_stop_signal_done(cpu, work, executed=False)
    spin_unlock_irqrestore(cpu, lock, flags)


def cpu_stop_signal_done(cpu: Cpu, work: StopWork, executed: bool, ret: int = 0) -> None:
    if work.done == NOBODY:
        return
    done = cpu.machine.stop_done[work.done]
    if executed:
        done.executed = 1
    if ret:
        done.ret = ret
    if cpu.ram.add(done.addr(StopDone.nr_todo), -1) == 0:
        cpu.ram.xchg(done.addr(StopDone.completion), 1)
        wake(cpu, done.addr(StopDone.completion))


def cpu_stopper_thread(cpu: Cpu, number: int) -> None:
    """migration/N: run works in the order they came, with preemption off, above every other task."""
    machine = cpu.machine
    stopper = machine.stoppers[number]
    lock = stopper_lock(number, machine.dims.zones)
    while True:
        wait_event(cpu, P_STOPPER_IDLE, Term(stopper.addr(Stopper.head), Op.NE, NOBODY), state=TaskState.INTERRUPTIBLE)
        flags = spin_lock_irqsave(cpu, lock, P_STOPPER_LOCK)
        work = machine.stop_works[stopper.head]
        stopper.head = work.next
        if work.next == NOBODY:
            stopper.tail = NOBODY
        spin_unlock_irqrestore(cpu, lock, flags)
        preempt_disable(cpu)
        ret = STOP_FUNCTIONS[work.fn](cpu, work.arg)
        preempt_enable(cpu)
        work.queued = 0
        cpu_stop_signal_done(cpu, work, executed=True, ret=ret)


def __stop_cpus(cpu: Cpu, fn: int, arg: int) -> int:
    """Run a function on the stoppers of the CPUs that are online now, and wait for all.  -ENOENT: nobody ran it.

    Context: stop_cpus_mutex held; may sleep.
    """
    machine = cpu.machine
    cpu.point(P_ONLINE_MASK, machine.cpumasks[Mask.ONLINE].base << 2 | 3, Kind.READ)
    mask = cpumask_copy(cpu, Mask.ONLINE)
    done = machine.stop_done[cpu.me.current]
    done.nr_todo, done.executed, done.ret, done.completion = mask.bit_count(), 0, 0, 0
    for target in for_each_cpu(mask):
        work = machine.stop_works[target]
        work.fn, work.arg, work.done = fn, arg, done.index
    # Preemption off, so that our own stopper does not run before every work is queued.
    preempt_disable(cpu)
    for target in for_each_cpu(mask):
        cpu_stop_queue_work(cpu, target, machine.stop_works[target])
    preempt_enable(cpu)
    wait_event(cpu, P_COMPLETION, Term(done.addr(StopDone.completion), Op.EQ, 1))
    return done.ret if done.executed else -2  # ENOENT


# --- the barrier -------------------------------------------------------------------------------------------


def stop_machine(cpu: Cpu, fn: int, data: int, active: int) -> int:
    """``__stop_machine`` for who has not the hotplug lock.  Context: may sleep."""
    get_online_cpus(cpu)
    ret = __stop_machine(cpu, fn, data, active)
    put_online_cpus(cpu)
    return ret


def __stop_machine(cpu: Cpu, fn: int, data: int, active: int) -> int:
    """Run a function on the CPUs of ``active`` while every other CPU stands still with interrupts off.

    ``active`` 0: on the first that is online.  Context: may sleep; CPUs neither go nor come meanwhile (hotplug lock).
    Returns what the function returned.
    """
    machine = cpu.machine
    barrier = machine.stop_machine
    cpu.core.count(Counter.STOP_MACHINE)
    cpu.point(P_NUM_THREADS, machine.cpumasks[Mask.ONLINE].base << 2 | 3, Kind.READ)
    threads = num_online_cpus(cpu)
    # All of the barrier stands on its asker's stack in Linux; here it is one for all, and its asker's from here on.
    mutex_lock(cpu, LOCK_STOP_CPUS, P_STOP_CPUS)
    try:
        barrier.num_threads = threads
        barrier.fn, barrier.data, barrier.fnret = fn, data, 0
        store_bits(barrier.active, active)
        set_state(cpu, StopState.PREPARE)
        return __stop_cpus(cpu, STOP_MACHINE_CPU_STOP, 0)
    finally:
        mutex_unlock(cpu, LOCK_STOP_CPUS)


def set_state(cpu: Cpu, state: StopState) -> None:
    """Move the barrier on: the acks first, then the state, then wake who stands at the old one."""
    barrier = cpu.machine.stop_machine
    barrier.thread_ack = barrier.num_threads
    cpu.core.trace(Event.CPUEMU_STOP_STATE, state, barrier.num_threads)
    cpu.point(P_SET_STATE, barrier.addr(StopMachine.state), Kind.WRITE)
    cpu.ram.xchg(barrier.addr(StopMachine.state), state)
    wake(cpu, barrier.addr(StopMachine.state))


def ack_state(cpu: Cpu) -> None:
    """The last to acknowledge a state moves to the next one."""
    barrier = cpu.machine.stop_machine
    cpu.point(P_ACK, barrier.addr(StopMachine.thread_ack), Kind.WRITE)
    if cpu.ram.add(barrier.addr(StopMachine.thread_ack), -1) == 0:
        set_state(cpu, StopState(barrier.state + 1) if barrier.state < StopState.EXIT else StopState.NONE)


def stop_machine_cpu_stop(cpu: Cpu, arg: int) -> int:
    """One thread's walk through the states.  Context: stopper thread, preemption off."""
    barrier = cpu.machine.stop_machine
    active = bits_of(barrier.active)
    if not active:
        active = 1 << cpumask_first(cpumask_copy(cpu, Mask.ONLINE))
    mine = bool(active >> cpu.number & 1)
    state = int(StopState.NONE)
    error = 0
    while state != StopState.EXIT:
        cpu.wait_until(barrier.addr(StopMachine.state), Op.NE, state, P_STATE)
        state = barrier.state
        if state < StopState.RUN or (state == StopState.RUN and mine):
            _check_online(cpu, state)
        if state == StopState.DISABLE_IRQ:
            local_irq_disable(cpu)
        elif state == StopState.RUN and mine:
            check_page_counts(cpu)
            error = barrier.fnret = STOP_FUNCTIONS[barrier.fn](cpu, barrier.data)
        ack_state(cpu)
    local_irq_enable(cpu)
    return error


def _check_online(cpu: Cpu, state: int) -> None:
    # Until the function runs, nobody comes or goes: this state does not end before we have acknowledged it.
    online, threads = num_online_cpus(cpu), cpu.machine.stop_machine.num_threads
    WARN_ON_ONCE(cpu, online != threads, oracles.ONLINE_CHANGED,
                 f"{online} CPUs are online in state {StopState(state).name} of stop_machine, which stops {threads}")


def nothing(cpu: Cpu, data: int) -> int:
    """What a stop_machine does that only shows that everybody stands still."""
    return 0


assert stop_function(stop_machine_cpu_stop) == STOP_MACHINE_CPU_STOP
assert stop_function(nothing) == STOP_NOTHING


# --- stoppers and hotplug ----------------------------------------------------------------------------------


def cpu_stopper_reset(cpu: Cpu, number: int) -> None:
    """CPU_UP_PREPARE: no works yet."""
    stopper = cpu.machine.stoppers[number]
    lock = stopper_lock(number, cpu.machine.dims.zones)
    flags = spin_lock_irqsave(cpu, lock, P_QUEUE_WORK)
    stopper.head = stopper.tail = NOBODY
    spin_unlock_irqrestore(cpu, lock, flags)


def cpu_stopper_enable(cpu: Cpu, number: int) -> None:
    """CPU_ONLINE: accept works."""
    lock = stopper_lock(number, cpu.machine.dims.zones)
    flags = spin_lock_irqsave(cpu, lock, P_QUEUE_WORK)
    cpu.machine.stoppers[number].enabled = 1
    spin_unlock_irqrestore(cpu, lock, flags)


def cpu_stopper_drain(cpu: Cpu, number: int) -> None:
    """CPU_POST_DEAD, CPU_UP_CANCELED: works left over are completed, not executed."""
    stopper = cpu.machine.stoppers[number]
    lock = stopper_lock(number, cpu.machine.dims.zones)
    flags = spin_lock_irqsave(cpu, lock, P_QUEUE_WORK)
    position = stopper.head
    while position != NOBODY:
        work = cpu.machine.stop_works[position]
        position = work.next
        work.queued = 0
        cpu_stop_signal_done(cpu, work, executed=False)
    stopper.head = stopper.tail = NOBODY
    stopper.enabled = 0
    spin_unlock_irqrestore(cpu, lock, flags)
