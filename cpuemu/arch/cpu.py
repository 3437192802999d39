"""A CPU: its registers in RAM, its interrupt controller, its gate, its kernel stacks, and the place where it sleeps.

Invariant:     the process sleeps in exactly one place, ``Cpu.sleep``: a poll over its socket, its doorbell and the
               lifeline (its socket is left out while interrupts are off).  While its CPU is lent, or after its CPU has
               left, it sleeps on its own bell instead (lending.py).
Writers:       ``cpus[id]`` is written by the process that runs it, but for what layout.py gives to others.
Steps:         ``wait_until`` and ``sleep`` are points; ``point`` is one by name.
Not modelled:  caches, store buffers: memory is sequentially consistent at points.

Whoever changes a word that is waited for calls ``wake``: full barrier, then it rings those who sleep on the word.
The sleeper sets ``sleeping`` with a full barrier and looks once more before it polls.  So no wake-up is lost.
"""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import FrameType
from typing import Any, NamedTuple

from greenlet import greenlet

from cpuemu import layout
from cpuemu.arch.apic import Apic
from cpuemu.arch.checked import CheckedRam
from cpuemu.arch.faults import Faults
from cpuemu.arch.gate import Gate, Kind
from cpuemu.core import Backtrace, Core, Ram
from cpuemu.events import Event
from cpuemu.layout import Header, Machine, MachineState, Op, Task, Vector
from cpuemu.schema import Address
from cpuemu.sites import site

POINT_INTERRUPT = 1
POINT_RESCHED = 2
POINT_STOPPING = 4
POINT_TIMER = 8
POINT_SPILL = 16

NO_WORD: Address = 0

P_IRQ_WINDOW = site("irq_window")
P_RAISE = site("apic:raise")


class PowerOff(BaseException):
    """The machine is off or has failed: whatever kernel code runs on this CPU ends here.

    Not an Exception: emulated code that handles errors must not hold the power switch.
    """


class LifelineLost(BaseException):
    """The coordinator is gone."""


class Term(NamedTuple):
    """One condition of a wait: ``word op value``, as data, so that other processes can evaluate it."""

    word: Address
    op: Op
    value: int


@dataclass
class Traps:
    """The kernel's entries, as the hardware knows them: set by the process that boots the kernel."""

    interrupt: Callable[[Cpu, Vector, int], None]
    preempt: Callable[[Cpu], None]
    timer: Callable[[Cpu], None]
    run_task: Callable[[Cpu, int], None]


