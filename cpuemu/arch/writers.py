"""Who may write what: the rule behind each text of the declaration's column "writer".

A rule is asked with the CPU that writes, and the write: who its task is, which locks it holds, what its last point has
declared.  checked.py holds every write against it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cpuemu.layout import (
    HELD_PAGES,
    LOCK_CALL_FUNCTION,
    LOCK_CPU_HOTPLUG,
    LOCK_KTHREAD,
    LOCK_RCU,
    LOCK_STOP_CPUS,
    CpuState,
    Latency,
    Machine,
    Mask,
    SchedClass,
    TaskState,
    control_task,
    kswapd_task,
    kthreadd_task,
    lru_lock,
    rq_lock,
    single_queue_lock,
    stopper_lock,
    zone_lock,
)
from cpuemu.schema import Address, Word


@dataclass(slots=True)
class Write:
    """One store or atomic operation: the word, and its place."""

    address: Address
    region: str
    element: int
    word: Word
    part: int
    atomic: bool


class Writer:
    """The CPU that this process runs, as the rules look at it.  ``machine``: the same RAM, unchecked."""

    def __init__(self, machine: Machine, number: int, process: int) -> None:
        self.machine, self.process, self.zones = machine, process, machine.dims.zones
        self.become(number)

    def become(self, number: int) -> None:
        """The process runs another CPU from now on."""
        self.number, self.me = number, self.machine.cpus[number]

    @property
    def current(self) -> int:
        return self.me.current

    def holds(self, *locks: int) -> bool:
        """Whether this CPU holds one of these spinlocks."""
        mine = (self.number + 1) | (self.me.generation & 0x7FFF) << 16
        return any(self.machine.locks[lock].word & 0x7FFFFFFF == mine for lock in locks)

    def owns(self, mutex: int) -> bool:
        """Whether the current task owns this sleeping lock."""
        return self.machine.locks[mutex].word == self.current + 1

    def declared(self, write: Write) -> bool:
        return write.atomic and self.me.point_word == write.address

    def booting(self) -> bool:
        return self.me.state != CpuState.RUNNING


Rule = Callable[[Writer, Write], bool]

# --- who -------------------------------------------------------------------------------------------------------------


def the_process(who: Writer, write: Write) -> bool:
    return write.element == who.process


def who_has_it(who: Writer, write: Write) -> bool:
    """The CPU's runner, which hands it on."""
    return write.atomic and who.machine.cpus[write.element].runner == who.process


def outside(who: Writer, write: Write) -> bool:
    """Written from outside of the machine only: never by a CPU."""
    return False


def found_first(who: Writer, write: Write) -> bool:
    """A fatal finding freezes the rings first."""
    return bool(who.machine.header.frozen)


def anyone(who: Writer, write: Write) -> bool:
    return True


def atomically(who: Writer, write: Write) -> bool:
    return write.atomic


def declared(who: Writer, write: Write) -> bool:
    return who.declared(write)


def announced(who: Writer, write: Write) -> bool:
    """A plain store, to the word that the last point has declared."""
    return who.me.point_word == write.address


def the_cpu(who: Writer, write: Write) -> bool:
    element = write.element // Latency.NR if write.region == "histograms" else write.element
    return element == who.number


def kgdb_master(who: Writer, write: Write) -> bool:
    return who.machine.kgdb.active == who.number + 1


def starts_another_kernel(who: Writer, write: Write) -> bool:
    return who.machine.kexec.owner == who.number + 1


def the_task(who: Writer, write: Write) -> bool:
    """The task runs on this CPU, or its stack is here and it is about to let go."""
    task = write.element // who.machine.dims.cpus if write.region == "page_operations" else write.element
    if write.region == "streams":
        task = who.machine.streams[write.element].task
    return task == who.current or who.machine.tasks[task].cpu == who.number


def creator(who: Writer, write: Write) -> bool:
    """Nobody else knows the task yet, or any more; the idle task is its CPU's from power-on."""
    if write.region != "tasks":
        return False
    task = who.machine.tasks[write.element]
    return task.state in (TaskState.UNUSED, TaskState.DEAD) or (write.element == who.number and who.booting())


