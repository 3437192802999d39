"""A CPU whose current task has its kernel stack in another process: it is lent to that process, and comes back.

A greenlet cannot leave its process, but Linux moves tasks that are inside the kernel when their CPU goes offline.  So
the process of a CPU that has left is *kept* while such tasks are in it, and runs their steps as the CPU they were moved
to: identity is data in RAM.  Both halves stand here: the *lender* (the CPU's own process), the *borrower* (a kept one).

Invariant:     of the processes that could run a CPU exactly one does, the one that ``Cpu.runner`` names; nobody else
               writes what is the CPU's.  All tasks kept in a process belong to one CPU, ``Process.serves``, so nobody
               is needed by two at once.
Writers:       ``runner`` by whoever it names, handing the CPU on, with a full barrier: the baton.
Steps:         none of its own: to hand a CPU over is no access of kernel code.
Not modelled:  the price: a switch to a kept task costs the host two switches of processes.

| who, where             | has the CPU | sleeps on                    | leaves this state when                        |
|------------------------|-------------|------------------------------|-----------------------------------------------|
| CPU's process, running | yes         | socket, doorbell, lifeline   | its next task is kept elsewhere: LENDING      |
| CPU's process, LENDING | no          | socket, own bell, lifeline   | ``runner`` names it again                     |
| kept, WAITING          | no          | own bell, lifeline           | ``runner`` of the CPU it serves names it; its |
|                        |             |                              | last task has left the kernel: it is over     |
| kept, BORROWING        | yes         | the CPU's doorbell, lifeline | SCHEDULE: WAITING; INTERRUPTS, SEND: ERRAND   |
| kept, ERRAND           | no          | own bell, lifeline           | ``runner`` names it again: BORROWING          |

The doorbell goes with the identity: who changes a word that the CPU waits for rings it as ever.  The socket stays with
the CPU's own process.  When a frame comes while it lends it says so (``Cpu.in_hand``, the one word of the CPU that it
writes then) and rings the doorbell.  The borrower, at a point with interrupts on and something in hand, gives the CPU
back for INTERRUPTS: the handlers run in the lender, on top of the borrower's task, and it gets the CPU again.  Nothing
else runs in between, as the task may hold a spinlock.  Interrupts are sent by the lender too (SEND).  Timers are data
in RAM: whoever runs the CPU runs them.

schedule() in the borrower gives the CPU back for good (SCHEDULE), unless the next task is kept there as well.  A task
that returns to user mode ends its stack at the border, still ``current``: the lender goes on with it.

| word                         | written by          | when                                                          |
|------------------------------|---------------------|---------------------------------------------------------------|
| ``Task.process``             | the task            | at entry to the kernel: where its stack is                    |
| ``Process.serves``           | a leaving CPU       | take_cpu_down: its own process's, and those that served it    |
| ``Process.state`` KEPT       | the leaving process | its CPU has left, and tasks are in it                         |
| ... KEPT to ABANDONED        | coordinator, by CAS | the CPU comes back meanwhile: it gets another process         |
| ... KEPT to PARKED or GONE   | the process, by CAS | its last task is out (ABANDONED always becomes GONE)          |
| ``Cpu.runner``               | lender, borrower    | to lend, to give back, to go on an errand, to return from it  |
| ``Cpu.errand``, its words    | borrower            | before it gives the CPU back                                  |
| ``Process.sleeping``         | the process         | around its sleep on its own bell                              |

What fails: a kept process that dies is seen by the coordinator as that of any CPU, and ends the run, named by its own
CPU and by the one it served.  A lender that dies is that CPU's death.  A machine that is off or has failed wakes
everybody: PowerOff on both sides.  What the host takes from a kept process counts as taken from the CPU it serves.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from greenlet import getcurrent

from cpuemu.arch.apic import Apic
from cpuemu.arch.cpu import Cpu, LifelineLost, PowerOff
from cpuemu.core import now
from cpuemu.events import Event
from cpuemu.layout import Counter, Errand, Process, SchedClass, TaskState, Vector, process_name
from cpuemu.layout import Cpu as CpuWords

if TYPE_CHECKING:
    from cpuemu.layout import Machine

LAST_RECORDS_NS = 500_000_000
"""How long a lender waits at the end for the borrower to have written its trace (--trace all)."""


# --- the lender --------------------------------------------------------------------------------------------


def run(cpu: Cpu) -> NoReturn:
    """A CPU in its own process, from power on until it ends by an exception: PowerOff, CpuOffline."""
    cpu.hub = getcurrent()
    while True:
        if cpu.is_elsewhere(cpu.me.current):
            _lend(cpu)
        else:
            cpu.go_on()


def _lend(cpu: Cpu) -> None:
    """Let the process that has the current task's stack run this CPU, until that task gives it away."""
    me, task = cpu.me, cpu.current
    borrower = cpu.machine.processes[task.process]
    if borrower.serves != cpu.number:
        raise AssertionError(f"task {task.comm} of cpu {cpu.number} is kept in a process that serves "
                             f"cpu {borrower.serves}")
    cpu.core.trace(Event.CPUEMU_CPU_LENT, task.index, borrower.cpu, borrower.generation, borrower.pid)
    cpu.gate.lend(cpu, borrower)
    while True:
        _hand_over(cpu, borrower.index)
        _wait_until_back(cpu)
        if me.errand == Errand.SCHEDULE:
            break
        if me.errand == Errand.INTERRUPTS:
            cpu.gate.take(cpu)
        else:
            cpu.apic.post(me.errand_cpu, Vector(me.errand_vector), cpu.off)
    cpu.core.trace(Event.CPUEMU_CPU_BACK, me.current, borrower.cpu, borrower.generation, borrower.pid)


