"""Zones: how memory is divided, and the sizes that follow from it (Linux: mm/page_alloc.c and mm/vmstat.c, v3.2).

Invariant:     managed <= present <= spanned; watermarks rise: min <= low <= high.
Writers:       none here: numbers in, numbers out; mm_init writes them into RAM.
Steps:         none.
Not modelled:  highmem, NUMA, zones of other architectures than x86-64.

v3.2 computes from present pages where later releases take managed ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import isqrt

from cpuemu.layout import MAX_NR_ZONES, PAGE_SHIFT, PAGEBLOCK_ORDER

PAGE_KIB = 4
DMA_END = 16 << 20 >> PAGE_SHIFT
DMA32_END = 4 << 30 >> PAGE_SHIFT
ZONE_ENDS = (("DMA", DMA_END), ("DMA32", DMA32_END), ("Normal", 1 << 40))
LOWMEM_RESERVE_RATIO = (256, 256, 32)
FIRST_PFN = 1
"""Page 0 is the firmware's, as on x86."""


@dataclass(frozen=True)
class ZoneSpec:
    """One zone as it is at power-on.  ``free``: free pages that a recording begins with, pcp lists included."""

    name: str
    start_pfn: int
    spanned: int
    present: int
    managed: int
    wmark: tuple[int, int, int] = (0, 0, 0)
    lowmem_reserve: tuple[int, ...] = (0,) * MAX_NR_ZONES
    pcp_batch: int = 1
    pcp_high: int = 0
    stat_threshold: int = 1
    percpu_drift_mark: int = 0
    nr_reserve_blocks: int = 0
    nr_file: int = 0
    free: int | None = None
    extra: dict[str, int] = field(default_factory=dict)

    @property
    def end_pfn(self) -> int:
        return self.start_pfn + self.spanned


def zones_for(memory_bytes: int, cpus: int) -> list[ZoneSpec]:
    """The zones of a machine with so much memory, with v3.2's sizes."""
    end = memory_bytes >> PAGE_SHIFT
    zones: list[ZoneSpec] = []
    start = FIRST_PFN
    for name, limit in ZONE_ENDS:
        stop = min(limit, end)
        if stop > start:
            size = stop - start
            zones.append(ZoneSpec(name, start, size, size, size))
            start = stop
    return with_v32_sizes(zones, cpus)


def with_v32_sizes(zones: Sequence[ZoneSpec], cpus: int) -> list[ZoneSpec]:
    """Watermarks, reserves, pcp sizes and thresholds as v3.2 computes them at boot."""
    total = sum(zone.present for zone in zones)
    pages_min = min_free_kbytes(total * PAGE_KIB) // PAGE_KIB
    result = []
    for index, zone in enumerate(zones):
        wmark = watermarks(pages_min, zone.present, total)
        batch = zone_batchsize(zone.present)
        threshold = calculate_normal_threshold(zone.present, cpus)
        result.append(replace(
            zone, wmark=wmark, lowmem_reserve=lowmem_reserve(zones, index), pcp_batch=max(1, batch), pcp_high=6 * batch,
            stat_threshold=threshold, percpu_drift_mark=drift_mark(wmark, cpus, threshold),
            nr_reserve_blocks=reserve_blocks(wmark[0]),
        ))
    return result


def min_free_kbytes(lowmem_kbytes: int) -> int:
    """init_per_zone_wmark_min: 128 to 65536."""
    return max(128, min(65536, isqrt(lowmem_kbytes * 16)))


def watermarks(pages_min: int, present: int, total: int) -> tuple[int, int, int]:
    """setup_per_zone_wmarks: min shared out by size, low and high a quarter and a half of it above."""
    least = pages_min * present // max(1, total)
    return least, least + (least >> 2), least + (least >> 1)


def zone_batchsize(present: int) -> int:
    """Pages moved between a pcp list and the buddy lists; 0 for a tiny zone, whose pages bypass the list."""
    batch = max(1, min(present // 1024, (512 * 1024 >> PAGE_SHIFT)) // 4)
    return _rounddown_pow_of_two(batch + batch // 2) - 1


def calculate_normal_threshold(present: int, online: int) -> int:
    """How far a CPU's differential may drift (mm/vmstat.c): at most 125."""
    memory = present >> (27 - PAGE_SHIFT)
    return min(125, 2 * online.bit_length() * (1 + memory.bit_length()))


def calculate_pressure_threshold(wmark: Sequence[int], online: int) -> int:
    """The same while kswapd is awake: all CPUs' drift together stays within the distance from low to min."""
    return min(125, max(1, (wmark[1] - wmark[0]) // online))


def drift_mark(wmark: Sequence[int], online: int, threshold: int) -> int:
    """Below so many free pages kswapd takes the differentials into account; 0 where they cannot hide the min mark."""
    drift = online * threshold
    return wmark[2] + drift if drift > wmark[1] - wmark[0] else 0


def lowmem_reserve(zones: Sequence[ZoneSpec], index: int) -> tuple[int, ...]:
    """Pages of zone ``index`` kept from a request that could use zone j, for each j."""
    reserve = [0] * MAX_NR_ZONES
    above = 0
    for number in range(index + 1, len(zones)):
        above += zones[number].present
        reserve[number] = above // LOWMEM_RESERVE_RATIO[index]
    return tuple(reserve)


def reserve_blocks(min_mark: int) -> int:
    """Pageblocks of type RESERVE: enough for the min mark, at most two (setup_zone_migrate_reserve)."""
    return min(2, -(-min_mark >> PAGEBLOCK_ORDER))


def _rounddown_pow_of_two(number: int) -> int:
    return 1 << number.bit_length() - 1
