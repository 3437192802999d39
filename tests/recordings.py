"""Cuts of real recordings (tests/data), and lines of one's own."""

from __future__ import annotations

import lzma
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from cpuemu.workloads.compile import Compiled, compile_records
from cpuemu.workloads.ftrace import parse

DATA = Path(__file__).parent / "data"
RECORDINGS = (
    "linux-6.12-hotplug.txt.xz", "linux-6.12-hugepages.txt.xz", "linux-6.12-work.txt.xz", "linux-6.1-work.txt",
)
ZONEINFO = "linux-6.12-8cpu-512MiB.zoneinfo"


@cache
def recorded(name: str) -> tuple[bytes, ...]:
    """The lines of a recording, headers left out."""
    data = (DATA / name).read_bytes()
    text = lzma.decompress(data) if name.endswith(".xz") else data
    return tuple(line for line in text.split(b"\n") if line and not line.startswith(b"#"))


def compiled(lines: Iterable[bytes]) -> Compiled:
    return compile_records(parse(lines))


def alloc(cpu: int, time: float, pfn: int, order: int = 0, migratetype: int = 1,
          gfp: str = "GFP_HIGHUSER_MOVABLE") -> bytes:
    return _line(cpu, time, f"mm_page_alloc: page=00000000ce9215c2 pfn={pfn:#x} order={order} "
                 f"migratetype={migratetype} gfp_flags={gfp}")


def free(cpu: int, time: float, pfn: int, order: int = 0) -> bytes:
    return _line(cpu, time, f"mm_page_free: page=00000000ce9215c2 pfn={pfn:#x} order={order}")


def event(cpu: int, time: float, text: str) -> bytes:
    """A line with an event of any kind."""
    return _line(cpu, time, text)


def step(which: int, target: int, number: int, time: float = 1.0) -> bytes:
    """A step of a CPU's hotplug."""
    return _line(0, time, f"cpuhp_enter: cpu: {which:04d} target: {target:3d} step: {number:3d} (some_step)")


def write(path: Path, lines: Sequence[bytes]) -> Path:
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def _line(cpu: int, time: float, rest: str) -> bytes:
    return f"            prog-{100 + cpu}       [{cpu:03d}] d..2. {time:12.6f}: {rest}".encode()