def _wait_until_back(cpu: Cpu) -> None:
    runner = cpu.me.addr(CpuWords.runner)
    patience = 0 if cpu.spill is None else LAST_RECORDS_NS
    sleep_until(cpu, lambda: cpu.ram.read(runner) == cpu.process, cpu.apic, patience)


# --- the borrower ------------------------------------------------------------------------------------------


def keeps(machine: Machine, process: int) -> bool:
    """Whether tasks have their kernel stacks in a process, which has left its CPU."""
    return any(task.in_kernel and task.process == process and task.sched_class == SchedClass.FAIR
               and task.state not in (TaskState.UNUSED, TaskState.DEAD) for task in machine.tasks)


def keep(cpu: Cpu, title: Callable[[str], None]) -> None:
    """Run the tasks that are kept here, as the CPU they belong to, until none is left.

    Context: the hub, after this process's own CPU has left.
    """
    mine = cpu.machine.processes[cpu.process]
    try:
        while keeps(cpu.machine, cpu.process):
            title(f"cpuemu {process_name(mine)}")
            _serve(cpu, mine, mine.serves)
    except PowerOff:
        if cpu.borrowed and cpu.me.runner == cpu.process:
            if cpu.spill is not None:
                cpu.spill()
            _hand_over(cpu, cpu.me.process)
        raise


def _serve(cpu: Cpu, mine: Process, number: int) -> None:
    """Wait until a CPU is handed over, and run it; or until the tasks have been moved on to another one."""
    words = cpu.machine.cpus[number]
    sleep_until(cpu, lambda: words.runner == cpu.process or mine.serves != number)
    if words.runner == cpu.process:
        _borrow(cpu, number)


def _borrow(cpu: Cpu, number: int) -> None:
    cpu.become(number, BorrowedApic(cpu, number))
    while not cpu.is_elsewhere(cpu.me.current):
        cpu.go_on()
    _give_back(cpu, Errand.SCHEDULE)


def _give_back(cpu: Cpu, errand: Errand) -> None:
    cpu.me.errand = errand
    _hand_over(cpu, cpu.me.process)


def run_errand(cpu: Cpu, errand: Errand) -> None:
    """Have the CPU's own process do something, and go on.  Context: this process has borrowed the CPU."""
    runner = cpu.me.addr(CpuWords.runner)
    _give_back(cpu, errand)
    sleep_until(cpu, lambda: cpu.ram.read(runner) == cpu.process)


