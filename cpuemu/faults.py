"""THE declaration of every fault that a run can be asked for (``--fault``): what it does, what the run ends with, why.

A fault is injected on purpose, into a machine that is right; what comes of it is the machine's own.  ``docs/faults.md``
is written from this file, the command line reads it, and the verdict names the fault beside a finding that fits it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

DECIDED = ("ipi-lost", "ipi-doubled", "cpu-death", "alloc-failure", "failing-notifier")
"""Those that a schedule injects where its strategy says so (``cpuemu explore --fault``)."""
LATE = "ipi-late"
"""When an interrupt is delivered is a decision of every schedule: late needs no fault there."""

CERTAIN = 1_000_000
"""Rates are of a million chances."""


class Fault(enum.IntEnum):
    """Index of each in the region ``faults``, and in ``Cpu.faults``."""

    IPI_LOST = 0
    IPI_LATE = 1
    IPI_DOUBLED = 2
    DEAF_CPU = 3
    EARLY_ONLINE = 4
    FAILING_NOTIFIER = 5
    ALLOC_FAILURE = 6
    STARVED_CPU = 7
    KILLED_HOLDER = 8
    LOCKUP = 9
    NR = 10


class Argument(enum.Enum):
    """What may stand behind the name: its word in the help."""

    RATE = "RATE"
    MICROSECONDS = "MICROSECONDS"
    CPU = "N"
    SECONDS = "SECONDS"
    NOTIFIER = "NAME"


NOTIFIERS = ("CPU_UP_PREPARE", "CPU_DOWN_PREPARE")
"""The hotplug notifiers that may fail, as in Linux's cpu-notifier-error-inject; in RAM: a bit each."""


@dataclass(frozen=True)
class FaultType:
    """One fault.  ``rate``: chances in a million of each occasion, unless the argument is the rate.

    ``default``: the argument of a name alone, None where it must be given; ``most``: the largest.  Arguments in RAM:
    microseconds of a time, a CPU, bits of NOTIFIERS.  ``fits``: rules of findings that the fault explains.
    """

    fault: Fault
    argument: Argument
    default: float | None
    most: float
    rate: int
    does: str
    ends: str
    why: str
    fits: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return name_of(self.fault)


def name_of(fault: int) -> str:
    """As the command line has it; a number that is none (an image may hold anything) as such."""
    return Fault(fault).name.lower().replace("_", "-") if 0 <= fault < Fault.NR else f"fault {fault}"


