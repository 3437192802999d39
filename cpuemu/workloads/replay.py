"""``replay`` and ``replay:FILE``: a recording of a real kernel run again, line by line."""

from __future__ import annotations

from pathlib import Path

from cpuemu.kernel.mmzone import ZoneSpec, zones_for
from cpuemu.layout import MAX_ORDER, MAX_PAGES, PAGE_SHIFT, Program
from cpuemu.workloads.base import DEFAULT_WINDOW, InputError, Request, StreamPlan, TaskPlan, Workload
from cpuemu.workloads.compile import Compiled, compile_records, pack_stream
from cpuemu.workloads.ftrace import read_trace
from cpuemu.workloads.package import load_file, load_packaged

SHIPPED = "linux-6.12-pressure"
LEAST_PAGES = 16384


def replay_workload(rest: str, request: Request) -> Workload:
    """The recording that ships with cpuemu, or one of the user's.  Raises InputError."""
    if not rest:
        return for_machine(load_packaged(SHIPPED), request)
    path = Path(rest)
    if path.suffix == ".replay":
        return for_machine(load_file(path), request)
    return for_machine(from_files(path), request)


def from_files(trace: Path, zoneinfo: Path | None = None) -> Workload:
    """A recording and the zoneinfo that was taken before it: named, or ``zoneinfo.before`` in the same directory."""
    beside = zoneinfo or trace.parent / "zoneinfo.before"
    zones = None
    compiled = compile_file(trace)
    if zoneinfo is not None or beside.is_file():
        from cpuemu.workloads.zoneinfo import read_zoneinfo

        zones = read_zoneinfo(beside)
    return from_compiled(trace.name, compiled, zones)


def compile_file(path: Path) -> Compiled:
    compiled = compile_records(read_trace(path))
    if not compiled.allocations and not compiled.held:
        raise InputError(f"{path}: no page events (mm_page_alloc, mm_page_free) in it; record with -e kmem, and with "
                         "-e cpuhp -e csd -e ipi for hotplug and interrupts")
    return compiled


def from_compiled(name: str, compiled: Compiled, zones: list[ZoneSpec] | None) -> Workload:
    """Streams of recorded CPUs, in order of their numbers; homes are set by ``for_machine``.

    Without zones the memory is as large as the recorded machine's must have been.
    """
    workload = Workload(name, slots=compiled.slots, held=compiled.held, hotplug=compiled.hotplug, zones=zones,
                        skipped=dict(compiled.skipped), lines=compiled.lines, top=compiled.top)
    for number, cpu in enumerate(sorted(compiled.streams)):
        operations = compiled.streams[cpu]
        workload.streams.append(StreamPlan(pack_stream(operations), len(operations), number))
        workload.tasks.append(TaskPlan(f"replay/{cpu}", Program.REPLAY, cpu, len(operations), stream=number))
    return workload


def for_machine(workload: Workload, request: Request) -> Workload:
    """Recorded CPU c runs on c mod N; hotplug of CPUs that this machine does not have is left out and counted."""
    for task in workload.tasks:
        task.home %= request.cpus
    here = [event for event in workload.hotplug if event.cpu < request.cpus]
    _count(workload.skipped, "hotplug of CPUs not here", len(workload.hotplug) - len(here))
    workload.hotplug = here
    workload.window = request.window or DEFAULT_WINDOW
    if workload.zones is None:
        workload.zones = zones_for(_memory_of(workload, request.cpus), request.cpus)
    return workload


def _memory_of(workload: Workload, cpus: int) -> int:
    """Bytes, up to the highest page frame of the recording, and enough for the CPUs' lists."""
    highest = max((pfn + (1 << order) for pfn, order in workload.held), default=0)
    if highest > MAX_PAGES:
        raise InputError(f"{workload.name}: page {highest - 1:#x} lies above {MAX_PAGES >> 18} GiB, the most that a "
                         "machine has")
    pages = min(MAX_PAGES, max(workload.top, LEAST_PAGES + 256 * cpus))
    return -(-pages >> MAX_ORDER) << MAX_ORDER << PAGE_SHIFT


def _count(skipped: dict[str, int], what: str, number: int) -> None:
    if number:
        skipped[what] = skipped.get(what, 0) + number