@dataclass
class Cpu:
    """The CPU that this process runs: its own, or one that it has borrowed (lending.py): then all of it changes.

    So kernel code keeps none of its numbers, registers or lists in a variable over a place where it may sleep.
    ``process``: this process's entry in RAM.  ``apic``: how interrupts are sent from the CPU that runs here.
    """

    number: int
    process: int
    machine: Machine
    ram: Ram
    core: Core
    gate: Gate
    apic: Apic
    doorbells: list[int]
    """One of each CPU, the coordinator's, one of each process."""
    lifeline: int
    traps: Traps
    profile: object = None
    drain: Callable[[Cpu, int], None] | None = None
    calls: Mapping[int, Callable[[Cpu, int], None]] = field(default_factory=dict)
    """What an interrupt can ask for: kernel.call_functions gives the numbers."""
    workload: Any = None
    faults: Faults | None = None
    """--fault: what is injected on purpose."""
    spill: Callable[[], None] | None = None
    """--trace all: write the rings to their files."""
    spill_of: Callable[[int], Callable[[], None]] | None = None
    """The same of another CPU, once it runs here."""
    stacks: dict[int, greenlet] = field(default_factory=dict)
    on_sleep: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        self.header = self.machine.header
        self.hub: greenlet | None = None
        self._enter(self.number, self.apic)

    # --- who runs ------------------------------------------------------------------------------------------

    def become(self, number: int, apic: Apic) -> None:
        """Run as another CPU from now on.  Context: that CPU has been handed to this process."""
        self.core.become(number, self.machine.cpus[number].generation)
        if isinstance(self.ram, CheckedRam):
            self.ram.become(number)
        if self.faults is not None:
            self.faults.become(number)
        if self.spill_of is not None:
            self.spill = self.spill_of(number)
        self._enter(number, apic)

    def _enter(self, number: int, apic: Apic) -> None:
        self.number, self.apic = number, apic
        self.me = self.machine.cpus[number]
        self.bell = self.doorbells[number]
        self._sleeping = self.me.addr(layout.Cpu.sleeping)
        self.listen()

    def listen(self) -> None:
        """What this CPU sleeps on.  Context: its controller's socket is open."""
        apic = self.apic
        self._open, self._shut = select.poll(), select.poll()
        if apic.fd >= 0:
            self._open.register(apic.fd, select.POLLIN)
        for poller in (self._open, self._shut):
            poller.register(self.bell, select.POLLIN)
            poller.register(self.lifeline, select.POLLIN | select.POLLHUP)
        apic.step = partial(self.gate.point, self, P_RAISE, kind=Kind.WRITE)

    @property
    def borrowed(self) -> bool:
        """Whether the CPU that runs here belongs to another process."""
        return self.me.process != self.process

    @property
    def current(self) -> Task:
        """The task that runs on this CPU (current)."""
        return self.machine.tasks[self.me.current]

    def now(self) -> int:
        return self.gate.now(self)

    def off(self) -> bool:
        """Whether the machine is off or has failed."""
        return self.header.state > MachineState.STOPPING

    # --- points and waits ----------------------------------------------------------------------------------

    def point(self, where: int, word: Address = NO_WORD, kind: Kind = Kind.NONE) -> None:
        """About to access ``word``.  Interrupts are taken here, and nowhere between two points."""
        self.gate.point(self, where, word, kind)

    def attend(self, events: int) -> None:
        """Do what a point found: end, take interrupts, be preempted."""
        if events & POINT_STOPPING and self.off():
            raise PowerOff
        if events & POINT_SPILL and self.spill is not None:
            self.spill()
        if events & POINT_INTERRUPT:
            self.take_interrupts()
        if events & POINT_TIMER:
            self.traps.timer(self)
        if self.me.need_resched and not self.me.irqs_off:
            self.traps.preempt(self)

    def attend_all(self) -> None:
        """As a point does, after a sleep."""
        if self.off():
            raise PowerOff
        if not self.me.irqs_off and not self.me.hardirq:
            if self.core.raised() or self.apic.holds():
                self.take_interrupts()
            if self.timer_due():
                self.traps.timer(self)
            if self.me.need_resched:
                self.traps.preempt(self)

    def timer_due(self) -> bool:
        """Whether a timer is due, or the deferrable work: that one wakes no CPU that sleeps."""
        me, moment = self.me, self.now()
        return 0 < me.timer_ns <= moment or 0 < me.vmstat_ns <= moment

    def take_interrupts(self) -> None:
        """Take every interrupt whose frame is in hand, in the order the gate decides.  Context: interrupts on.

        In the CPU's own process, always: to ``collect`` is all that a borrower can do (lending.py).
        """
        self.apic.collect()
        while not self.me.irqs_off and (tickets := self.apic.deliverable()):
            ticket = self.gate.choose(self, tickets)
            if not ticket:
                break
            self.take(ticket)
        self.core.looked()

    def take(self, ticket: int) -> None:
        """Take one interrupt whose frame is in hand.  Context: interrupts on."""
        vector, source = self.apic.take(ticket)
        self._enter_interrupt(vector, source, ticket)

    def _enter_interrupt(self, vector: Vector, source: int, ticket: int) -> None:
        me = self.me
        me.irqs_off, me.hardirq = 1, me.hardirq + 1
        # The platform's is a device's interrupt, not one between processors: neither counted nor traced as such.
        between = vector != Vector.PLATFORM
        if between:
            self.core.trace(Event.IPI_ENTRY, source, vector, ticket & 0xFFFFFFFF, ticket >> 32)
        try:
            self.traps.interrupt(self, vector, source)
        finally:
            if between:
                self.core.trace(Event.IPI_EXIT, source, vector, ticket & 0xFFFFFFFF, ticket >> 32)
            me.inservice[vector] = 0
            me.hardirq -= 1
            me.irqs_off = 0

    def wait_until(self, word: Address, op: Op, value: int, why: int, *others: Term, deadline_ns: int = 0) -> None:
        """Wait on this CPU, without giving it to another task, until a term holds or the deadline passes.

        Interrupts are taken meanwhile unless they are off.  A machine that ends raises PowerOff.
        """
        self.point(why, word, Kind.READ)
        if self.ram.holds(word, op, value):
            return  # nobody needs to see a wait that is none
        task = self.current
        interrupted = self._saved_wait(task) if task.nterms else None  # a handler that waits, over code that does
        terms = (Term(word, op, value), *others)
        self.set_wait(task, terms, why, busy=True, deadline_ns=deadline_ns)
        self.trace_wait(Event.CPUEMU_WAIT_BEGIN, why, word, busy=True)
        self.gate.wait(self, task.index)
        self.trace_wait(Event.CPUEMU_WAIT_END, why, word, busy=True)
        # Not in a ``finally``: when the machine ends in this wait, its record is what the post-mortem reads.
        self.clear_wait(task)
        if interrupted is not None:
            interrupted()

    def _saved_wait(self, task: Task) -> Callable[[], None]:
        """How a task's wait record becomes again what it is now.

        Nobody is asleep with it: it goes to sleep with interrupts off, and looks once more when it is back.
        """
        words, ops, values = list(task.word), list(task.op), list(task.value)
        terms = tuple(Term(words[number], Op(ops[number]), values[number]) for number in range(task.nterms))
        why, busy, deadline_ns, since = task.why, bool(task.busy), task.deadline_ns, task.wait_ns
        depth, stack = task.wait_hardirq, task.stack

        def restore() -> None:
            self.set_wait(task, terms, why, busy, deadline_ns)
            task.wait_ns, task.wait_hardirq, task.stack = since, depth, stack
        return restore

    def set_wait(self, task: Task, terms: tuple[Term, ...], why: int, busy: bool, deadline_ns: int = 0) -> None:
        """Write a task's wait record: data in RAM, the edge of the wait-for graph."""
        if len(terms) > layout.WAIT_TERMS:
            raise AssertionError(f"{len(terms)} terms in a wait, at most {layout.WAIT_TERMS}")
        words, ops, values = task.word, task.op, task.value
        for number, term in enumerate(terms):
            words[number], ops[number], values[number] = term.word, term.op, term.value
        task.why, task.busy, task.deadline_ns, task.wait_ns = why, busy, deadline_ns, self.now()
        task.wait_hardirq = self.me.hardirq
        task.stack = self.backtrace()
        self.ram.xchg(task.addr(Task.nterms), len(terms))  # last, with a full barrier: now it can be woken

    def trace_wait(self, event: Event, why: int, word: Address, busy: bool) -> None:
        """A wait begins, or has ended: slices of a timeline."""
        self.core.trace(event, why, word & 0xFFFFFFFF, word >> 32, busy)

    def clear_wait(self, task: Task) -> None:
        task.nterms = 0
        task.deadline_ns = 0

    def backtrace(self) -> str:
        """The emulated kernel's functions on this stack, newest first, with their lines."""
        return " < ".join(_BACKTRACE.of(sys._getframe(2), 14))

    def backtrace_of(self, error: BaseException) -> str:
        """As ``backtrace``, of where an error was raised."""
        frames: list[str] = []
        trace = error.__traceback__
        while trace is not None:
            if _is_kernel(trace.tb_frame):
                frames.insert(0, f"{trace.tb_frame.f_code.co_name}:{trace.tb_lineno}")
            trace = trace.tb_next
        return " < ".join(frames[:14])

    # --- sleeping and waking -------------------------------------------------------------------------------

    def sleep(self, task: int, idle: bool = False) -> None:
        """Sleep until the doorbell, a frame (interrupts on), the timer, or the lifeline.

        Returns at once when there is something to do already.  ``task``: the one whose terms are waited for.
        """
        if self.on_sleep is not None:
            self.on_sleep()
        open_ = not self.me.irqs_off and not self.me.hardirq
        self.ram.xchg(self._sleeping, 1)  # full barrier: from here on, whoever changes a word rings
        try:
            if self.off() or (self.me.need_resched if idle else self.core.terms_hold(task)):
                return
            if open_ and self.apic.gather():
                return
            timeout = self._timeout_ms(task, open_)
            if timeout == 0:
                return
            events = (self._open if open_ else self._shut).poll(timeout)
        finally:
            self.ram.xchg(self._sleeping, 0)
        for descriptor, _ in events:
            if descriptor == self.bell:
                os.eventfd_read(self.bell)
            elif descriptor == self.lifeline:
                raise LifelineLost
            else:
                self.apic.told = True

    def _timeout_ms(self, task: int, interrupts: bool) -> int | None:
        timer = self.me.timer_ns if interrupts else 0  # with interrupts off a due timer stays pending
        frame = self.apic.wire.next_ns() if interrupts and self.apic.wire is not None else 0
        due = [moment for moment in (timer, frame, self.machine.tasks[task].deadline_ns) if moment]
        if not due:
            return None
        return max(0, -(-(min(due) - self.now()) // 1_000_000))

    def ring(self, cpu: int) -> None:
        """Wake a CPU's process if it sleeps.  Context: the word it may wait for has been changed, fully fenced."""
        if self.ram.read(self.machine.cpus[cpu].addr(layout.Cpu.sleeping)):
            os.eventfd_write(self.doorbells[cpu], 1)

    def ring_coordinator(self) -> None:
        os.eventfd_write(self.doorbells[self.machine.dims.cpus], 1)

    def waiters(self, word: Address) -> list[int]:
        """Tasks that wait for this word.  Context: the word has been changed."""
        return self.core.find_waiters(word)

    # --- kernel stacks -------------------------------------------------------------------------------------

    def switch_to(self, task: int) -> None:
        """Go on with another task's kernel stack, wherever it is; returns when this one is chosen again."""
        if self.is_elsewhere(task):
            assert self.hub is not None
            self.hub.switch()  # lending.py hands the CPU to the process that has it
        else:
            self.stack_of(task).switch()

    def is_elsewhere(self, task: int) -> bool:
        """Whether a task goes on in another process: inside the kernel, where its stack is; else in the CPU's own."""
        record = self.machine.tasks[task]
        return bool(record.process != self.process) if record.in_kernel else self.borrowed

    def stack_of(self, task: int) -> greenlet:
        stack = self.stacks.get(task)
        if stack is None or stack.dead:
            stack = self.stacks[task] = greenlet(lambda: self.traps.run_task(self, task), parent=self.hub)
        return stack

    def go_on(self) -> None:
        """Run ``current`` until it ends, or until the CPU is to go on elsewhere.  Context: the hub."""
        self.stack_of(self.me.current).switch()
        for task in [task for task, stack in self.stacks.items() if stack.dead]:
            del self.stacks[task]


def _kernel_place(frame: FrameType) -> str:
    """Function and line of an emulated kernel's frame, empty for any other."""
    return f"{frame.f_code.co_name}:{frame.f_lineno}" if _is_kernel(frame) else ""


def _is_kernel(frame: FrameType) -> bool:
    """Of the emulated kernel, less what reports its defects."""
    module: str = frame.f_globals.get("__name__", "")
    return module.startswith(("cpuemu.kernel", "cpuemu.policies")) and module != "cpuemu.kernel.bug"


_BACKTRACE = Backtrace(_kernel_place)


def state_word(machine: Machine) -> Address:
    """The machine's state: a second term for waits that must end when the workload does."""
    return machine.header.addr(Header.state)