class BorrowedApic(Apic):
    """The interrupt controller of a CPU that runs in another process than its own: the socket is there."""

    def __init__(self, cpu: Cpu, who: int) -> None:
        self.cpu, self.ram, self.machine, self.core = cpu, cpu.ram, cpu.machine, cpu.core
        self.who, self.generation = who, cpu.machine.cpus[who].generation
        self.fd, self.wire = -1, None

    def post(self, cpu: int, vector: Vector, abandon: Callable[[], bool]) -> bool:
        if self.ram.read(self.machine.cpus[cpu].addr(CpuWords.pending, vector)):
            self.cpu.core.count(Counter.IPI_COALESCED)
            return False
        me = self.cpu.me
        me.errand_cpu, me.errand_vector = cpu, vector
        run_errand(self.cpu, Errand.SEND)
        return True

    def holds(self) -> bool:
        return bool(self.cpu.me.in_hand)

    def gather(self) -> bool:
        return self.holds()

    def collect(self) -> None:
        if self.holds():
            run_errand(self.cpu, Errand.INTERRUPTS)

    def deliverable(self) -> list[int]:
        return []


# --- the baton ---------------------------------------------------------------------------------------------


def _hand_over(cpu: Cpu, process: int) -> None:
    """From here on this CPU is run by another process."""
    cpu.ram.xchg(cpu.me.addr(CpuWords.runner), process)
    ring(cpu.machine, cpu.doorbells, process)


def bell_of(machine: Machine, process: int) -> int:
    """Where a process's own doorbell stands in the list: behind those of the CPUs and the coordinator's."""
    return machine.dims.cpus + 1 + process


def ring(machine: Machine, doorbells: list[int], process: int) -> None:
    """Wake a process that sleeps on its own bell.  Context: the word it waits for has been changed, fully fenced."""
    if machine.processes[process].sleeping:
        os.eventfd_write(doorbells[bell_of(machine, process)], 1)


def sleep_until(cpu: Cpu, ready: Callable[[], bool], lent: Apic | None = None, patience_ns: int = 0) -> None:
    """Sleep on this process's own bell until ``ready``.

    A machine that is off, or has failed, raises PowerOff, after ``patience_ns`` of waiting all the same.  ``lent``: the
    controller of the CPU that this process has lent; the first frame that comes is told to the borrower.
    """
    bell = cpu.doorbells[bell_of(cpu.machine, cpu.process)]
    sleeping = cpu.machine.processes[cpu.process].addr(Process.sleeping)
    end = 0
    while not ready():
        listens = lent is not None and not cpu.me.in_hand
        if lent is not None and listens and lent.comes():
            cpu.me.in_hand = 1  # to be taken in, and counted, when the CPU is back: the trace is the borrower's now
            cpu.ram.fence()
            cpu.ring(cpu.number)
            continue
        cpu.ram.xchg(sleeping, 1)  # full barrier: from here on, whoever makes it ready rings
        try:
            if ready() or (lent is not None and listens and lent.comes()):
                continue
            if cpu.off():
                end = end or now() + patience_ns
                if now() >= end:
                    raise PowerOff
            events = _poll(cpu, bell, lent if listens else None, 50 if end else None)
        finally:
            cpu.ram.xchg(sleeping, 0)
        if bell in events:
            os.eventfd_read(bell)
        if cpu.lifeline in events:
            raise LifelineLost


def _poll(cpu: Cpu, bell: int, lent: Apic | None, timeout_ms: int | None) -> list[int]:
    """Descriptors that have something to say."""
    poller = select.poll()
    poller.register(bell, select.POLLIN)
    poller.register(cpu.lifeline, select.POLLIN | select.POLLHUP)
    if lent is not None:
        poller.register(lent.fd, select.POLLIN)
        if lent.wire is not None and lent.wire.next_ns():
            timeout_ms = max(1, (lent.wire.next_ns() - now()) // 1_000_000)
    return [descriptor for descriptor, _ in poller.poll(timeout_ms)]
