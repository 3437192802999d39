"""A compiled recording in one small file: msgpack, compressed.

The one that ships is made by tools/pack_recording.py.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import msgpack

from cpuemu.kernel.mmzone import ZoneSpec
from cpuemu.layout import Program
from cpuemu.workloads.base import HotplugEvent, InputError, StreamPlan, TaskPlan, Workload

MAGIC = b"cpuemu-replay-2\n"


def dump(workload: Workload) -> bytes:
    return MAGIC + zlib.compress(msgpack.packb(plain(workload)), 9)


def undump(data: bytes, name: str) -> Workload:
    """Raises InputError on anything that ``dump`` did not write."""
    if not data.startswith(MAGIC):
        raise InputError(f"{name}: not a packed recording of this version of cpuemu")
    try:
        return from_plain(msgpack.unpackb(zlib.decompress(data[len(MAGIC) :])))
    except (zlib.error, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{name}: the packed recording is damaged ({error})") from None


def load_packaged(name: str) -> Workload:
    """A recording that ships with cpuemu."""
    return undump(resources.files("cpuemu.workloads").joinpath("recordings", f"{name}.replay").read_bytes(), name)


def load_file(path: Path) -> Workload:
    try:
        return undump(path.read_bytes(), str(path))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); name another file") from None


def plain(workload: Workload) -> Mapping[str, object]:
    """The workload as values that msgpack can write."""
    return {
        "name": workload.name, "slots": workload.slots, "lines": workload.lines, "held": workload.held,
        "skipped": workload.skipped, "top": workload.top,
        "hotplug": [(each.line, each.time_ns, each.cpu, each.up) for each in workload.hotplug],
        "streams": [(stream.ops, stream.count, stream.task) for stream in workload.streams],
        "tasks": [(task.comm, task.home, task.end, task.stream) for task in workload.tasks],
        "zones": [vars(zone) for zone in workload.zones or []],
    }


def from_plain(content: dict[str, Any]) -> Workload:
    """The reverse.  Raises KeyError, TypeError or ValueError on data of another shape."""
    zones = [ZoneSpec(**{**zone, "wmark": tuple(zone["wmark"]), "lowmem_reserve": tuple(zone["lowmem_reserve"])})
             for zone in content["zones"]]
    return Workload(
        name=content["name"], slots=content["slots"], lines=content["lines"], top=content["top"], zones=zones or None,
        skipped=dict(content["skipped"]), held=[(pfn, order) for pfn, order in content["held"]],
        hotplug=[HotplugEvent(*each) for each in content["hotplug"]],
        streams=[StreamPlan(*each) for each in content["streams"]],
        tasks=[TaskPlan(comm, Program.REPLAY, home, end, stream=stream)
               for comm, home, end, stream in content["tasks"]],
    )
