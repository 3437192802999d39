"""The gate: the one place where a CPU meets the outside world.

Everything that is not decided by the code itself passes here: which CPU moves, which pending interrupt is
taken, when a lock is got, how long a wait lasts, what time it is.  The gate of this file is the free-running
one: all CPUs at once, real time, the lowest ticket first.  A controlled gate has the same methods.

Steps:         a point is declared *before* the access it names (site, word, kind), so that whoever decides
               knows what would come next.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Protocol

from cpuemu import core

if TYPE_CHECKING:
    from cpuemu.arch.apic import Apic
    from cpuemu.arch.cpu import Cpu
    from cpuemu.layout import Process
    from cpuemu.schema import Address

LOCK_WAIT_US = 20_000
"""How long the compiled lock sleeps before it asks whether its holder is still alive."""


class Kind(enum.IntEnum):
    """What the access after a point does to its word."""

    READ = 0
    WRITE = 1
    NONE = 2  # no access: a window in which interrupts and preemption are possible
    LOCK = 3  # takes or gives back a lock: a write of the lock's word


class Gate(Protocol):
    """What a CPU asks before it goes on."""

    batch: int
    """Workload operations the compiled loop may do before it comes back."""

    def point(self, cpu: Cpu, site: int, word: Address, kind: Kind) -> None:
        """About to do ``kind`` to ``word``: take interrupts, be preempted, let others move."""

    def wait(self, cpu: Cpu, task: int) -> None:
        """Return when one of the task's terms holds or its deadline has passed; the CPU stays with the task."""

    def idle(self, cpu: Cpu) -> None:
        """Nothing to run: return when there may be, interrupts taken and timers run."""

    def lock(self, cpu: Cpu, lock: int, site: int) -> bool:
        """Try to get a lock word for a bounded time; False: not yet."""

    def choose(self, cpu: Cpu, tickets: list[int]) -> int:
        """Which of the interrupts in hand is taken; 0: none now."""

    def take(self, cpu: Cpu) -> None:
        """Whoever has borrowed this CPU has come to where it takes interrupts: take them, in the CPU's own process."""

    def lend(self, cpu: Cpu, borrower: Process) -> None:
        """This CPU is about to be handed to another process, which may still be on its way to where it waits for it."""

    def leave(self, cpu: Cpu) -> None:
        """This CPU is offline: its process does nothing more as this CPU in this life."""

    def close(self, apic: Apic) -> None:
        """A CPU's process needs its interrupt controller no more: what it has sent must still arrive."""

    def now(self, cpu: Cpu) -> int:
        """The time in nanoseconds."""


class FreeGate:
    """All CPUs at once, nothing serialised, real time."""

    batch = 4096

    def point(self, cpu: Cpu, site: int, word: Address, kind: Kind) -> None:
        events = cpu.core.point(site, word)
        if events:
            cpu.attend(events)
            # What was attended to declared words of its own: now we are again before the access named here.
            cpu.core.declare(site, word)

    def wait(self, cpu: Cpu, task: int) -> None:
        deadline = cpu.machine.tasks[task].deadline_ns
        while not cpu.core.terms_hold(task) and not (deadline and core.now() >= deadline):
            cpu.sleep(task)
            cpu.attend_all()

    def idle(self, cpu: Cpu) -> None:
        if not cpu.me.need_resched:
            cpu.sleep(cpu.me.idle_task, idle=True)
        cpu.attend_all()

    def lock(self, cpu: Cpu, lock: int, site: int) -> bool:
        return cpu.core.spin_lock(lock, site, LOCK_WAIT_US)

    def choose(self, cpu: Cpu, tickets: list[int]) -> int:
        return tickets[0]

    def take(self, cpu: Cpu) -> None:
        cpu.take_interrupts()

    def lend(self, cpu: Cpu, borrower: Process) -> None:
        pass

    def leave(self, cpu: Cpu) -> None:
        pass

    def close(self, apic: Apic) -> None:
        apic.close()

    def now(self, cpu: Cpu) -> int:
        return core.now()
