"""CPU hotplug (Linux: kernel/cpu.c and arch/x86/kernel/smpboot.c, v3.2).

Invariant:     cpu_online_mask changes only inside stop_machine (going) or on the CPU itself (coming).
Writers:       masks as cpumask.py says; the hotplug words by the control task under cpu_hotplug.lock.
Steps:         those of the functions called; each row is one message from the coordinator.
Not modelled:  CPU 0 refuses to go, as on x86.  From CPU_DOWN_PREPARE on, tasks leave the CPU at return to user mode;
               those inside the kernel move in take_cpu_down, asleep or not.  v3.2 has no row ``wait_running``.

The rows are the table of the operation.  The coordinator walks it: a row is run by the kernel (the control task on
CPU 0, at the coordinator's interrupt) or by the coordinator itself, the hands outside the machine.  A row that
fails sends the walk back through the ``undo`` of the rows before it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cpuemu.arch.cpu import Term
from cpuemu.events import Event
from cpuemu.faults import NOTIFIERS, Fault
from cpuemu.kernel import oracles
from cpuemu.kernel.bug import BUG_ON, WARN_ON_ONCE
from cpuemu.kernel.cpumask import (
    cpu_online,
    cpumask_clear_cpu,
    cpumask_copy,
    cpumask_first,
    cpumask_set_cpu,
    cpumask_word,
    num_online_cpus,
)
from cpuemu.kernel.hotplug_lock import cpu_hotplug_begin, cpu_hotplug_done
from cpuemu.kernel.hotplug_rows import DOWN_ROWS, UNDO_FLAG, UP_FLAG, UP_ROWS
from cpuemu.kernel.irqflags import preempt_disable, preempt_enable
from cpuemu.kernel.kthread import free_task, kthread_create_on_node, kthread_function
from cpuemu.kernel.mutex import mutex_lock, mutex_unlock
from cpuemu.kernel.page_alloc import page_alloc_cpu_dead
from cpuemu.kernel.rcutree import rcu_offline_cpu, rcu_online_cpu
from cpuemu.kernel.sched import try_to_wake_up, wait_event, wake
from cpuemu.kernel.sched_migrate import adopt_sleepers, migrate_tasks, tasks_left_on
from cpuemu.kernel.stop_machine import (
    __stop_machine,
    cpu_stopper_drain,
    cpu_stopper_enable,
    cpu_stopper_reset,
    cpu_stopper_thread,
    stop_function,
)
from cpuemu.kernel.vmstat import vmstat_cpu_dead, vmstat_cpu_down_failed, vmstat_cpu_down_prepare, vmstat_cpu_online
from cpuemu.layout import (
    LOCK_CPU_ADD_REMOVE,
    NOBODY,
    CpuState,
    Hotplug,
    Mask,
    Op,
    TaskState,
    migration_task,
)
from cpuemu.layout import Cpu as CpuWords
from cpuemu.sites import site

if TYPE_CHECKING:
    from cpuemu.arch.cpu import Cpu

ENOMEM, EBUSY, EINVAL = 12, 16, 22

P_MAPS = site("cpu_maps_update_begin")
P_CPU_UP = site("__cpu_up")
P_RUNNING = site("wait_running")
P_CONTROL = site("control_thread")

UP_TIMEOUT_NS = 10_000_000_000


# --- notifiers ---------------------------------------------------------------------------------------------


def sched_cpu_active(cpu: Cpu, number: int) -> int:
    cpumask_set_cpu(cpu, number, Mask.ACTIVE)
    wake(cpu, cpumask_word(cpu, Mask.ACTIVE, number))
    return 0


def sched_cpu_inactive(cpu: Cpu, number: int) -> int:
    cpumask_clear_cpu(cpu, number, Mask.ACTIVE)
    return 0


def cpu_stop_prepare(cpu: Cpu, number: int) -> int:
    """The stopper thread is made by kthreadd: the control task waits for it with the hotplug lock held."""
    cpu_stopper_reset(cpu, number)
    task = migration_task(cpu.machine.dims.cpus, number)
    error = kthread_create_on_node(cpu, FN_STOPPER, number, f"migration/{number}", number, task)
    if not error:
        cpu.machine.cpus[number].stop_task = task
    return error


def cpu_stop_online(cpu: Cpu, number: int) -> int:
    cpu_stopper_enable(cpu, number)
    try_to_wake_up(cpu, migration_task(cpu.machine.dims.cpus, number))
    return 0


def cpu_stop_cancel(cpu: Cpu, number: int) -> int:
    """CPU_UP_CANCELED and CPU_POST_DEAD: the thread ends; works left over are completed unexecuted."""
    cpu_stopper_drain(cpu, number)
    cpu.machine.cpus[number].stop_task = NOBODY
    task = migration_task(cpu.machine.dims.cpus, number)
    if cpu.machine.tasks[task].state != TaskState.UNUSED:
        free_task(cpu, task)
    return 0


def migration_dead(cpu: Cpu, number: int) -> int:
    adopt_sleepers(cpu, number)
    return 0


def page_alloc_dead(cpu: Cpu, number: int) -> int:
    page_alloc_cpu_dead(cpu, number)
    return 0


Notifier = Callable[["Cpu", int], int]

CPU_UP_PREPARE: tuple[Notifier, ...] = (cpu_stop_prepare, rcu_online_cpu)
CPU_UP_CANCELED: tuple[Notifier, ...] = (cpu_stop_cancel, rcu_offline_cpu)
CPU_ONLINE: tuple[Notifier, ...] = (sched_cpu_active, cpu_stop_online, vmstat_cpu_online)
CPU_DOWN_PREPARE: tuple[Notifier, ...] = (vmstat_cpu_down_prepare, sched_cpu_inactive)
CPU_DOWN_FAILED: tuple[Notifier, ...] = (sched_cpu_active, vmstat_cpu_down_failed)
CPU_DEAD: tuple[Notifier, ...] = (migration_dead, page_alloc_dead, vmstat_cpu_dead, rcu_offline_cpu)
CPU_POST_DEAD: tuple[Notifier, ...] = (cpu_stop_cancel,)
"""In order of their priority: the scheduler's first going up and last going down, the stopper's before the allocator's.
"""


def call_chain(cpu: Cpu, chain: tuple[Notifier, ...], number: int) -> int:
    """Call every notifier; stop at the first error and return it."""
    for notifier in chain:
        error = notifier(cpu, number)
        if error:
            return error
    return 0


def notifier_error_inject(cpu: Cpu, event: str, number: int) -> int:
    """The notifier that fails on purpose (Linux: cpu-notifier-error-inject), behind those of a higher priority."""
    faults, bit = cpu.faults, NOTIFIERS.index(event)
    if faults is None or not faults.arguments[Fault.FAILING_NOTIFIER] >> bit & 1:
        return 0
    return -ENOMEM if faults.strike(Fault.FAILING_NOTIFIER, number, bit) else 0


# --- rows run by the control task --------------------------------------------------------------------------


def down_begin(cpu: Cpu, number: int) -> int:
    mutex_lock(cpu, LOCK_CPU_ADD_REMOVE, P_MAPS)
    error = -EBUSY if num_online_cpus(cpu) == 1 else -EINVAL if not cpu_online(cpu, number) else 0
    if error:
        mutex_unlock(cpu, LOCK_CPU_ADD_REMOVE)
        return error
    cpu_hotplug_begin(cpu)
    return 0


def up_begin(cpu: Cpu, number: int) -> int:
    mutex_lock(cpu, LOCK_CPU_ADD_REMOVE, P_MAPS)
    if cpu_online(cpu, number):
        mutex_unlock(cpu, LOCK_CPU_ADD_REMOVE)
        return -EINVAL
    cpu_hotplug_begin(cpu)
    return 0


def end(cpu: Cpu, number: int) -> int:
    cpu_hotplug_done(cpu)
    mutex_unlock(cpu, LOCK_CPU_ADD_REMOVE)
    return 0


def hotplug_done(cpu: Cpu, number: int) -> int:
    cpu_hotplug_done(cpu)
    return 0


def down_prepare(cpu: Cpu, number: int) -> int:
    # sched_cpu_inactive has the lowest priority of all: when the one before it fails, nothing is to be taken back.
    return notifier_error_inject(cpu, "CPU_DOWN_PREPARE", number) or call_chain(cpu, CPU_DOWN_PREPARE, number)


def down_failed(cpu: Cpu, number: int) -> int:
    return call_chain(cpu, CPU_DOWN_FAILED, number)


def take_down(cpu: Cpu, number: int) -> int:
    """__stop_machine(take_cpu_down) on the leaving CPU."""
    error = __stop_machine(cpu, FN_TAKE_CPU_DOWN, number, 1 << number)
    if not error:
        BUG_ON(cpu, cpu_online(cpu, number), oracles.ONLINE_AFTER_TAKE_DOWN,
               f"cpu {number} is online after take_cpu_down")
    return error


def cpu_dead(cpu: Cpu, number: int) -> int:
    error = call_chain(cpu, CPU_DEAD, number)
    BUG_ON(cpu, bool(error), oracles.CPU_DEAD_FAILED, f"a CPU_DEAD notifier failed for cpu {number}")
    machine = cpu.machine
    left = sum(machine.pcp(number, zone).count for zone in range(machine.dims.zones))
    WARN_ON_ONCE(cpu, bool(left), oracles.PAGES_ON_DEAD_CPU,
                 f"{left} pages are left on the lists of cpu {number}, which died")
    WARN_ON_ONCE(cpu, machine.single_queues[number].head != NOBODY, oracles.CALLS_ON_DEAD_CPU,
                 f"calls are left on the queue of cpu {number}, which died")
    lost = tasks_left_on(cpu, number)
    BUG_ON(cpu, bool(lost), oracles.TASK_LOST, f"task {', '.join(lost)} is on cpu {number}, which died")
    return 0


def post_dead(cpu: Cpu, number: int) -> int:
    call_chain(cpu, CPU_POST_DEAD, number)
    WARN_ON_ONCE(cpu, cpu.machine.stoppers[number].head != NOBODY, oracles.WORKS_ON_DEAD_CPU,
                 f"works are left on the stopper of cpu {number}, which died")
    mutex_unlock(cpu, LOCK_CPU_ADD_REMOVE)
    return 0


def up_prepare(cpu: Cpu, number: int) -> int:
    error = call_chain(cpu, CPU_UP_PREPARE, number)
    if not error and (error := notifier_error_inject(cpu, "CPU_UP_PREPARE", number)):
        call_chain(cpu, CPU_UP_CANCELED, number)  # only those that were called before the one that failed
    return error


def up_canceled(cpu: Cpu, number: int) -> int:
    return call_chain(cpu, CPU_UP_CANCELED, number)


def cpu_up(cpu: Cpu, number: int) -> int:
    """__cpu_up and CPU_ONLINE: let the new CPU go on, wait on this CPU until it is online, make it active.

    One row, as one call of _cpu_up: between online and active the new CPU takes no interrupts, so this CPU must not go
    to a task that calls it.  Preemption is off for that reason: Linux has it on, and its balancer to pull the control
    task away, which is not modelled.
    """
    cpumask_set_cpu(cpu, number, Mask.CALLOUT)
    wake(cpu, cpumask_word(cpu, Mask.CALLOUT, number))
    preempt_disable(cpu)
    online, bit = cpumask_word(cpu, Mask.ONLINE, number), 1 << number % 64
    cpu.wait_until(online, Op.MASK_SET, bit, P_CPU_UP, deadline_ns=cpu.now() + UP_TIMEOUT_NS)
    came = cpu_online(cpu, number)
    cpumask_clear_cpu(cpu, number, Mask.CALLOUT)
    error = call_chain(cpu, CPU_ONLINE, number) if came else -EINVAL
    preempt_enable(cpu)
    return error


def wait_running(cpu: Cpu, number: int) -> int:
    """Ours: until the new CPU takes interrupts.

    v3.2 goes on at once: a CPU that its host stops in start_secondary, and that is taken down again meanwhile, never
    sees itself active and hangs the next stop_machine.  Real in a guest, but nothing that a run here is about.
    """
    state = cpu.machine.cpus[number].addr(CpuWords.state)
    wait_event(cpu, P_RUNNING, Term(state, Op.EQ, CpuState.RUNNING))
    return 0


# --- what the CPU itself runs ------------------------------------------------------------------------------


def take_cpu_down(cpu: Cpu, number: int) -> int:
    """On the leaving CPU, everybody stopped, interrupts off: __cpu_disable, then CPU_DYING."""
    if number == 0:
        return -EBUSY  # native_cpu_disable: the boot CPU's interrupts cannot be moved
    cpumask_clear_cpu(cpu, number, Mask.ONLINE)
    cpu.core.trace(Event.CPUEMU_CPU_OFFLINE, number, cpu.me.generation)
    migrate_tasks(cpu)
    return 0


# --- the table ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One step of an operation.  ``run`` and ``undo`` are the kernel's; a row without ``run`` is the coordinator's."""

    name: str
    step: int
    run: Notifier | None
    undo: Notifier | None = None


