"""A machine's life: boot, CPUs going and coming, the largest machine from power on to power off, and its memory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.machines import Launched, inside, launched
from benchmarks.measure import Goal, Missing, Row, Settings
from cpuemu.events import Event
from cpuemu.layout import Mask, first_workload_task
from cpuemu.report.image import Image, open_image
from cpuemu.report.records import records

BOOT_GOALS = {8: 0.4, 64: 2.0, 256: 6.0}
SIZES = (8, 64, 256)
LARGEST = 256
SECONDS = "2"

BOOT_NOTE = "from exec of the command to the first instruction of a user task on the last CPU, seen from outside"
TOLD_NOTE = "as the machine itself reports it: until the last CPU is online"
PARK_NOTE = "CPUs 1, 2, 3 of an idle machine of 8 go and come in turn; medians added; the process of a dead CPU is kept"
EXIT_NOTE = "the same, but its process ends and another one is forked"
LARGEST_NOTE = "boot, ten drains of all CPUs, page audit, power off, verdict: the whole command"
MEMORY_NOTE = ("proportional set size of its process, its share of RAM, rings and Python included; no pairs of CPUs "
               "have talked but those of boot")


def sizes(settings: Settings) -> tuple[int, ...]:
    return SIZES[:1] if settings.quick else SIZES


def boot(settings: Settings) -> Iterator[Row]:
    """Seconds from exec to the last CPU's first user instruction."""
    with launched("--cpus", "1", "--workload", "storm:50") as machine:
        machine.end()  # bytecode is there, files are in memory
    for cpus in sizes(settings):
        row = Row(f"boot, {cpus} CPUs", "s", [], goal=Goal(value=BOOT_GOALS[cpus]), note=BOOT_NOTE)
        told = Row(f"… as it says, {cpus} CPUs", "s", [], note=TOLD_NOTE)
        for _ in range(settings.repeat):
            with launched("--cpus", str(cpus), "--workload", "storm:50", "--tasks", str(cpus)) as machine:
                told.ours.append(machine.end()["boot_seconds"])
                row.ours.append((_last_first_step(open_image(machine.run_dir)) - machine.started_ns) / 1e9)
        yield row
        yield told


def _last_first_step(image: Image) -> int:
    """When the last CPU first gave itself to a task of the workload."""
    first_task, cpus = first_workload_task(image.machine.dims.cpus), image.machine.dims.cpus
    first: dict[int, int] = {}
    for record in records(image):
        if record.event == Event.SCHED_SWITCH and record.args[2] >= first_task:
            first.setdefault(record.cpu, record.time_ns)
    if len(first) < cpus:
        raise Missing(f"a user task on every CPU: {cpus - len(first)} of {cpus} had none")
    return max(first.values())


def hotplug(settings: Settings) -> Iterator[Row]:
    """Milliseconds of an offline and an online."""
    for offline, goal, note in (("park", 40.0, PARK_NOTE), ("exit", 100.0, EXIT_NOTE)):
        row = Row(f"offline + online, process {'kept' if offline == 'park' else 'ended'}", "ms", [],
                  goal=Goal(value=goal), note=note)
        for _ in range(settings.repeat):
            with launched("--cpus", "8", "--workload", "idle", "--hotplug", "1,2,3", "--offline", offline, "--seconds",
                          "0.5" if settings.quick else SECONDS) as machine:
                took = machine.end()["latency_us"]
            row.ours.append((took["offline"]["median"] + took["online"]["median"]) / 1000)
        yield row


def largest(settings: Settings) -> Iterator[Row]:
    """Seconds of a machine as large as they come."""
    cpus = 16 if settings.quick else LARGEST
    row = Row(f"{cpus} CPUs: boot, drain, power off", "s", [], note=LARGEST_NOTE)
    for _ in range(min(settings.repeat, 3)):
        started = time.monotonic()
        inside(cpus, drain=10)
        row.ours.append(time.monotonic() - started)
    yield row


def memory(settings: Settings) -> Iterator[Row]:
    """KiB of a CPU's process."""
    for cpus in sizes(settings):
        with launched("--cpus", str(cpus), "--workload", "idle", "--seconds", "600") as machine:
            image = machine.running()
            every = [_pss(cpu.pid) for cpu in image.machine.cpus]
            whole = sum(every) + sum(_pss(pid) for pid in _ancestors(machine, image.machine.cpus[0].pid))
            online = sum(bits.bit_count() for bits in image.machine.cpumasks[Mask.ONLINE].bits)
        if online != cpus:
            raise Missing(f"{cpus} CPUs online: there were {online}")
        yield Row(f"memory of a CPU, {cpus} CPUs", "KiB", [sum(every) / cpus], note=MEMORY_NOTE)
        yield Row(f"… all processes, {cpus} CPUs", "MiB", [whole / 1024])


def _pss(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return float(line.split()[1])
    raise Missing(f"Pss in /proc/{pid}/smaps_rollup")


def _ancestors(machine: Launched, pid: int) -> list[int]:
    """Zygote, coordinator, launcher."""
    found = []
    while pid != machine.process.pid:
        pid = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
        found.append(pid)
    return found