def sender(who: Writer, write: Write) -> bool:
    if write.region == "cfds":
        return write.element == who.number
    # A CPU's own csd is whose has locked it: its word does not say who that is.
    locked = write.element < who.machine.dims.cpus and bool(who.machine.csds[write.element].flags)
    return locked or write.element in (who.number, who.machine.tasks[who.current].csd)


def run_queue(who: Writer, write: Write) -> bool:
    if write.region == "cpus":
        return who.holds(rq_lock(write.element, who.zones)) or (write.element == who.number and who.booting())
    return who.holds(*(rq_lock(cpu, who.zones) for cpu in range(who.machine.dims.cpus)))


def a_stopper(who: Writer, write: Write) -> bool:
    """The current task is a stopper thread, or a stopper's lock is held."""
    if who.machine.tasks[who.current].sched_class == SchedClass.STOP:
        return True
    return who.holds(*(stopper_lock(cpu, who.zones) for cpu in range(who.machine.dims.cpus)))


def a_queue_lock(who: Writer, write: Write) -> bool:
    return who.holds(*(single_queue_lock(cpu, who.zones) for cpu in range(who.machine.dims.cpus)))


def task_named(which: Callable[[int], int]) -> Rule:
    return lambda who, write: who.current == which(who.machine.dims.cpus)


def boot_cpu(who: Writer, write: Write) -> bool:
    return who.number == 0 and who.booting()


def spinlock(which: Callable[[Writer, Write], int]) -> Rule:
    return lambda who, write: who.holds(which(who, write))


def mutex(lock: int) -> Rule:
    return lambda who, write: who.owns(lock)


def either(*rules: Rule) -> Rule:
    return lambda who, write: any(rule(who, write) for rule in rules)


def both(*rules: Rule) -> Rule:
    return lambda who, write: all(rule(who, write) for rule in rules)


def lock_holder(who: Writer, write: Write) -> bool:
    return who.holds(write.element) or who.owns(write.element)


def interrupts_off(who: Writer, write: Write) -> bool:
    return bool(who.me.irqs_off)


