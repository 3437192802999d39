"""A CPU offline: its process keeps the tasks that are inside the kernel, waits for the CPU's next life, or ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cpuemu.arch.lending import keep, keeps, sleep_until
from cpuemu.coordinator.processes import title
from cpuemu.layout import CpuState, Process, ProcessState, process_name

if TYPE_CHECKING:
    from cpuemu.arch.cpu import Cpu


def play_dead(cpu: Cpu) -> bool:
    """The CPU of this process has left the machine.  True: the process is kept for the CPU's next life."""
    parked, kept = bool(cpu.header.park), keeps(cpu.machine, cpu.process)
    process, apic = cpu.machine.processes[cpu.process], cpu.apic
    after = ProcessState.PARKED if parked else ProcessState.GONE
    if not kept:
        leave(cpu)
    process.state = ProcessState.KEPT if kept else after
    cpu.me.state = CpuState.PARKED if kept or parked else CpuState.GONE
    cpu.ram.fence()
    cpu.ring_coordinator()
    cpu.gate.leave(cpu)
    if kept:
        if cpu.spill is not None:
            cpu.spill()
        keep(cpu, title)
        cpu.gate.close(apic)
        if not cpu.ram.cmpxchg(process.addr(Process.state), ProcessState.KEPT, after):
            process.state = after = ProcessState.GONE  # abandoned: the CPU has another process
        title(f"cpuemu {process_name(process)}")
    return after == ProcessState.PARKED


def leave(cpu: Cpu) -> None:
    """In order: what was traced is in its file, what was sent has left."""
    if cpu.spill is not None:
        cpu.spill()
    cpu.gate.close(cpu.apic)


def power_off(cpu: Cpu) -> None:
    """The last of a CPU.  Nobody waits for a frame any more: the process ends with its sockets as they are."""
    if cpu.spill is not None:
        cpu.spill()


def wait_for_next_life(cpu: Cpu) -> int:
    """Sleep until the coordinator gives this process's CPU another generation; that generation."""
    process = cpu.machine.processes[cpu.process]
    sleep_until(cpu, lambda: process.state == ProcessState.RUNNING)
    return int(process.generation)
