"""v3.2's formulas, against what real machines of later releases say where the formula is still the same.

Later releases compute from managed pages what v3.2 computes from present ones: here a zone's managed pages are given
as present.  Both count at different moments of the boot: a few per cent are allowed where that shows.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpuemu.kernel.mmzone import (
    ZoneSpec,
    calculate_normal_threshold,
    drift_mark,
    lowmem_reserve,
    min_free_kbytes,
    reserve_blocks,
    watermarks,
    zone_batchsize,
    zones_for,
)
from cpuemu.layout import MAX_NR_ZONES
from cpuemu.workloads.zoneinfo import read_zoneinfo
from tests.recordings import DATA

pytestmark = pytest.mark.timeout(60)

MACHINES = {
    "linux-6.12-8cpu-512MiB.zoneinfo": 8, "linux-6.12-1cpu-256MiB.zoneinfo": 1, "linux-6.1-4cpu-4096MiB.zoneinfo": 4,
    "linux-6.18-2cpu.zoneinfo": 2,
}


def real(name: str) -> list[ZoneSpec]:
    return [replace(zone, present=zone.managed) for zone in read_zoneinfo(DATA / name)]


@pytest.mark.parametrize(("name", "cpus"), MACHINES.items())
def test_stat_threshold(name: str, cpus: int) -> None:
    for zone in real(name):
        assert calculate_normal_threshold(zone.present, cpus) == zone.stat_threshold


@pytest.mark.parametrize("name", MACHINES)
def test_lowmem_reserve(name: str) -> None:
    zones = real(name)
    for index, zone in enumerate(zones):
        assert lowmem_reserve(zones, index) == pytest.approx(zone.lowmem_reserve, rel=0.05, abs=3)


@pytest.mark.parametrize("name", MACHINES)
def test_watermarks(name: str) -> None:
    zones = real(name)
    pages_min, total = sum(zone.wmark[0] for zone in zones), sum(zone.present for zone in zones)
    for zone in zones:
        assert watermarks(pages_min, zone.present, total) == pytest.approx(zone.wmark, rel=0.05, abs=2)


@pytest.mark.parametrize("name", ["linux-6.12-8cpu-512MiB.zoneinfo", "linux-6.12-1cpu-256MiB.zoneinfo"])
def test_min_free_kbytes(name: str) -> None:
    """Small machines: on larger ones khugepaged raises it."""
    zones = real(name)
    total = sum(zone.wmark[0] for zone in zones) * 4
    assert min_free_kbytes(sum(zone.present for zone in zones) * 4) == pytest.approx(total, rel=0.04)


def test_min_free_kbytes_has_limits() -> None:
    assert min_free_kbytes(100) == 128
    assert min_free_kbytes(1 << 40) == 65536


def test_batch() -> None:
    """The real ones are the same up to half a gigabyte; v3.2 stops at 512 KiB, later ones at 1 MiB."""
    for name in MACHINES:
        for zone in real(name):
            expected = min(31, zone.pcp_batch)
            assert max(1, zone_batchsize(zone.present)) == expected
    assert [zone_batchsize(1 << shift) for shift in (0, 12, 14, 16, 17, 23)] == [0, 0, 3, 15, 31, 31]


def test_drift_mark_only_where_it_matters() -> None:
    assert drift_mark((22, 27, 32), 8, 8) == 32 + 64
    assert drift_mark((1000, 1250, 1500), 2, 125) == 0


def test_reserve_is_at_most_two_blocks() -> None:
    assert [reserve_blocks(mark) for mark in (0, 1, 512, 513, 5000)] == [0, 1, 1, 2, 2]


def test_a_machine_of_8_gib() -> None:
    zones = zones_for(8 << 30, 4)
    assert [(zone.name, zone.start_pfn, zone.end_pfn) for zone in zones] == [
        ("DMA", 1, 4096), ("DMA32", 4096, 1 << 20), ("Normal", 1 << 20, 1 << 21),
    ]
    assert [zone.pcp_batch for zone in zones] == [1, 31, 31]
    assert [zone.pcp_high for zone in zones] == [0, 186, 186]


@given(st.integers(1 << 20, 64 << 30), st.integers(1, 256))
def test_any_memory(size: int, cpus: int) -> None:
    """Zones lie side by side; nothing is negative or upside down."""
    zones = zones_for(size, cpus)
    assert zones[-1].end_pfn == size >> 12
    for lower, upper in pairwise(zones):
        assert lower.end_pfn == upper.start_pfn
    for index, zone in enumerate(zones):
        assert 0 <= zone.wmark[0] <= zone.wmark[1] <= zone.wmark[2]
        assert len(zone.lowmem_reserve) == MAX_NR_ZONES
        assert not any(zone.lowmem_reserve[: index + 1])
        assert zone.pcp_batch >= 1
        assert 1 <= zone.stat_threshold <= 125
        assert zone.free is None