def own_list(who: Writer, write: Write) -> bool:
    owner = write.element // who.zones
    return owner == who.number or not who.machine.cpumasks[Mask.ONLINE].bits[owner // 64] >> owner % 64 & 1


def its_task(who: Writer, write: Write) -> bool:
    """Of a held page, or of a replay's stream."""
    if write.region == "held_pages":
        return write.element // HELD_PAGES == who.current
    return the_task(who, write)


def raised_by_us(who: Writer, write: Write) -> bool:
    pending = who.machine.cpus[write.element].pending[write.part]
    return pending & 0xFFFF == who.number + 1


def waits_for_works(who: Writer, write: Write) -> bool:
    return write.element == who.current


# --- by the text of the declaration ----------------------------------------------------------------------------------

control = task_named(control_task)
kthreadd = task_named(kthreadd_task)
kswapd = task_named(kswapd_task)

RULES: Mapping[str, Rule] = {
    "launcher": outside,
    "coordinator": outside,
    "tests": outside,
    "any CPU, atomically": atomically,
    "waiters, atomically": atomically,
    "by compare-and-swap": atomically,
    "the CPU": the_cpu,
    "the zygote; the CPU's process": the_cpu,
    "the CPU (scheduler)": the_cpu,
    "the CPU; a dying CPU's stopper": either(the_cpu, a_stopper),
    "a dying CPU's stopper": a_stopper,
    "the CPU's borrower": the_cpu,
    "who has the CPU": who_has_it,
    "the process": the_process,
    "coordinator; the process": the_process,
    "the zygote; the process": the_process,
    "the CPU; of offline and online: coordinator": the_cpu,
    "coordinator; STARTING to RUNNING the CPU": the_cpu,
    "the CPU, atomically": both(the_cpu, declared),
    "who starts another kernel": both(starts_another_kernel, declared),
    "the debugger's master": both(kgdb_master, declared),
    "rq lock": either(run_queue, creator),
    "rq lock, or the CPU": either(run_queue, the_cpu),
    "by compare-and-swap; cleared by the CPU": either(declared, both(the_cpu, atomically)),
    "the source": raised_by_us,
    "creator": creator,
    "creator, the task": either(creator, the_task),
    "the task": either(the_task, creator),
    "the waiting task": either(the_task, creator),
    "batch loop": the_task,
    "the task's program": either(the_task, creator),
    "the task; waker under rq lock": either(the_task, run_queue, creator),
    "the task, its waker, the OOM killer: atomically": either(atomically, creator),
    "the task, and whoever frees its pages: atomically": atomically,
    "its task": its_task,
    "the task that runs the operation": anyone,
    "the sender": sender,
    "the sender locks, the receiver unlocks": declared,
    "the sender locks, the last receiver unlocks": declared,
    "the sender, then receivers atomically": either(sender, declared),
    "the sender, then receivers clear their bit": either(sender, declared),
    "the sender, then the queue's lock": either(sender, a_queue_lock),
    "its lock": spinlock(lambda who, write: single_queue_lock(write.element, who.zones)),
    "rcu lock": spinlock(lambda who, _: LOCK_RCU),
    "call_function.lock": spinlock(lambda who, _: LOCK_CALL_FUNCTION),
    "zone lock": spinlock(lambda who, write: zone_lock(write.element)),
    "lru lock": spinlock(lambda who, write: lru_lock(write.element)),
    "its CPU, irqs off; for a dead CPU whoever runs CPU_DEAD": both(own_list, interrupts_off),
    "launcher; percpu_pagelist_fraction, without a lock": announced,
    "the holder": lock_holder,
    "stopper lock": a_stopper,
    "stopper lock, the stopper": a_stopper,
    "the queuer": mutex(LOCK_STOP_CPUS),
    "the workers": either(a_stopper, waits_for_works),
    "the workers, atomically": either(both(atomically, a_stopper), waits_for_works),
    "the last worker": either(both(atomically, a_stopper), waits_for_works),
    "the requester": mutex(LOCK_STOP_CPUS),
    "the requester, then the last acker": either(declared, mutex(LOCK_STOP_CPUS)),
    "the requester, then the threads atomically": either(a_stopper, mutex(LOCK_STOP_CPUS)),
    "an active CPU": either(a_stopper, mutex(LOCK_STOP_CPUS)),
    "kthread_create_lock": mutex(LOCK_KTHREAD),
    "kthread_create_lock, then kthreadd": either(mutex(LOCK_KTHREAD), kthreadd),
    "cpu_hotplug.lock": mutex(LOCK_CPU_HOTPLUG),
    "control task": control,
    "control task (kthreadd's creation), the boot CPU": either(control, boot_cpu),
    "the boot CPU": boot_cpu,
    "the writer": control,
    "the dying CPU": anyone,
    "kthreadd": kthreadd,
    "kswapd": kswapd,
    "wakeup_kswapd": anyone,
    "kswapd; its waker by compare-and-swap": either(kswapd, atomically),
    "kswapd; zone lock": either(kswapd, spinlock(lambda who, write: zone_lock(write.element))),
    "lru lock; zone lock": outside,
    "any CPU, without a lock": anyone,
    "CPU_ONLINE and CPU_DEAD": either(control, boot_cpu),
    "CPU_ONLINE and CPU_DEAD, kswapd": either(control, boot_cpu, kswapd),
    "the CPU; its hotplug notifiers": either(the_cpu, control),
    "coordinator; FAILED whoever found first": found_first,
    "whoever found first": anyone,
    "whoever found it, last": atomically,
    "finder": anyone,
    "a dying CPU": anyone,
    "see cpumask.py: each mask has its own rule": declared,
    "zone lock, or the pcp list's CPU with irqs off, or the owner": outside,
    "as state": outside,
    "the drainers, atomically": atomically,
    "the drainers, by compare-and-swap": atomically,
    "the CPUs that its drain reaches, atomically": either(atomically, the_task),
    "who is about to OOM, atomically": atomically,
    "who is about to OOM, last": anyone,
    "as done": anyone,
    "the OOM killer": anyone,
    "who sets the bit": anyone,
    "who sets the bit of `after`": anyone,
    "the killer, by compare-and-swap": atomically,
    "who strikes, by compare-and-swap": atomically,
}
"""What each text of layout.py's column "writer" means; ``outside``, too, what only the compiled leaves write.

A word whose text is not here cannot be declared (a test).
"""
