"""Where a CPU's process begins and ends.  The zygote calls ``main`` in the child that it has forked."""

from __future__ import annotations

import faulthandler
import gc
import os
import signal
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from cpuemu.arch.apic import Apic
from cpuemu.arch.checked import checked_machine
from cpuemu.arch.cpu import Cpu, LifelineLost, PowerOff, Traps
from cpuemu.arch.faults import injected
from cpuemu.arch.gate import FreeGate, Gate
from cpuemu.arch.lending import run
from cpuemu.arch.ram import RamFile, RingFile, open_ram, open_rings
from cpuemu.arch.stepped import step_leaves, stepped_core
from cpuemu.arch.trace_file import TraceFiles
from cpuemu.arch.wire import Wire
from cpuemu.coordinator.processes import title
from cpuemu.core import Core, now
from cpuemu.faults import Fault
from cpuemu.kernel.sched import CpuOffline, preempt_schedule
from cpuemu.kernel.user_mode import run_task
from cpuemu.layout import MachineState, process_name
from cpuemu.policies.base import CALLS
from cpuemu.profiles import policy_named
from workers.boot import boot_processor, secondary_processor
from workers.interrupts import interrupt, timer
from workers.last_words import STATUS_DEFECT, STATUS_FAILED, STATUS_OFF, last_words
from workers.park import play_dead, power_off, wait_for_next_life


@dataclass(frozen=True)
class Boot:
    """What a CPU's process is told.

    ``process``: its entry in RAM; ``doorbells``: as ``Cpu.doorbells``; ``lifeline``: the read end of its pipe.
    """

    cpu: int
    generation: int
    process: int
    run_dir: str
    socket_dir: str
    doorbells: list[int]
    lifeline: int
    profile: str
    policy: str | None
    workload_path: str | None
    stepped: bool = False
    """The compiled leaves stop before each of their stores."""


def main(boot: Boot) -> int:
    """Run a CPU from power on to power off; its process's exit status.  The caller ends with os._exit.

    (A greenlet that is collected runs its cleanup: kernel code must not run on a CPU that has left.)
    """
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the launcher: it stops the machine in order
    image, rings = open_ram(Path(boot.run_dir)), open_rings(Path(boot.run_dir))
    past: list[Cpu] = []
    try:
        while True:
            cpu = plug_in(boot, image, rings, FreeGate())
            past.append(cpu)
            gc.freeze()
            status = _live(cpu)
            if status is not None:
                return status
            boot = replace(boot, generation=wait_for_next_life(cpu))
            title(f"cpuemu {process_name(image.machine.processes[boot.process])}")
    except PowerOff:
        return _status(image)
    except LifelineLost:
        return STATUS_FAILED
    except BaseException as error:
        last_words(image.machine, boot.cpu, boot.generation, error, boot.doorbells[image.machine.dims.cpus])
        return STATUS_DEFECT


def plug_in(boot: Boot, image: RamFile, rings: RingFile, gate: Gate) -> Cpu:
    """The CPU of this process: RAM, trace, interrupt controller, the kernel's entries, the profile's policy."""
    ram, machine = image.ram, image.machine
    if machine.header.checked:
        ram, machine = checked_machine(image.mapping, machine.dims, boot.cpu, boot.process)
    words = rings.mapping, rings.sizes, boot.cpu, boot.generation
    core = stepped_core(image.mapping, *words) if boot.stepped else Core(ram, *words)
    faults = injected(machine, core, boot.cpu)
    wire = Wire(faults, boot.cpu) if faults is not None else None
    apic = Apic(ram, machine, boot.cpu, boot.generation, boot.socket_dir, core, wire)
    cpu = Cpu(
        number=boot.cpu, process=boot.process, machine=machine, ram=ram, core=core, gate=gate, apic=apic,
        doorbells=boot.doorbells, lifeline=boot.lifeline,
        traps=Traps(interrupt=interrupt, preempt=preempt_schedule, timer=timer, run_task=run_task),
        faults=faults,
    )
    cpu.drain, cpu.calls = policy_named(boot.profile, boot.policy).drain, CALLS
    if machine.header.trace_all:
        cpu.spill_of = cache(lambda number: TraceFiles(Path(boot.run_dir), number, rings).spill)
        cpu.spill = cpu.spill_of(boot.cpu)
    if boot.workload_path:
        from cpuemu.workloads.python_task import program

        cpu.workload = program(boot.workload_path)
    if faults is not None and Fault.STARVED_CPU in faults.rates:
        signal.signal(signal.SIGCONT, lambda *_: _starved(cpu))
    if boot.stepped:
        step_leaves(cpu, image.mapping)
    machine.processes[boot.process].pid = os.getpid()
    cpu.me.pid, cpu.me.hello_ns = os.getpid(), now()
    return cpu


def _starved(cpu: Cpu) -> None:
    """The process goes on after it was stopped on purpose.  Told on the CPU that it runs, if it runs one just now."""
    if cpu.faults is not None and cpu.me.runner == cpu.process:
        # How long stands with the CPU that the process was forked for, whichever it runs now.
        mine = cpu.machine.cpus[cpu.machine.processes[cpu.process].cpu]
        cpu.faults.record(Fault.STARVED_CPU, cpu.number, 0, mine.starved_us)


def _live(cpu: Cpu) -> int | None:
    """One life of the CPU.  None: offline, and its process is kept for the next."""
    try:
        if cpu.number == 0:
            boot_processor(cpu)
        else:
            secondary_processor(cpu)
        run(cpu)
    except CpuOffline:
        return None if play_dead(cpu) else STATUS_OFF
    except PowerOff:
        power_off(cpu)
        raise


def _status(image: RamFile) -> int:
    return STATUS_OFF if image.machine.header.state == MachineState.OFF else STATUS_FAILED
