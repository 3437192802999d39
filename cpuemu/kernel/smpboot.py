"""What must stand in RAM before any CPU runs (Linux: smp_prepare_cpus and the static initialisers of per-CPU data).

Invariant:     called once, by the launcher, before a process of a CPU exists: all of them start at the same time.
Writers:       the launcher.
Steps:         none.
Not modelled:  ACPI tables: every CPU is present.
"""

from __future__ import annotations

from cpuemu.layout import LINE_END, NOBODY, Machine, Mask, idle_task
from cpuemu.sites import write_sites


def smp_prepare_cpus(machine: Machine) -> None:
    """Masks of what is possible, empty queues, names of sites."""
    cpus = machine.dims.cpus
    write_sites(machine)
    machine.header.coordinator_line = LINE_END
    for mask in (Mask.POSSIBLE, Mask.PRESENT):
        for index in range(len(machine.cpumasks[mask].bits)):
            machine.cpumasks[mask].bits[index] = ((1 << cpus) - 1) >> 64 * index & 0xFFFF_FFFF_FFFF_FFFF
    machine.call_function.next = machine.call_function.prev = cpus
    for number in range(cpus):
        words = machine.cpus[number]
        words.rq_head = words.rq_tail = words.stop_task = NOBODY
        words.idle_task = words.current = idle_task(number)
        words.irqs_off = 1
        machine.stoppers[number].head = machine.stoppers[number].tail = NOBODY
        machine.single_queues[number].head = machine.single_queues[number].tail = NOBODY
