"""New tasks (Linux: kernel/fork.c, init/main.c): entries of the task table filled in.

Invariant:     a new task is on no run queue and has no stack until it is woken.
Writers:       whoever makes it: the boot CPU, kthreadd, a CPU coming up for its own idle task.
Steps:         none.
Not modelled:  copying anything: a task begins at its function, or at the first operation of its program.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cpuemu.layout import (
    NOBODY,
    Header,
    Op,
    Program,
    SchedClass,
    Task,
    TaskFlag,
    TaskState,
    idle_task,
)
from cpuemu.sites import site

if TYPE_CHECKING:
    from cpuemu.arch.cpu import Cpu

P_GO = site("wait_for_go")


def _blank(cpu: Cpu, task: Task, comm: str, program: Program, on: int, sched_class: SchedClass) -> None:
    task.comm, task.program, task.sched_class = comm, program, sched_class
    task.cpu = task.home = on
    task.csd = cpu.machine.dims.cpus + task.index
    task.flags = task.preempt_count = task.nterms = task.on_rq = task.in_kernel = 0
    task.nr_mutexes = task.online_refs = 0
    task.rq_next = NOBODY
    task.deadline_ns = 0
    task.stack = ""


def new_idle(cpu: Cpu, number: int) -> None:
    """swapper/N: the task of a CPU that has nothing to do; it runs when the CPU comes up."""
    task = cpu.machine.tasks[idle_task(number)]
    _blank(cpu, task, f"swapper/{number}", Program.IDLE, number, SchedClass.IDLE)
    task.state = TaskState.RUNNING


def new_kthread(cpu: Cpu, number: int, fn: int, arg: int, comm: str, on: int, sched_class: SchedClass) -> None:
    """A kernel thread, asleep until it is woken for the first time."""
    task = cpu.machine.tasks[number]
    _blank(cpu, task, comm, Program.KTHREAD, on, sched_class)
    task.kthread_fn, task.kthread_arg = fn, arg
    task.state = TaskState.UNINTERRUPTIBLE


def wait_for_go(cpu: Cpu, number: int) -> None:
    """A workload task at the border of user mode, asleep until the machine is up (Header.go)."""
    task, header = cpu.machine.tasks[number], cpu.header
    task.cpu = cpu.number
    task.sched_class = SchedClass.FAIR
    task.csd = cpu.machine.dims.cpus + number
    task.rq_next = NOBODY
    task.flags = TaskFlag.USER_WAIT
    task.why, task.busy, task.wait_ns = P_GO, 0, cpu.now()
    task.word[0], task.op[0], task.value[0] = header.addr(Header.go), Op.EQ, 1
    task.nterms = 1
    task.state = TaskState.INTERRUPTIBLE
