"""Requests of a disk, completed on the CPU that they were sent from (Linux: block/blk-mq.c, v3.13).

Invariant:     a request belongs to whoever has begun it until it is complete; nobody looks at its csd meanwhile.
Writers:       ``request_done`` by who begins the request, then by who completes it, on whatever CPU.
Steps:         before the csd is made ready, before the request is complete; those of the call.
Not modelled:  the disk, queues, tags: a task has one request, which is done as soon as it is begun, and the disk's
               interrupt comes where the task runs.

v3.2 has the same in block/blk-softirq.c, but completes in a softirq, after the interrupt's handler.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cpuemu.arch.cpu import Term
from cpuemu.arch.gate import Kind
from cpuemu.kernel.call_functions import END_REQUEST
from cpuemu.kernel.cpumask import cpu_online
from cpuemu.kernel.irqflags import local_irq_restore, local_irq_save
from cpuemu.kernel.sched import wait_event, wake
from cpuemu.kernel.smp import smp_call_function_single_async
from cpuemu.layout import Csd, Op, Task
from cpuemu.sites import site

if TYPE_CHECKING:
    from cpuemu.arch.cpu import Cpu

P_BEGIN = site("blk_mq_start_request")
P_CSD = site("blk_mq_complete_request:csd")
P_END = site("blk_mq_end_request")
P_WAIT = site("io_schedule")


def submit_and_wait(cpu: Cpu, target: int) -> None:
    """Begin the task's request, have it completed on a CPU, and sleep until it is.  Context: may sleep."""
    task = cpu.current
    done = task.addr(Task.request_done)
    cpu.point(P_BEGIN, done, Kind.WRITE)
    cpu.ram.xchg(done, 0)
    flags = local_irq_save(cpu)
    blk_mq_complete_request(cpu, target, task.index)
    local_irq_restore(cpu, flags)
    wait_event(cpu, P_WAIT, Term(done, Op.EQ, 1))


def blk_mq_complete_request(cpu: Cpu, target: int, request: int) -> None:
    """The disk's interrupt: a task's request is done.  Its csd is made ready, as if it had never been used."""
    if target == cpu.number or not cpu_online(cpu, target):
        end_request(cpu, request)
        return
    csd = cpu.machine.csds[cpu.machine.tasks[request].csd]
    cpu.point(P_CSD, csd.addr(Csd.flags), Kind.WRITE)
    csd.func, csd.info = END_REQUEST, request
    cpu.ram.xchg(csd.addr(Csd.flags), 0)
    smp_call_function_single_async(cpu, target, csd)


def end_request(cpu: Cpu, request: int) -> None:
    """The request is complete: whoever waits for it may begin it anew.  Context: interrupt, interrupts off."""
    done = cpu.machine.tasks[request].addr(Task.request_done)
    cpu.point(P_END, done, Kind.WRITE)
    cpu.ram.xchg(done, 1)
    wake(cpu, done)
