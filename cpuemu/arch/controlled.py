"""The gate's controlled implementation: a CPU moves when a conductor says so and takes the interrupt that it names.

Invariant:     between two points exactly one CPU runs; whatever it waits for stands in its actor's record.
Writers:       the actor's record; the clock by the conductor.
Steps:         every point of kernel code, and every wait.
Not modelled:  the host: nothing here depends on how long anything takes.

Arrival is a fact, delivery is a decision: a pending interrupt is an actor of its own, which can move while its CPU is
at a point with interrupts on.  Chosen, it makes the CPU take that ticket, whose frame is waited for, however long it
travels; then the CPU is at the same point again.  A CPU that goes on takes none.  Time is virtual; a timer that is due
is taken when its CPU goes on.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from cpuemu.arch.baton import Baton
from cpuemu.arch.cpu import PowerOff, Term
from cpuemu.arch.faults import Faults
from cpuemu.arch.frames import fingerprint
from cpuemu.arch.gate import Kind
from cpuemu.arch.lending import run_errand
from cpuemu.arch.stacks import mark, prepare
from cpuemu.events import Event
from cpuemu.faults import Fault, name_of
from cpuemu.layout import WAIT_TERMS, CpuState, Errand, Header, Lock, MachineState, Op, Process, ProcessState, Vector
from cpuemu.layout import Cpu as CpuWords
from cpuemu.schema import View, u32, u64
from cpuemu.sites import site

if TYPE_CHECKING:
    from cpuemu.arch.apic import Apic
    from cpuemu.arch.cpu import Cpu
    from cpuemu.schema import Address

P_IDLE = site("cpu_idle")
P_LEND = site("cpu:lend")
FRAME_MS = 1
FAULT_SITES = {fault: site(f"fault:{name_of(fault)}") for fault in (Fault.ALLOC_FAILURE, Fault.FAILING_NOTIFIER)}
"""Where a CPU stands before it asks whether something fails on purpose."""

AGAIN = 1 << 62
"""With a ticket: its frame comes once more."""

# Instead of a ticket, each a number of its own:
STRIKE, GATHER, LOOK, STAND_BY, GO_BACK = ((1 << 64) - number for number in range(1, 6))
"""STRIKE: the CPU goes on, and what it is about to ask for fails.
GATHER: every frame that was sent is waited for, since a sender is about to be killed.
LOOK: the CPU says what its kernel stacks hold, and is at the same point as before.
STAND_BY: its process is to stand by at this point, and goes on in copies.
GO_BACK: a copy is to be as it was when it was made.
"""


class Clock(View, align=64):
    """What the conductor says of time."""

    now_ns = u64("the conductor", "virtual: it moves when nobody else can, and a little with each step")
    looks = u32("the conductor", "1: at each of its points a process says how its kernel stacks are")


def no_copy() -> None:
    raise AssertionError("this process is not copied")


class ControlledGate:
    """One decision a point.  ``batch`` is one operation of the compiled loop, which then asks for no interrupts.

    ``stacks``: the stack of a task stands in RAM at every point, not only where it sleeps.  ``stand_by`` returns in
    each copy of this process, which is then at the same point; ``go_back`` makes a copy return from there once more.
    """

    batch = 1

    def __init__(self, baton: Baton, clock: Clock, stacks: bool = False, stand_by: Callable[[], None] = no_copy,
                 go_back: Callable[[], None] = no_copy) -> None:
        self.baton, self.clock, self.stacks, self.stand_by, self.go_back = baton, clock, stacks, stand_by, go_back
        self.struck = False
        """Whether the last step was one with a fault."""

    def point(self, cpu: Cpu, site: int, word: Address, kind: Kind) -> None:
        self._step(cpu, site, word, kind)
        # Whoever was preempted here comes back to the same point: its access is chosen then, not now.
        while cpu.me.need_resched and not cpu.me.irqs_off and self._preempted(cpu):
            self._step(cpu, site, word, kind)

    def _preempted(self, cpu: Cpu) -> bool:
        """Give the CPU away if the preemption model does so here; whether anything happened."""
        before = cpu.me.heart
        cpu.traps.preempt(cpu)
        return cpu.me.heart != before

    def _step(self, cpu: Cpu, site: int, word: Address, kind: Kind, terms: Sequence[Term] = (),
              deadline_ns: int = 0) -> None:
        """Until it is this CPU's turn to go on; the interrupts that are delivered meanwhile are taken here."""
        while True:
            cpu.core.point(site, word)
            opens = not cpu.me.irqs_off and not cpu.me.hardirq
            if self.stacks:
                cpu.machine.tasks[cpu.me.current].stack = cpu.backtrace()
            while (ticket := self._turn(cpu, site, word, kind, terms, opens, deadline_ns)) == STAND_BY:
                self._copied(cpu)
            if cpu.off():
                raise PowerOff
            self.struck = ticket == STRIKE
            if self.struck:
                return
            if ticket == GATHER:
                self._deliver(cpu, ticket)
                continue
            if ticket:
                self._deliver(cpu, ticket)
            elif opens and cpu.timer_due():
                cpu.traps.timer(cpu)
            else:
                return
            if cpu.me.need_resched:
                cpu.traps.preempt(cpu)

    def _turn(self, cpu: Cpu, site: int, word: Address, kind: Kind, terms: Sequence[Term] = (), opens: bool = False,
              deadline_ns: int = 0) -> int:
        """Until the baton comes with anything but a question; the ticket that comes with it."""
        record = self.baton.actors[cpu.number]
        while True:
            if self.clock.looks:
                record.stacks = mark(cpu)
            ticket = self.baton.step(cpu.number, site, word, kind, terms, opens, deadline_ns)
            if ticket != LOOK:
                break
            if not self.clock.looks:
                record.stacks = fingerprint(cpu)
        if ticket == GO_BACK:
            self.go_back()
        return ticket

    def _copied(self, cpu: Cpu) -> None:
        """No frame is on its way.  The process that stands by has no socket, each of its copies one of its own."""
        cpu.apic.close()
        if self.clock.looks:
            prepare()
        self.stand_by()
        cpu.apic.open()
        cpu.listen()

    def _deliver(self, cpu: Cpu, ticket: int) -> None:
        if cpu.borrowed:
            cpu.me.errand_ticket = ticket
            run_errand(cpu, Errand.INTERRUPTS)
            return
        if ticket == GATHER:
            self._await(cpu, cpu.core.raised())
        elif ticket & AGAIN:
            self._repeat(cpu, ticket & ~AGAIN)
        else:
            self._await(cpu, [ticket])
            cpu.take(ticket)

    def _await(self, cpu: Cpu, tickets: Sequence[int]) -> None:
        """Until their frames are in hand."""
        frames = select.poll()
        frames.register(cpu.apic.fd, select.POLLIN)
        cpu.apic.collect()
        while not all(ticket in cpu.apic.in_hand for ticket in tickets):
            frames.poll(FRAME_MS)
            cpu.apic.collect()

    def _repeat(self, cpu: Cpu, ticket: int) -> None:
        """A frame comes a second time: whether it is taken is up to its pending word."""
        cpu.apic.in_hand[ticket] = (Vector.RESCHEDULE, cpu.number)
        if ticket in cpu.apic.deliverable():
            cpu.take(ticket)

    def wait(self, cpu: Cpu, task: int) -> None:
        """Disabled until one of the task's terms holds: then it reads them again."""
        record = cpu.machine.tasks[task]
        terms = [Term(record.word[number], Op(record.op[number]), record.value[number])
                 for number in range(record.nterms)]
        while not cpu.core.terms_hold(task) and not (record.deadline_ns and self.now(cpu) >= record.deadline_ns):
            self._step(cpu, record.why, record.word[0], Kind.READ, _with_the_end(cpu, terms), record.deadline_ns)

    def idle(self, cpu: Cpu) -> None:
        need_resched = cpu.me.addr(CpuWords.need_resched)
        if not cpu.me.need_resched:
            terms = _with_the_end(cpu, [Term(need_resched, Op.NE, 0)])
            self._step(cpu, P_IDLE, need_resched, Kind.READ, terms, cpu.me.timer_ns)

    def lock(self, cpu: Cpu, lock: int, site: int) -> bool:
        if cpu.core.spin_trylock(lock, site):
            return True
        word = cpu.machine.locks[lock].addr(Lock.word)
        owner = (cpu.ram.read(word) & 0xFFFF) - 1
        died = Term(cpu.machine.cpus[owner].addr(CpuWords.state), Op.EQ, CpuState.DEAD)
        cpu.me.lock_wait, cpu.me.lock_wait_site = lock + 1, site
        cpu.trace_wait(Event.CPUEMU_WAIT_BEGIN, site, word, busy=True)
        self._step(cpu, site, word, Kind.LOCK, _with_the_end(cpu, [Term(word, Op.EQ, 0), died]))
        # Not in a ``finally``: when the machine ends in this wait, the post-mortem reads what was waited for.
        got = cpu.core.spin_trylock(lock, site)
        cpu.me.lock_wait = 0
        cpu.trace_wait(Event.CPUEMU_WAIT_END, site, word, busy=True)
        return got

    def choose(self, cpu: Cpu, tickets: list[int]) -> int:
        raise AssertionError("a controlled CPU is told what it takes")

    def take(self, cpu: Cpu) -> None:
        self._deliver(cpu, cpu.me.errand_ticket)

    def lend(self, cpu: Cpu, borrower: Process) -> None:
        """Not before the borrower is there: its own CPU may have to move for that, and only one moves."""
        word = borrower.addr(Process.state)
        there = [Term(word, Op.EQ, state) for state in (ProcessState.KEPT, ProcessState.ABANDONED)]
        self._turn(cpu, P_LEND, word, Kind.READ, _with_the_end(cpu, there))
        if cpu.off():
            raise PowerOff

    def leave(self, cpu: Cpu) -> None:
        self.baton.leave(cpu.number)

    def close(self, apic: Apic) -> None:
        """Not before the schedule ends: when its frames are taken is somebody else's decision."""

    def now(self, cpu: Cpu) -> int:
        return self.clock.now_ns


class DecidedFaults(Faults):
    """As those of a free run, but for who decides: a point before each, at which the conductor lets it strike."""

    def __init__(self, cpu: Cpu, gate: ControlledGate) -> None:
        super().__init__(cpu.machine, cpu.core, cpu.number)
        self.cpu, self.gate = cpu, gate

    def strike(self, fault: Fault, target: int = 0, detail: int = 0, microseconds: int = 0) -> bool:
        if fault not in self.rates or not self.machine.header.go:
            return False
        self.cpu.point(FAULT_SITES[fault])
        if not self.gate.struck:
            return False
        self.record(fault, target, detail, microseconds)
        return True


def _with_the_end(cpu: Cpu, terms: list[Term]) -> list[Term]:
    """Whoever waits goes on when the machine ends, too."""
    end = Term(cpu.header.addr(Header.state), Op.GE, MachineState.OFF)
    return [*terms[:WAIT_TERMS - 1], end]
