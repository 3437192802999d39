"""Recordings loaded: the one that ships, one's own, and what a machine with other CPUs makes of them."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from cpuemu.layout import MAX_PAGES, PAGE_SHIFT, Program
from cpuemu.workloads.base import DEFAULT_WINDOW, InputError, Request
from cpuemu.workloads.load import load
from cpuemu.workloads.package import dump, load_file, undump
from cpuemu.workloads.replay import from_files
from tests.recordings import DATA, ZONEINFO, alloc, free, step, write

pytestmark = pytest.mark.timeout(60)


def test_shipped_recording() -> None:
    workload = load("replay", Request(8))
    assert [task.home for task in workload.tasks] == list(range(8))
    assert {task.program for task in workload.tasks} == {Program.REPLAY}
    assert [stream.task for stream in workload.streams] == list(range(8))
    assert all(len(stream.ops) == 16 * stream.count for stream in workload.streams)
    assert [(event.cpu, event.up) for event in workload.hotplug[:4]] == [(1, False), (1, True), (2, False), (2, True)]
    assert workload.zones is not None
    assert [zone.name for zone in workload.zones] == ["DMA", "DMA32"]
    assert workload.window == DEFAULT_WINDOW
    workload.check(workload.zones)


def test_shipped_recording_loads_fast() -> None:
    """Its part of the 0.6 s in which eight CPUs boot."""
    load("replay", Request(8))
    best = min(_seconds() for _ in range(5))
    assert best < 0.15


def _seconds() -> float:
    started = time.perf_counter()
    load("replay", Request(8))
    return time.perf_counter() - started


@pytest.mark.parametrize("cpus", [1, 3, 64])
def test_recorded_cpus_on_other_machines(cpus: int) -> None:
    """c runs on c mod N; hotplug of CPUs that are not there is left out and counted."""
    workload = load("replay", Request(cpus, window=77))
    assert [task.home for task in workload.tasks] == [cpu % cpus for cpu in range(8)]
    assert {event.cpu for event in workload.hotplug} == set(range(1, min(cpus, 8)))
    left_out = 4 * len(range(max(1, cpus), 8))
    assert workload.skipped.get("hotplug of CPUs not here", 0) == left_out
    assert workload.window == 77


def test_own_recording_with_the_zoneinfo_beside_it(tmp_path: Path) -> None:
    trace = write(tmp_path / "trace.txt", [alloc(0, 1.0, 0x2000), free(5, 1.1, 0x3000, 2), step(3, 0, 236)])
    (tmp_path / "zoneinfo.before").write_bytes((DATA / ZONEINFO).read_bytes())
    workload = load(f"replay:{trace}", Request(4))
    assert workload.zones is not None
    assert workload.zones[1].managed == 114053
    assert workload.held == [(0x3000, 2)]
    assert [(task.comm, task.home) for task in workload.tasks] == [("replay/0", 0), ("replay/5", 1)]
    assert [(event.line, event.cpu, event.up) for event in workload.hotplug] == [(3, 3, False)]


def test_own_recording_without_zoneinfo_gets_memory_enough(tmp_path: Path) -> None:
    trace = write(tmp_path / "trace.txt", [alloc(0, 1.0, 0x2_0000), free(0, 1.1, 0x4_1234)])
    workload = load(f"replay:{trace}", Request(2))
    assert workload.zones is not None
    assert workload.zones[-1].end_pfn > 0x4_1234
    workload.check(workload.zones)


def test_page_above_all_memory(tmp_path: Path) -> None:
    trace = write(tmp_path / "trace.txt", [free(0, 1.1, MAX_PAGES)])
    with pytest.raises(InputError, match=f"lies above {MAX_PAGES << PAGE_SHIFT >> 30} GiB"):
        load(f"replay:{trace}", Request(2))
    high = write(tmp_path / "high.txt", [alloc(0, 1.0, 40 * MAX_PAGES)])
    assert load(f"replay:{high}", Request(2)).slots == 1, "where an allocation was there does not matter here"


def test_held_page_that_this_machine_does_not_have() -> None:
    workload = load("replay", Request(8))
    assert workload.zones is not None
    with pytest.raises(InputError, match="is not memory of this machine"):
        workload.check(workload.zones[:1])


def test_recording_without_page_events(tmp_path: Path) -> None:
    trace = write(tmp_path / "trace.txt", [step(1, 0, 236), b"# tracer: nop"])
    with pytest.raises(InputError, match="no page events"):
        load(f"replay:{trace}", Request(2))


@pytest.mark.parametrize(("spec", "told"), [
    ("replay:none.txt", "none.txt: cannot be read .No such file"),
    ("replay:none.replay", "none.replay: cannot be read .No such file"),
    ("storm:many", "expected a number of operations"),
    ("idle:5", "takes nothing after its name"),
    ("strom", "unknown workload 'strom'; known are replay, storm, pressure, idle, replay:FILE, FILE.py:CLASS"),
    ("", "unknown workload ''"),
])
def test_names_that_are_wrong(spec: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=told):
        load(spec, Request(2))


# --- the packed form ---------------------------------------------------------------------------------------


def test_packed_and_unpacked(tmp_path: Path) -> None:
    trace = write(tmp_path / "trace.txt", [alloc(0, 1.0, 0x2000), free(5, 1.1, 0x3000, 2), step(3, 0, 236)])
    workload = from_files(trace, DATA / ZONEINFO)
    assert undump(dump(workload), "packed") == workload


@pytest.mark.parametrize("data", [b"", b"something else", b"cpuemu-replay-2\n", b"cpuemu-replay-2\nx\x9c\0\0"])
def test_file_that_is_no_packed_recording(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "some.replay"
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"some\.replay: "):
        load_file(path)


def test_packed_recording_cut_short(tmp_path: Path) -> None:
    trace = write(tmp_path / "trace.txt", [alloc(0, 1.0, 0x2000)])
    with pytest.raises(InputError, match="damaged"):
        undump(dump(from_files(trace))[:-5], "packed")


def test_the_tool_that_packs(tmp_path: Path) -> None:
    trace = write(tmp_path / "trace.txt", [alloc(0, 1.0, 0x2000), free(0, 1.01, 0x2000)])
    made = tmp_path / "made.replay"
    command = [sys.executable, "-m", "tools.pack_recording", str(trace), "--zoneinfo", str(DATA / ZONEINFO)]
    done = subprocess.run([*command, "-o", str(made)], capture_output=True, text=True, timeout=50, check=True)
    assert "2 operations" in done.stdout
    assert load(f"replay:{made}", Request(2)).name == "made"
