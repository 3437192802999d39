"""One CPU alone, in the test's own process: kernel functions called as its current task, on memory laid out by hand.

There are no other processes and no coordinator.  What sleeps goes to kswapd and the idle task, and comes back when its
time is up.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from greenlet import getcurrent, greenlet

from cpuemu.arch.cpu import Cpu
from cpuemu.arch.gate import FreeGate
from cpuemu.arch.ram import RamFile, create_ram, create_rings, open_rings
from cpuemu.core import Core
from cpuemu.events import BY_ID
from cpuemu.kernel.cpumask import cpumask_set_cpu
from cpuemu.kernel.fork import new_idle, new_kthread
from cpuemu.kernel.irqflags import local_irq_enable
from cpuemu.kernel.kthread import FN_KSWAPD
from cpuemu.kernel.mm_init import free_area_init, hold_at_boot
from cpuemu.kernel.mmzone import ZoneSpec
from cpuemu.kernel.page_audit import PageAudit, audit
from cpuemu.kernel.sched import cond_resched, cpu_idle, wake_up_new_task
from cpuemu.kernel.smpboot import smp_prepare_cpus
from cpuemu.layout import (
    NOBODY,
    CpuState,
    Dimensions,
    Machine,
    MachineState,
    Mask,
    Program,
    SchedClass,
    Task,
    TaskState,
    first_workload_task,
    kswapd_task,
    nr_processes,
)
from cpuemu.report.image import open_image
from cpuemu.report.records import records
from workers.entry import Boot, plug_in

TASKS = 4
RINGS = (1024, 4096)


@dataclass
class Alone:
    """The machine and its CPU 0.  ``drains``: the orders for which the policy was asked to drain."""

    cpu: Cpu
    image: RamFile
    directory: Path
    drains: list[int] = field(default_factory=list)

    @property
    def machine(self) -> Machine:
        """What stands in RAM, for the test to arrange: its writes are not checked, the CPU's are."""
        return self.image.machine

    @property
    def task(self) -> Task:
        """The test itself, as the machine sees it."""
        return self.machine.tasks[self.cpu.me.current]

    def other(self, number: int) -> Task:
        """Another workload task, 1 to TASKS - 1: asleep, but there (the OOM killer may choose it)."""
        return self.machine.tasks[first_workload_task(self.machine.dims.cpus) + number]

    def count(self, counter: int) -> int:
        return self.cpu.me.counters[counter]

    def audit(self) -> PageAudit:
        return audit(self.cpu.machine, self.image.mapping)

    def events(self) -> list[str]:
        """Names of the events of both rings, in the order in which they happened."""
        return [BY_ID[record.event].name for record in records(open_image(self.directory))]


@contextlib.contextmanager
def alone(zones: Sequence[ZoneSpec], cpus: int = 2, kswapd: bool = True, checked: bool = True) -> Iterator[Alone]:
    """``zones``: as for a launch; ``free`` and ``nr_file`` say how full they are.  ``kswapd``: whether it runs.

    ``checked``: what the CPU writes must be its to write; not where the test does another task's work.
    """
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        first = first_workload_task(cpus)
        image = create_ram(directory, Dimensions(cpus, zones[-1].end_pfn, len(zones), first + TASKS))
        create_rings(directory, cpus, RINGS)
        machine = image.machine
        machine.header.checked = checked
        setup = Core(image.ram, None, (0, 0), 0, 0)
        free_area_init(machine, image.mapping, setup, zones, cpus)
        hold_at_boot(machine, setup, zones, [])
        smp_prepare_cpus(machine)
        machine.cpus[0].generation, machine.header.state = 1, MachineState.RUNNING
        lifeline = os.pipe()
        bells = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(cpus + 1 + nr_processes(cpus))]
        boot = Boot(0, 1, 0, name, name, bells, lifeline[0], "v3.2", None, None)
        cpu = plug_in(boot, image, open_rings(directory), FreeGate())
        here = Alone(cpu, image, directory)
        cpu.drain = lambda cpu, order: here.drains.append(order)
        try:
            _boot(cpu, image.machine, first, kswapd)
            yield here
        finally:
            cpu.apic.close()
            for descriptor in (*lifeline, *bells):
                os.close(descriptor)


def _boot(cpu: Cpu, machine: Machine, first: int, kswapd: bool) -> None:
    """The idle task, kswapd asleep on its queue, and the test as task ``first``, inside the kernel.

    ``machine``: the same RAM, not checked: much of what is written here is not this CPU's to write.
    """
    new_idle(cpu, 0)
    new_kthread(cpu, kswapd_task(machine.dims.cpus), FN_KSWAPD, 0, "kswapd0", 0, SchedClass.FAIR)
    for number in range(first, first + TASKS):
        task = machine.tasks[number]
        task.comm, task.program, task.state = f"task/{number - first}", Program.STORM, TaskState.INTERRUPTIBLE
        task.home, task.sched_class, task.rq_next = NOBODY, SchedClass.FAIR, NOBODY
    for mask in (Mask.ONLINE, Mask.ACTIVE):
        cpumask_set_cpu(cpu, 0, mask)
    me = machine.cpus[0]
    me.state, me.current, me.irqs_off = CpuState.RUNNING, first, 0
    current = machine.tasks[first]
    current.state, current.on_rq, current.in_kernel = TaskState.RUNNING, 1, 1
    machine.kswapd.waiting, machine.kswapd.classzone = 1, machine.dims.zones - 1
    cpu.hub = getcurrent()
    cpu.stacks[first] = getcurrent()
    cpu.stacks[0] = greenlet(lambda: _idle(cpu))
    if kswapd:
        wake_up_new_task(cpu, kswapd_task(machine.dims.cpus))
        cond_resched(cpu)
        assert machine.kswapd.waiting


def _idle(cpu: Cpu) -> None:
    """swapper/0, which elsewhere runs first and has enabled interrupts long ago."""
    local_irq_enable(cpu)
    cpu_idle(cpu)
