"""``replay`` and ``replay:FILE``: a recording of a real kernel run again, line by line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cpuemu.kernel.mmzone import ZoneSpec
from cpuemu.layout import Program
from cpuemu.workloads.base import DEFAULT_WINDOW, HotplugEvent, InputError, Request, StreamPlan, TaskPlan, Workload
from cpuemu.workloads.compile import Compiled, compile_records, pack_stream
from cpuemu.workloads.ftrace import read_trace

SHIPPED = "linux-6.12-pressure"


def replay_workload(rest: str, request: Request) -> Workload:
    """The recording that ships with cpuemu, or one of the user's."""
    if not rest:
        from cpuemu.workloads.package import load_packaged

        return for_machine(load_packaged(SHIPPED), request)
    path = Path(rest)
    if path.suffix == ".replay":
        from cpuemu.workloads.package import load_file

        return for_machine(load_file(path), request)
    return for_machine(from_compiled(path.name, compile_file(path), None), request)


def compile_file(path: Path) -> Compiled:
    compiled = compile_records(read_trace(path))
    if not compiled.allocations and not compiled.held:
        raise InputError(f"{path}: no mm_page_alloc or mm_page_free line in it; record with -e kmem:mm_page_alloc "
                         "-e kmem:mm_page_free (and cpuhp, csd, ipi)")
    return compiled


def from_compiled(name: str, compiled: Compiled, zones: list[ZoneSpec] | None) -> Workload:
    """Streams of recorded CPUs, in order of their numbers; homes are set by ``for_machine``."""
    workload = Workload(name, slots=compiled.slots, held=compiled.held, hotplug=compiled.hotplug, zones=zones,
                        skipped=dict(compiled.skipped), lines=compiled.lines)  # fmt: skip
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
        workload.zones = _zones_around(workload)
    return workload


def _zones_around(workload: Workload) -> list[ZoneSpec] | None:
    """A recording without its zoneinfo: memory that holds every held page, and as much again to allocate from."""
    from cpuemu.kernel.mmzone import zones_for
    from cpuemu.layout import PAGE_SHIFT

    top = max((pfn + (1 << order) for pfn, order in workload.held), default=0)
    need = max(top, 1 << 16, 2 * workload.slots)
    return zones_for(-(-need >> 13) << 13 << PAGE_SHIFT, 1)


def _count(skipped: dict[str, int], what: str, number: int) -> None:
    if number:
        skipped[what] = skipped.get(what, 0) + number


def plain(workload: Workload) -> Mapping[str, object]:
    """The workload as values that msgpack can write (package.py)."""
    return {
        "name": workload.name, "slots": workload.slots, "lines": workload.lines, "held": workload.held,
        "skipped": workload.skipped,
        "hotplug": [(each.line, each.time_ns, each.cpu, each.up) for each in workload.hotplug],
        "streams": [(stream.ops, stream.count, stream.task) for stream in workload.streams],
        "tasks": [(task.comm, task.home, task.end, task.stream) for task in workload.tasks],
        "zones": [vars(zone) for zone in workload.zones or []],
    }  # fmt: skip


def from_plain(data: dict[str, object]) -> Workload:
    """The reverse.  Raises KeyError, TypeError or ValueError on data of another shape."""
    from typing import Any, cast

    content = cast("dict[str, Any]", data)
    zones = [ZoneSpec(**{**zone, "wmark": tuple(zone["wmark"]), "lowmem_reserve": tuple(zone["lowmem_reserve"])})
             for zone in content["zones"]]  # fmt: skip
    return Workload(
        name=content["name"], slots=content["slots"], lines=content["lines"], skipped=dict(content["skipped"]),
        held=[(pfn, order) for pfn, order in content["held"]], hotplug=[HotplugEvent(*each) for each in content["hotplug"]],
        streams=[StreamPlan(*each) for each in content["streams"]], zones=zones or None,
        tasks=[TaskPlan(comm, Program.REPLAY, home, end, stream=stream) for comm, home, end, stream in content["tasks"]],
    )  # fmt: skip
