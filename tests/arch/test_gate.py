"""The gate's promise: nothing above it changes when it is another one (issue: boot, a drain, an offline, twice)."""

from __future__ import annotations

import os
import tempfile
import traceback
from pathlib import Path

import pytest

from cpuemu.arch.apic import Apic
from cpuemu.arch.cpu import Cpu, PowerOff, Term
from cpuemu.arch.lending import run
from cpuemu.arch.ram import RamFile, create_ram, create_rings, open_ram, open_rings
from cpuemu.coordinator.hotplug import Operation, Step
from cpuemu.core import Core
from cpuemu.kernel.fork import new_kthread
from cpuemu.kernel.kthread import kthread_function
from cpuemu.kernel.mm_init import free_area_init
from cpuemu.kernel.mmzone import zones_for
from cpuemu.kernel.page_alloc import GFP_KERNEL, alloc_pages, drain_from_reclaim
from cpuemu.kernel.page_audit import audit
from cpuemu.kernel.page_lists import free_pages
from cpuemu.kernel.sched import CpuOffline, wait_event, wake_up_new_task
from cpuemu.kernel.smpboot import smp_prepare_cpus
from cpuemu.layout import (
    Counter,
    CpuState,
    Dimensions,
    Header,
    MachineState,
    Mask,
    MigrateType,
    Op,
    SchedClass,
    Vector,
    first_workload_task,
    nr_processes,
)
from cpuemu.sites import site
from tests.arch.round_robin import ACTORS, Rotation, RoundRobin
from workers.boot import boot_processor, secondary_processor
from workers.entry import Boot, plug_in

CPUS = 3
DRIVER = CPUS
P_GO = site("test:drainer")


def drainer(cpu: Cpu, arg: int) -> None:
    """A kernel thread that waits to be let go, fills its CPU's list, and drains everybody's."""
    wait_event(cpu, P_GO, Term(cpu.header.addr(Header.go), Op.EQ, 1))
    for pfn in [alloc_pages(cpu, GFP_KERNEL, 0, MigrateType.MOVABLE) for _ in range(5)]:
        free_pages(cpu, pfn, 0)
    drain_from_reclaim(cpu, 0)
    cpu.header.tasks_done = 1


FN_DRAINER = kthread_function("test:drainer", drainer)


def cpu_process(boot: Boot, rotation: Rotation) -> int:
    """One CPU under the round-robin gate, to its offline or to power-off."""
    image = open_ram(Path(boot.run_dir))
    rotation.wait(boot.cpu)
    cpu = plug_in(boot, image, open_rings(Path(boot.run_dir)), RoundRobin(rotation))
    try:
        if cpu.number == 0:
            number = first_workload_task(CPUS)
            new_kthread(cpu, number, FN_DRAINER, 0, "drainer", 0, SchedClass.FAIR)
            boot_processor(cpu)
            wake_up_new_task(cpu, number)
        else:
            secondary_processor(cpu)
        run(cpu)
    except CpuOffline:
        while cpu.apic.undelivered():
            rotation.step(cpu.number, "leaving")
    except PowerOff:
        pass
    rotation.leave(cpu.number)
    cpu.apic.close()
    cpu.me.state = CpuState.GONE
    return 0


class World:
    """The driver: one more actor, the coordinator's hands."""

    def __init__(self, directory: Path, sockets: str) -> None:
        dims = Dimensions(CPUS, 4096, 1, first_workload_task(CPUS) + 1)
        self.image: RamFile = create_ram(directory, dims)
        self.machine = self.image.machine
        create_rings(directory, CPUS, (1024, 4096))
        zones = zones_for(4096 << 12, CPUS)
        core = Core(self.image.ram, None, (0, 0), 0, 0)
        free_area_init(self.machine, self.image.mapping, core, zones, CPUS)
        smp_prepare_cpus(self.machine)
        self.rotation = Rotation(CPUS + 1)
        self.rotation.join(DRIVER)
        self.directory, self.sockets = str(directory), sockets
        self.bells = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(CPUS + 1 + nr_processes(CPUS))]
        self.lifeline = os.pipe()
        self.pids: dict[int, int] = {}
        for cpu in range(CPUS):
            self.start_process(cpu)
        self.apic = Apic(self.image.ram, self.machine, CPUS, 1, sockets)

    def start_process(self, cpu: int) -> None:
        words = self.machine.cpus[cpu]
        words.generation += 1
        words.state = CpuState.STARTING
        words.process = words.runner = cpu
        boot = Boot(cpu, words.generation, cpu, self.directory, self.sockets, self.bells, self.lifeline[0], "v3.2",
                    None, None)
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                status = cpu_process(boot, self.rotation)
            except BaseException:
                traceback.print_exc()
            os._exit(status)
        self.pids[cpu] = pid
        self.rotation.join(cpu)

    def platform_interrupt(self, cpu: int) -> None:
        self.apic.send(cpu, Vector.PLATFORM)

    def expect_exit(self, cpu: int) -> None:
        pass

    def process_gone(self, cpu: int) -> bool:
        if cpu in self.pids:
            assert os.waitpid(self.pids.pop(cpu), 0)[1] == 0
        return True

    def operate(self, cpu: int, up: bool) -> int:
        operation = Operation(self.machine, self, cpu, up)
        while not operation.advance(1):
            # A CPU that has left the rotation ends in real time: nobody's step may depend on when.
            if operation.step is not Step.PROCESS or self.rotation.page[ACTORS + cpu]:
                self.rotation.step(DRIVER, operation.row_name)
        return operation.result

    def until(self, word: str, value: int) -> None:
        while getattr(self.machine.header, word) != value:
            self.rotation.step(DRIVER, word)

    def end(self) -> None:
        self.machine.header.state = MachineState.OFF
        self.rotation.leave(DRIVER)
        for pid in self.pids.values():
            assert os.waitpid(pid, 0)[1] == 0
        self.apic.close()


def run_once(directory: Path) -> tuple[tuple[int, int], list[int]]:
    with tempfile.TemporaryDirectory() as sockets:
        world = World(directory, sockets)
        machine = world.machine
        while machine.cpus[0].state != CpuState.RUNNING:
            world.rotation.step(DRIVER, "boot")
        assert [world.operate(cpu, up=True) for cpu in (1, 2)] == [0, 0]
        machine.header.state = MachineState.RUNNING
        machine.header.go = 1
        world.until("tasks_done", 1)
        assert world.operate(2, up=False) == 0
        trace = world.rotation.trace()
        world.end()
        assert machine.cpumasks[Mask.ONLINE].bits[0] == 0b011
        assert machine.header.nr_findings == 0
        assert audit(machine, world.image.mapping).ok
        counters = [sum(cpu.counters[number] for cpu in machine.cpus)
                    for number in (Counter.DRAIN_ALL, Counter.DRAIN, Counter.IPI_TAKEN, Counter.STOP_MACHINE)]
    return trace, counters


@pytest.mark.timeout(120)
def test_boot_drain_and_offline_twice_leave_one_trace(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    first, counters = run_once(tmp_path / "first")
    second, again = run_once(tmp_path / "second")
    assert first == second
    assert counters == again
    drains, drained, taken, stops = counters
    assert (drains, stops) == (1, 1)
    assert drained >= 5
    assert taken >= 2
    assert first[1] > 500