FAULTS: tuple[FaultType, ...] = (
    FaultType(
        Fault.IPI_LOST, Argument.RATE, 0.01, 1.0, CERTAIN,
        "A frame between two CPUs is not sent: the interrupt is raised, and never arrives.",
        "`failed`: `csd-lock-wait` for a call, `ipi-lost` for a reschedule interrupt, naming the silent pair",
        "The pending word stands, so later interrupts of the vector coalesce with the one that is lost: the pair is "
        "silent for ever. Linux waits in csd_lock_wait without a message.", ("csd-lock-wait", "ipi-lost")),
    FaultType(
        Fault.IPI_LATE, Argument.MICROSECONDS, 5_000, 1_000_000, CERTAIN // 10,
        "A frame in ten is presented to its CPU late, by up to the given time; frames behind it overtake it.",
        "`ok`",
        "Late is not lost: whoever waits waits longer. What is still late when its CPU goes offline ends with the CPU, "
        "as on hardware. A second at most can be asked for, because after two seconds without a frame the watchdog is "
        "right to call it lost."),
    FaultType(
        Fault.IPI_DOUBLED, Argument.RATE, 0.1, 1.0, CERTAIN,
        "A frame is sent twice.", "`ok`; the copies are counted as `ipi_stale`",
        "An interrupt is taken only when its pending word names the frame's ticket, and a ticket is used once: the "
        "copy finds another ticket, or none, and is dropped."),
    FaultType(
        Fault.DEAF_CPU, Argument.CPU, None, 255, CERTAIN // 16,
        "From one frame on (each one in sixteen is it), a CPU's interrupt controller presents nothing more: the CPU "
        "runs its tasks and answers nobody. Its next life, after an offline and online, hears again.",
        "`failed`: `csd-lock-wait` or `ipi-lost`, naming that CPU",
        "From outside, the first of its pairs that somebody waits for looks silent; the finding names that pair, and "
        "who waits.", ("csd-lock-wait", "ipi-lost")),
    FaultType(
        Fault.EARLY_ONLINE, Argument.SECONDS, 60, 3600, CERTAIN,
        "A CPU that comes up during the run is in cpu_online_mask for the given time before it takes its first "
        "interrupt (zoo 5).",
        "`failed`: `csd-lock-wait` when somebody calls it, `hung-task` (the hotplug operation) when nobody does; a "
        "time shorter than their limits: `ok`",
        "Senders go by cpu_online_mask, so they call a CPU that cannot answer yet. v3.2 has a short window of this "
        "kind between online and active.", ("csd-lock-wait", "hung-task")),
    FaultType(
        Fault.FAILING_NOTIFIER, Argument.NOTIFIER, 3, 3, CERTAIN // 4,
        "One in four hotplug operations meets a notifier that returns -ENOMEM, called after those of a higher priority "
        "(Linux: cpu-notifier-error-inject).",
        "`ok`; the operation is rolled back and counted in `hotplug_skipped`",
        "CPU_UP_PREPARE and CPU_DOWN_PREPARE may fail: the notifiers that were called before are told "
        "(CPU_UP_CANCELED, CPU_DOWN_FAILED), and the mask is as it was."),
    FaultType(
        Fault.ALLOC_FAILURE, Argument.RATE, 0.01, 1.0, CERTAIN,
        "An allocation fails before any list is looked at (Linux: fail_page_alloc, with ignore-gfp-wait=N and "
        "min-order=0). Every allocation is then the kernel's, those of the CPU's own lists too.",
        "`ok`; failures are counted in `alloc_failed`, a hotplug operation that could not make its thread in "
        "`hotplug_skipped`",
        "A failed allocation is a value for whoever asked. With __GFP_NOFAIL nothing is injected."),
    FaultType(
        Fault.STARVED_CPU, Argument.SECONDS, 1, 600, CERTAIN,
        "One CPU's process after the other is stopped (SIGSTOP) for a log-uniform time from 1 ms to the given one, and "
        "continued.", "`ok`",
        "Time that the host takes is nobody's fault: it is measured as `host-stopped` and counts against no limit."),
    FaultType(
        Fault.KILLED_HOLDER, Argument.RATE, 0.01, 1.0, CERTAIN,
        "A CPU's process that has just taken a zone's lock kills itself (SIGKILL).",
        "`cpu-died`, naming the CPU and the lock; `owner-died` too where another CPU came for the lock first",
        "A lock's word names who holds it. Nobody steals the lock of a dead CPU: who comes for it says whose it is.",
        ("owner-died",)),
    FaultType(
        Fault.LOCKUP, Argument.SECONDS, 60, 3600, CERTAIN,
        "While a CPU goes offline for the first time, a system call goes on for the given time, interrupts on, without "
        "a call of schedule(); not on the CPU of the task that takes the other one down (Linux: lib/test_lockup.c).",
        "`failed`: `stop-machine-stuck` under `--preempt none` and `voluntary`; a time shorter than its limit, or "
        "`--preempt full`: `ok`",
        "stop_machine needs the stopper thread of every CPU to run. Without preemption it runs only where the current "
        "task calls schedule() or returns to user mode.", ("stop-machine-stuck",)),
)

BY_NAME = {each.name: each for each in FAULTS}
assert [each.fault for each in FAULTS] == list(range(Fault.NR)), "FAULTS stand in the order of their numbers"
