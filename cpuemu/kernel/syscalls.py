"""What the operations of a user's program do in the kernel, but for those on its own pages (Linux has none of it).

Invariant:     an operation is a few lines here; what it does is the kernel's own functions.
Writers:       none.
Steps:         those of the functions called.
Not modelled:  errors: a call that cannot be made is not made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cpuemu.kernel.blk_mq import submit_and_wait
from cpuemu.kernel.call_functions import NOP
from cpuemu.kernel.cpumask import cpu_online, mask_of
from cpuemu.kernel.irqflags import preempt_disable, preempt_enable
from cpuemu.kernel.kexec import kernel_kexec
from cpuemu.kernel.kgdb import kgdb_breakpoint
from cpuemu.kernel.page_alloc import drain_from_reclaim
from cpuemu.kernel.page_lists import percpu_pagelist_fraction_sysctl_handler
from cpuemu.kernel.rcutree import synchronize_sched
from cpuemu.kernel.smp import on_each_cpu, smp_call_function_any, smp_call_function_many, smp_call_function_single
from cpuemu.kernel.stop_machine import STOP_NOTHING, stop_machine
from cpuemu.kernel.uapi import (
    Breakpoint,
    Call,
    CallAll,
    CallAny,
    CallMany,
    Io,
    Kexec,
    Nmi,
    Operation,
    PercpuPagelistFraction,
    Reschedule,
    SoftOffline,
    StopMachine,
    Synchronize,
)
from cpuemu.layout import Vector

if TYPE_CHECKING:
    from cpuemu.arch.cpu import Cpu


def system_call(cpu: Cpu, operation: Operation) -> None:
    """Context: the program's task, inside the kernel."""
    cpus = cpu.machine.dims.cpus
    match operation:
        case Call(target, wait):
            smp_call_function_single(cpu, target % cpus, NOP, 0, wait)
        case CallAll():
            on_each_cpu(cpu, NOP, 0, wait=True)
        case CallMany(targets, wait):
            preempt_disable(cpu)
            smp_call_function_many(cpu, mask_of(target % cpus for target in targets), NOP, 0, wait)
            preempt_enable(cpu)
        case Io(target):
            submit_and_wait(cpu, target % cpus)
        case CallAny(targets):
            smp_call_function_any(cpu, mask_of(target % cpus for target in targets), NOP, 0, wait=False)
        case Reschedule(target):
            sys_reschedule(cpu, target % cpus)
        case Breakpoint():
            kgdb_breakpoint(cpu)
        case StopMachine():
            stop_machine(cpu, STOP_NOTHING, 0, 0)
        case Kexec():
            kernel_kexec(cpu)
        case Synchronize():
            synchronize_sched(cpu)
        case Nmi(target):
            _interrupt(cpu, target % cpus, Vector.NMI)
        case SoftOffline():
            drain_from_reclaim(cpu, 0)  # shake_page: drain_all_pages, which is what the policy makes of it
        case PercpuPagelistFraction(fraction):
            percpu_pagelist_fraction_sysctl_handler(cpu, fraction)


def sys_call(cpu: Cpu, target: int) -> bool:
    """An asynchronous csd of the recording, awaited here: under v3.2 the recorded pattern would truly hang."""
    return smp_call_function_single(cpu, target, NOP, 0, wait=True) == 0


def sys_reschedule(cpu: Cpu, target: int) -> bool:
    return _interrupt(cpu, target, Vector.RESCHEDULE)


def _interrupt(cpu: Cpu, target: int, vector: Vector) -> bool:
    preempt_disable(cpu)
    sent = cpu_online(cpu, target) and target != cpu.number
    if sent:
        cpu.apic.send(target, vector, cpu.off)
    preempt_enable(cpu)
    return sent