START_PROCESS = "start_process"
TAKE_PROCESS = "take_process"

DOWN: tuple[Row, ...] = (
    Row("cpu_hotplug_begin", 90, down_begin, end),
    Row("CPU_DOWN_PREPARE", 80, down_prepare, down_failed),
    Row("take_cpu_down", 60, take_down),
    Row(TAKE_PROCESS, 50, None),
    Row("CPU_DEAD", 40, cpu_dead),
    Row("cpu_hotplug_done", 30, hotplug_done),
    Row("CPU_POST_DEAD", 20, post_dead),
)
UP: tuple[Row, ...] = (
    Row("cpu_hotplug_begin", 30, up_begin, end),
    Row("CPU_UP_PREPARE", 40, up_prepare, up_canceled),
    Row(START_PROCESS, 50, None),
    Row("__cpu_up", 60, cpu_up),
    Row("wait_running", 85, wait_running),
    Row("cpu_hotplug_done", 90, end),
)
OFFLINE_STEP, ONLINE_STEP = 10, 100

assert (tuple(row.name for row in DOWN), tuple(row.name for row in UP)) == (DOWN_ROWS, UP_ROWS)


def control_thread(cpu: Cpu, arg: int) -> None:
    """The control task: run the rows that the coordinator asks for, one after the other."""
    hotplug = cpu.machine.hotplug
    request = hotplug.addr(Hotplug.request)
    seen = 0
    while True:
        wait_event(cpu, P_CONTROL, Term(request, Op.NE, seen))
        seen = hotplug.request
        hotplug.result = _run_row(cpu, seen >> 32, hotplug.cpu)
        cpu.ram.xchg(hotplug.addr(Hotplug.answer), seen & 0xFFFFFFFF)
        cpu.ring_coordinator()


def _run_row(cpu: Cpu, code: int, number: int) -> int:
    up = bool(code & UP_FLAG)
    row = (UP if up else DOWN)[code & 0xFF]
    action = row.undo if code & UNDO_FLAG else row.run
    assert action is not None
    cpu.core.trace(Event.CPUHP_ENTER, number, ONLINE_STEP if up else OFFLINE_STEP, row.step, ROW_SITES[row.name])
    result = action(cpu, number)
    cpu.core.trace(Event.CPUHP_EXIT, number, row.step, row.step, result & 0xFFFFFFFF)
    return result


ROW_SITES = {row.name: site(f"hotplug:{row.name}") for row in DOWN + UP}
FN_STOPPER = kthread_function("cpu_stopper_thread", cpu_stopper_thread)
FN_CONTROL = kthread_function("control_thread", control_thread)
FN_TAKE_CPU_DOWN = stop_function(take_cpu_down)


def first_online(cpu: Cpu) -> int:
    return cpumask_first(cpumask_copy(cpu, Mask.ONLINE))
