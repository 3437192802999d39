"""THE declaration of every rule that a machine is held to: who reports, names a rule from here.

Invariant:     a rule has one name, one severity, and a mutant in tests/mutants.py that makes it fire.
Writers:       none.
Steps:         none.
Not modelled:  rules that can be switched off: all of them are always on.

``docs/oracles.md`` is written from this file.  ``linux`` is the text that Linux prints, and where; "" when the rule is
ours: Linux has no such check.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cpuemu.layout import Severity

WARN, FATAL, HOST = Severity.WARN, Severity.FATAL, Severity.HOST


@dataclass(frozen=True)
class Rule:
    """What an oracle holds the machine to.  ``says``: what is wrong when it fires."""

    name: str
    topic: str
    severity: Severity
    says: str
    linux: str = ""


_declared: list[Rule] = []


def _rule(topic: str, name: str, severity: Severity, says: str, linux: str = "") -> Rule:
    rule = Rule(name, topic, severity, says, linux)
    _declared.append(rule)
    return rule


# --- pages -------------------------------------------------------------------------------------------------

PAGES = "pages"
PAGE_CONSERVATION = _rule(
    PAGES, "page-conservation", FATAL,
    "the audit at power-off finds a page that is nowhere, twice somewhere, or not what its record says")
PAGE_COUNT = _rule(
    PAGES, "page-count", FATAL,
    "with everybody stopped by stop_machine, free pages, pages on pcp lists and allocated pages are not all pages")
PAGE_ON_TWO_LISTS = _rule(
    PAGES, "page-on-two-lists", FATAL, "the audit finds a page on two lists, or twice on one")
LIST_COUNT = _rule(
    PAGES, "list-count", FATAL, "the audit finds a list whose counter is not the number of its links")
DOUBLE_FREE = _rule(
    PAGES, "double-free", FATAL, "a page is freed that is free already",
    "mm/page_alloc.c: \"BUG: Bad page state in process …\"")
DOUBLE_ALLOC = _rule(
    PAGES, "double-alloc", FATAL, "a page is handed out that is allocated already",
    "mm/page_alloc.c, check_new_page: \"BUG: Bad page state in process …\"")
LIST_CORRUPTION = _rule(
    PAGES, "list-corruption", FATAL, "a page is taken off a list whose links do not lead to it and on",
    "lib/list_debug.c: \"list_del corruption\"")
BAD_PAGE = _rule(
    PAGES, "bad-page", FATAL, "a page is freed with a wrong order, or a list holds a page that is not what it says",
    "mm/page_alloc.c: \"BUG: Bad page state in process …\"")
PAGES_ON_DEAD_CPU = _rule(
    PAGES, "pages-on-dead-cpu", WARN, "pages are left on the lists of a CPU that is offline")
OOM_NOTHING_TO_KILL = _rule(
    PAGES, "oom-nothing-to-kill", FATAL, "memory is out, and no task is left that could be killed",
    "mm/oom_kill.c: \"Kernel panic - not syncing: Out of memory and no killable processes...\"")

# --- interrupts and calls ----------------------------------------------------------------------------------

CALLS = "interrupts and calls"
IPI_TO_OFFLINE = _rule(
    CALLS, "ipi-to-offline", WARN, "an interrupt is sent to a CPU that is not online",
    "arch/x86/kernel/smp.c, native_smp_send_reschedule and native_send_call_func_single_ipi: WARN_ON(cpu_is_offline)")
IPI_ON_OFFLINE = _rule(
    CALLS, "ipi-on-offline", WARN, "a call interrupt is taken on a CPU that is not online",
    "kernel/smp.c: WARN_ON_ONCE(!cpu_online(cpu)); since v4.12 \"IPI on offline CPU %d\"")
IPI_LOST = _rule(
    CALLS, "ipi-lost", FATAL, "an interrupt was raised long ago, and nothing that could bring its frame is awake")
EMPTY_IPI_MASK = _rule(
    CALLS, "empty-ipi-mask", WARN, "an interrupt is sent to no CPU at all",
    "arch/x86/kernel/apic/ipi.c: \"empty IPI mask\"")
SMP_CALL_IRQS_OFF = _rule(
    CALLS, "smp-call-irqs-off", WARN, "another CPU is called with interrupts off: two that do it wait for ever",
    "kernel/smp.c: WARN_ON_ONCE(cpu_online(this_cpu) && irqs_disabled() && …)")
SMP_CALL_IN_INTERRUPT = _rule(
    CALLS, "smp-call-in-interrupt", WARN, "another CPU is called from an interrupt handler",
    "kernel/smp.c, since v5.3: WARN_ON_ONCE(!in_task())")
STALE_FRAME = _rule(
    CALLS, "stale-frame", WARN, "an interrupt is taken that was sent to an earlier life of this CPU")
CSD_LOCKED_TWICE = _rule(
    CALLS, "csd-locked-twice", WARN, "a csd is locked by one who did not wait for the one before")
CSD_UNLOCKED_TWICE = _rule(
    CALLS, "csd-unlocked-twice", WARN, "a csd is unlocked that is not locked",
    "kernel/smp.c, csd_unlock: WARN_ON(!(data->flags & CSD_FLAG_LOCK))")
CSD_REUSED = _rule(
    CALLS, "csd-reused", WARN, "a csd is filled anew while it is queued: a CPU runs what was meant for another")
CSD_WAIT_IRQS_OFF = _rule(
    CALLS, "csd-wait-irqs-off", WARN, "a csd is waited for with interrupts off")
CSD_LOCK_WAIT = _rule(
    CALLS, "csd-lock-wait", FATAL, "a called CPU does not answer",
    "kernel/smp.c, since v5.10: \"csd: Detected non-responsive CSD lock\"")
CFD_REUSED = _rule(
    CALLS, "cfd-reused", FATAL, "a block is filled anew that receivers still refer to",
    "kernel/smp.c: BUG_ON(atomic_read(&data->refs) || !cpumask_empty(data->cpumask))")
CSD_DOUBLE_EXECUTED = _rule(
    CALLS, "csd-double-executed", WARN, "a CPU has run a block's function twice",
    "kernel/smp.c: \"%pf enabled interrupts and double executed\"")
REFS_NEGATIVE = _rule(
    CALLS, "refs-negative", WARN, "more receivers than were asked have run a block", "kernel/smp.c: WARN_ON(refs < 0)")
REFS_MASK = _rule(
    CALLS, "refs-mask", WARN, "no receiver is missing, and the mask still names one",
    "kernel/smp.c: WARN_ON(!cpumask_empty(data->cpumask))")
CALL_LIST_CORRUPTION = _rule(
    CALLS, "call-list-corruption", WARN, "a block is taken off the queue of call blocks, and it is not on it",
    "lib/list_debug.c: \"list_del corruption\"")
CALLS_ON_DEAD_CPU = _rule(
    CALLS, "calls-on-dead-cpu", WARN, "calls are left on the queue of a CPU that is offline")

# --- hotplug and stop_machine ------------------------------------------------------------------------------

HOTPLUG = "hotplug and stop_machine"
CPUMASK_CHECK = _rule(
    HOTPLUG, "cpumask-check", WARN, "a CPU number beyond the possible ones is looked up in a mask",
    "include/linux/cpumask.h: WARN_ON_ONCE(cpu >= nr_cpumask_bits)")
ARRAY_INDEX = _rule(
    HOTPLUG, "array-index", WARN, "the entry of a CPU that cannot be is looked up in an array with one a CPU",
    "lib/ubsan.c, since v4.5: \"UBSAN: array-index-out-of-bounds in …\"")
ONLINE_AFTER_TAKE_DOWN = _rule(
    HOTPLUG, "online-after-take-down", FATAL, "take_cpu_down said it was done, and the CPU is online",
    "kernel/cpu.c: BUG_ON(cpu_online(cpu))")
CPU_DEAD_FAILED = _rule(
    HOTPLUG, "cpu-dead-failed", FATAL, "a CPU_DEAD notifier failed, when nothing may fail any more",
    "kernel/cpu.c, cpu_notify_nofail: BUG_ON(err)")
ONLINE_CHANGED = _rule(
    HOTPLUG, "online-changed", WARN, "num_online_cpus() changed inside of stop_machine, or was not what it stopped")
WORKS_ON_DEAD_CPU = _rule(
    HOTPLUG, "works-on-dead-cpu", WARN, "works are left on the stopper of a CPU that is offline: their askers wait on")
TASK_LOST = _rule(
    HOTPLUG, "task-lost", HOST, "a task is left on a CPU that has died: a defect of the emulator",
    "kernel/cpu.c, check_for_tasks: \"Task %s (pid = %d) is on cpu %d\"")
STOP_MACHINE_STUCK = _rule(
    HOTPLUG, "stop-machine-stuck", FATAL, "the barrier of stop_machine does not move on")

# --- locks and scheduling ----------------------------------------------------------------------------------

LOCKS = "locks and scheduling"
DEADLOCK = _rule(
    LOCKS, "deadlock", FATAL,
    "a cycle of waits that nobody outside of it can end: locks, csds, the barrier, the hotplug lock, the scheduler")
OWNER_DIED = _rule(
    LOCKS, "owner-died", FATAL, "a CPU's process died, and the CPU holds a lock")
MUTEX_NOT_OWNER = _rule(
    LOCKS, "mutex-not-owner", FATAL, "a mutex is unlocked by a task that does not own it",
    "kernel/mutex-debug.c: DEBUG_LOCKS_WARN_ON(lock->owner != current)")
SCHEDULING_WHILE_ATOMIC = _rule(
    LOCKS, "scheduling-while-atomic", FATAL, "schedule() with preemption off or in an interrupt",
    "kernel/sched.c: \"BUG: scheduling while atomic\"")
SLEEPING_FUNCTION_CALLED = _rule(
    LOCKS, "sleeping-function-called", WARN, "a function that may sleep is called with interrupts off or in one",
    "kernel/sched.c: \"BUG: sleeping function called from invalid context\"")

LOCK_ORDER = _rule(
    LOCKS, "lock-order", WARN, "two locks are taken in both orders: that can deadlock, though it has not",
    "kernel/lockdep.c: \"possible circular locking dependency detected\"")
RECURSIVE_LOCK = _rule(
    LOCKS, "recursive-lock", WARN, "a lock is taken by who holds one of its kind already",
    "kernel/lockdep.c: \"possible recursive locking detected\"")
IRQ_UNSAFE_LOCK = _rule(
    LOCKS, "irq-unsafe-lock", WARN, "locks of a kind are taken in interrupts, and with interrupts on",
    "kernel/lockdep.c: \"inconsistent lock state\"")
IRQ_LOCK_INVERSION = _rule(
    LOCKS, "irq-lock-inversion", WARN,
    "under a lock that interrupts take, one is taken that is held with interrupts on",
    "kernel/lockdep.c: \"HARDIRQ-safe -> HARDIRQ-unsafe lock order detected\"")

# --- what takes too long -----------------------------------------------------------------------------------

TIME = "what takes too long"
HARD_LOCKUP = _rule(
    TIME, "hard-lockup", FATAL, "a CPU with interrupts off passes no point",
    "kernel/watchdog.c: \"Watchdog detected hard LOCKUP on cpu %d\"")
SOFT_LOCKUP = _rule(
    TIME, "soft-lockup", FATAL, "a CPU passes no point and does no operation",
    "kernel/watchdog.c: \"BUG: soft lockup - CPU#%d stuck for %us!\"")
HUNG_TASK = _rule(
    TIME, "hung-task", FATAL, "a task waits longer than anything can take",
    "kernel/hung_task.c: \"INFO: task %s:%d blocked for more than %ld seconds.\"")
RCU_STALL = _rule(
    TIME, "rcu-stall", WARN, "a grace period of RCU does not end",
    "kernel/rcutree.c: \"INFO: RCU detected CPU stalls:\"")
HUNG_MACHINE = _rule(
    TIME, "hung-machine", FATAL, "every CPU is at rest, and work is left")

# --- the run -----------------------------------------------------------------------------------------------

RUN = "the run"
USER_PROGRAM = _rule(
    RUN, "user-program", FATAL, "a workload's own program failed, or asked for what there is not")


RULES: Mapping[str, Rule] = {rule.name: rule for rule in _declared}
"""Every rule by its name, in the order of the page."""
assert len(RULES) == len(_declared), "a rule is declared twice"
