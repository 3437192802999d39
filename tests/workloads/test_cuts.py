"""Random cuts of recordings: a replay waits for earlier lines only, whatever is missing before and after."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cpuemu.workloads.base import Request, Workload
from cpuemu.workloads.package import load_packaged
from cpuemu.workloads.replay import SHIPPED, for_machine, from_compiled
from tests.recordings import RECORDINGS, compiled, recorded
from tests.workloads.simulation import Simulation

pytestmark = pytest.mark.timeout(120)


def workload(lines: Sequence[bytes], cpus: int) -> Workload:
    return for_machine(from_compiled("cut", compiled(lines), None), Request(cpus))


@st.composite
def cuts(draw: st.DrawFn) -> list[bytes]:
    """A part of a recording, with some of its lines lost."""
    lines = recorded(draw(st.sampled_from(RECORDINGS)))
    start = draw(st.integers(0, len(lines) - 1))
    length = draw(st.integers(1, 600))
    cut = list(lines[start : start + length])
    lost = draw(st.lists(st.integers(0, len(cut) - 1), max_size=20))
    return [line for number, line in enumerate(cut) if number not in lost]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    lines=cuts(), window=st.sampled_from([1, 7, 64, 4096]), cpus=st.sampled_from([1, 2, 3, 8]), seed=st.integers(0, 99)
)
def test_every_wait_is_for_an_earlier_line(lines: list[bytes], window: int, cpus: int, seed: int) -> None:
    Simulation(workload(lines, cpus), window, seed).run()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(lines=cuts())
def test_every_page_is_accounted_for(lines: list[bytes]) -> None:
    """What the text leaves allocated, counted page by page, is what the plan leaves allocated."""
    simulation = Simulation(workload(lines, 8), 4096, 1)
    simulation.run()
    assert simulation.left() == pages_left(lines)


PAGE = re.compile(rb": mm_page_(alloc|free): page=\S+ pfn=(\S+) order=(\d+)")


def pages_left(lines: Sequence[bytes]) -> int:
    """Pages whose last line is an allocation: everything from before that has a line is freed by it, or stays."""
    last: dict[int, str] = {}
    for line in lines:
        found = PAGE.search(line)
        if found and int(found[2], 16):
            pfn = int(found[2], 16)
            for page in range(pfn, pfn + (1 << int(found[3]))):
                last[page] = found[1].decode()
    return Counter(last.values())["alloc"]


@pytest.mark.parametrize("name", RECORDINGS)
def test_whole_recording(name: str) -> None:
    simulation = Simulation(workload(recorded(name), 4), 500, 3)
    simulation.run()
    assert simulation.left() == pages_left(recorded(name))


@cache
def shipped() -> Workload:
    return for_machine(load_packaged(SHIPPED), Request(8))


def test_shipped_recording_waits_for_earlier_lines_only() -> None:
    """Statically: no need to take a hundred thousand steps."""
    simulation = Simulation(shipped(), 4096, 1)
    held = len(shipped().held)
    for stream in simulation.streams:
        for step in stream:
            if step.kind == 1 and step.slot >= held:
                assert simulation.lines[step.slot] < step.line
    assert len(shipped().hotplug) == 28
