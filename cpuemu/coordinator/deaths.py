"""What a machine's end means that it did not come to in order: a process died, or the machine failed."""

from __future__ import annotations

from cpuemu.coordinator.last_seen import cpu_run_by, mark_dead, process_last_seen
from cpuemu.coordinator.outcome import Outcome
from cpuemu.coordinator.power_on import NO_SPACE
from cpuemu.core import Ram
from cpuemu.kernel import oracles
from cpuemu.kernel.findings import locks_held, write_finding
from cpuemu.layout import Machine, Process


def died(ram: Ram, machine: Machine, process: Process, how: str) -> Outcome:
    """A CPU's process died.  Its name is that of its own CPU, even where it ran as another one."""
    mark_dead(machine, process)
    cpu = cpu_run_by(machine, process)
    held = list(locks_held(machine, [cpu], []))
    if held:
        write_finding(ram, machine, oracles.OWNER_DIED, f"cpu {cpu}'s process died and holds {'; '.join(held)}", cpu,
                      machine.cpus[cpu].current)
    return Outcome("cpu-died", f"cpu {process.cpu}", process_last_seen(machine, process, how))


def failure(machine: Machine) -> Outcome:
    """The machine's state is FAILED: a fatal finding, or a defect of ours with last words."""
    said = [cpu.last_words for cpu in machine.cpus if cpu.last_words]
    if said:
        full = any(f"[Errno {number}]" in said[0] for number in NO_SPACE)
        return Outcome("disk-full" if full else "defect", said[0].split(" gen")[0], said[0])
    if machine.header.nr_findings:
        return Outcome("failed", "machine")
    return Outcome("defect", "machine", "the machine failed, and nobody says why: see stderr.log")
