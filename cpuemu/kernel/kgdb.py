"""The kernel debugger stops every CPU while one of them is in it (Linux: kernel/kgdb.c, v2.6.27).

Invariant:     one CPU is the master, whose number is in kgdb_active from before the others are called until after they
               have left.
Writers:       kgdb_active by compare-and-swap; cpu_in_kgdb by its CPU; passive_cpu_wait by the master.
Steps:         before every access to one of these words.
Not modelled:  gdb at the other end: the session is over at once.  Single steps.  That an NMI is not to be masked: it is
               taken where interrupts are on, so what the debugger does with interrupts off it does here with them on;
               other interrupts come in, too, and preemption is off.  Linux reads kgdb_active anew for each of
               kgdb_nmicallback's three questions, and may look up the CPU in front of the first.

The master stops the others by an NMI to each (kgdb_roundup_cpus).  Any other NMI on a CPU, while there is a master, is
taken for that, too: nothing says what an NMI is for.  v3.2 has it in kernel/debug/debug_core.c, made anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cpuemu.arch.gate import Kind
from cpuemu.kernel.cpumask import cpumask_copy, for_each_online_cpu
from cpuemu.kernel.irqflags import preempt_disable, preempt_enable
from cpuemu.kernel.percpu import per_cpu
from cpuemu.kernel.sched import wake
from cpuemu.layout import Kgdb, KgdbCpu, Mask, Op, Vector
from cpuemu.sites import site

if TYPE_CHECKING:
    from cpuemu.arch.cpu import Cpu
    from cpuemu.schema import Address

P_ACTIVE = site("kgdb_handle_exception:kgdb_active")
P_PASSIVE = site("kgdb_handle_exception:passive_cpu_wait")
P_MASTER_IN = site("kgdb_handle_exception:cpu_in_kgdb")
P_ALL_IN = site("kgdb_handle_exception:all_in")
P_ALL_OUT = site("kgdb_handle_exception:all_out")
P_CALLBACK = site("kgdb_nmicallback")
P_WAIT_IN = site("kgdb_wait:cpu_in_kgdb")
P_WAIT = site("kgdb_wait")
P_NMI = site("do_nmi")


def kgdb_breakpoint(cpu: Cpu) -> None:
    """A breakpoint exception on this CPU.  Context: interrupts on; may wait for another master."""
    preempt_disable(cpu)
    kgdb_handle_exception(cpu)
    preempt_enable(cpu)


def kgdb_handle_exception(cpu: Cpu) -> None:
    """Become the master, stop the others, let them go."""
    machine = cpu.machine
    mine = per_cpu(cpu, machine.kgdb_cpus, cpu.number)
    _become_master(cpu)
    for each in machine.kgdb_cpus:
        _set(cpu, each.addr(KgdbCpu.passive_cpu_wait), 1, P_PASSIVE)
    # In the debugger before anybody is called: whoever is called looks for it.
    _set(cpu, mine.addr(KgdbCpu.cpu_in_kgdb), 1, P_MASTER_IN)
    kgdb_roundup_cpus(cpu)
    for number in for_each_online_cpu(cpu):
        cpu.wait_until(machine.kgdb_cpus[number].addr(KgdbCpu.cpu_in_kgdb), Op.NE, 0, P_ALL_IN)
    # Here gdb would be talked to.
    _set(cpu, mine.addr(KgdbCpu.cpu_in_kgdb), 0, P_MASTER_IN)
    for each in reversed(list(machine.kgdb_cpus)):
        _set(cpu, each.addr(KgdbCpu.passive_cpu_wait), 0, P_PASSIVE)
    for number in for_each_online_cpu(cpu):
        cpu.wait_until(machine.kgdb_cpus[number].addr(KgdbCpu.cpu_in_kgdb), Op.EQ, 0, P_ALL_OUT)
    _set(cpu, machine.kgdb.addr(Kgdb.active), 0, P_ACTIVE)


def _become_master(cpu: Cpu) -> None:
    active = cpu.machine.kgdb.addr(Kgdb.active)
    cpu.point(P_ACTIVE, active, Kind.WRITE)
    while not cpu.ram.cmpxchg(active, 0, cpu.number + 1):
        cpu.wait_until(active, Op.EQ, 0, P_ACTIVE)


def kgdb_roundup_cpus(cpu: Cpu) -> None:
    """An NMI to every other CPU (x86: send_IPI_allbutself)."""
    others = cpumask_copy(cpu, Mask.ONLINE) & ~(1 << cpu.number)
    cpu.apic.send_mask((others >> word & 0xFFFF_FFFF_FFFF_FFFF for word in range(0, others.bit_length(), 64)),
                       Vector.NMI, cpu.off)


def do_nmi(cpu: Cpu) -> None:
    """Who looks at an NMI: the debugger, when it has a master.  Context: interrupt."""
    active = cpu.machine.kgdb.addr(Kgdb.active)
    cpu.point(P_NMI, active, Kind.READ)
    if cpu.machine.kgdb.active:
        kgdb_nmicallback(cpu)


def kgdb_nmicallback(cpu: Cpu) -> None:
    """Wait for the master, if it is not this CPU and is in the debugger.  Context: interrupt."""
    machine = cpu.machine
    mine = per_cpu(cpu, machine.kgdb_cpus, cpu.number)
    cpu.point(P_CALLBACK, machine.kgdb.addr(Kgdb.active), Kind.READ)
    master = machine.kgdb.active - 1
    if mine.cpu_in_kgdb or master in (-1, cpu.number):
        return
    cpu.point(P_CALLBACK, machine.kgdb_cpus[master].addr(KgdbCpu.cpu_in_kgdb), Kind.READ)
    if machine.kgdb_cpus[master].cpu_in_kgdb:
        kgdb_wait(cpu)


def kgdb_wait(cpu: Cpu) -> None:
    """Stand in the debugger until the master lets go."""
    mine = per_cpu(cpu, cpu.machine.kgdb_cpus, cpu.number)
    _set(cpu, mine.addr(KgdbCpu.cpu_in_kgdb), 1, P_WAIT_IN)
    cpu.wait_until(mine.addr(KgdbCpu.passive_cpu_wait), Op.EQ, 0, P_WAIT)
    _set(cpu, mine.addr(KgdbCpu.cpu_in_kgdb), 0, P_WAIT_IN)


def _set(cpu: Cpu, word: Address, value: int, where: int) -> None:
    """atomic_set, and a ring for who waits for the word."""
    cpu.point(where, word, Kind.WRITE)
    cpu.ram.xchg(word, value)
    wake(cpu, word)
