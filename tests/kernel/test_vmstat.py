"""Counters that drift: how far, from which mark on that matters, and the work that brings them home."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cpuemu.kernel import vmstat
from cpuemu.kernel.cpumask import cpumask_clear_cpu, cpumask_set_cpu
from cpuemu.kernel.mmzone import ZoneSpec, calculate_normal_threshold, calculate_pressure_threshold
from cpuemu.kernel.vmstat import (
    SYSCTL_STAT_INTERVAL_NS,
    cancel_cpu_timer,
    fragmentation_index,
    normal_threshold,
    pressure_threshold,
    refresh_zone_stat_thresholds,
    run_vmstat_timer,
    set_pgdat_percpu_threshold,
    start_cpu_timer,
    vmstat_cpu_down_failed,
    vmstat_cpu_down_prepare,
)
from cpuemu.layout import Counter, Mask, VmstatWork
from cpuemu.sites import site
from tests.kernel.alone import Alone, alone

pytestmark = pytest.mark.timeout(60)

CPUS = 4
TIGHT = ZoneSpec("DMA", 1, 4095, 4095, 4095, wmark=(20, 25, 30), stat_threshold=99)
WIDE = ZoneSpec("DMA32", 4096, 4096, 4096, 4096, wmark=(400, 500, 600), stat_threshold=99)
HERE = site("test:point")


@pytest.fixture
def here() -> Iterator[Alone]:
    with alone([TIGHT, WIDE], CPUS, kswapd=False, checked=False) as machine:
        yield machine


def thresholds(here: Alone, zone: int) -> list[int]:
    return [here.machine.pcp(number, zone).stat_threshold for number in range(CPUS)]


def test_thresholds_follow_the_cpus_that_are_online(here: Alone) -> None:
    """Only theirs are written; the drift mark is set where all of them could hide the min mark, and stays."""
    tight, wide = here.machine.zones
    cpumask_set_cpu(here.cpu, 1, Mask.ONLINE)
    refresh_zone_stat_thresholds(here.cpu)
    threshold = calculate_normal_threshold(4095, 2)
    assert thresholds(here, 0) == thresholds(here, 1) == [threshold, threshold, 99, 99]
    assert tight.percpu_drift_mark == 30 + 2 * threshold
    assert wide.percpu_drift_mark == 0, "2 CPUs hide less than there is between low and min"
    cpumask_clear_cpu(here.cpu, 1, Mask.ONLINE)
    refresh_zone_stat_thresholds(here.cpu)
    assert thresholds(here, 0) == [calculate_normal_threshold(4095, 1), threshold, 99, 99]
    assert tight.percpu_drift_mark == 30 + 2 * threshold


def test_kswapd_s_thresholds_are_for_all_possible_cpus(here: Alone) -> None:
    refresh_zone_stat_thresholds(here.cpu)
    here.machine.zones[0].percpu_drift_mark = 50
    set_pgdat_percpu_threshold(here.cpu, pressure_threshold)
    assert thresholds(here, 0) == [5] * CPUS, "25 - 20, one CPU online"
    assert thresholds(here, 1) != [5] * CPUS, "a zone without a drift mark keeps its own"
    set_pgdat_percpu_threshold(here.cpu, normal_threshold)
    assert thresholds(here, 0) == [calculate_normal_threshold(4095, 1)] * CPUS


def test_pressure_threshold() -> None:
    assert calculate_pressure_threshold((20, 25, 30), 8) == 1
    assert calculate_pressure_threshold((400, 500, 600), 4) == 25
    assert calculate_pressure_threshold((4000, 5000, 6000), 2) == 125


def test_the_exact_count_is_taken_below_the_drift_mark_only(here: Alone) -> None:
    core, zone = here.cpu.core, here.machine.zones[0]
    zone.free_pages, zone.percpu_drift_mark = 40, 35
    for number in range(CPUS):
        here.machine.pcp(number, 0).free_diff = -4
    assert core.zone_watermark_ok_safe(0, 0, 30, 0, 0), "40 of the cheap counter: above the mark"
    zone.percpu_drift_mark = 41
    assert not core.zone_watermark_ok_safe(0, 0, 30, 0, 0), "24 in truth"
    assert core.zone_watermark_ok(0, 0, 30, 0, 0), "the allocator's own checks believe the counter"


def test_a_cpu_brings_its_own_differentials_home_once_a_second(here: Alone) -> None:
    cpu = here.cpu
    zone = cpu.machine.zones[1]
    free = zone.free_pages
    for number in range(2):
        cpu.machine.pcp(number, 1).free_diff = 7
    start_cpu_timer(cpu, 0)
    cpu.point(HERE)
    assert zone.free_pages == free, "it is not due yet"
    cpu.me.vmstat_ns = cpu.now() - 1
    before = cpu.now()
    cpu.point(HERE)
    assert zone.free_pages == free + 7
    assert [cpu.machine.pcp(number, 1).free_diff for number in range(2)] == [0, 7], "nobody else's"
    assert before + SYSCTL_STAT_INTERVAL_NS <= cpu.me.vmstat_ns <= cpu.now() + SYSCTL_STAT_INTERVAL_NS
    assert here.count(Counter.VMSTAT_REFRESH) == 1


def test_it_waits_while_interrupts_are_off_and_wakes_no_sleeper(here: Alone) -> None:
    cpu = here.cpu
    start_cpu_timer(cpu, 0)
    cpu.me.vmstat_ns = cpu.now() - 1
    cpu.me.irqs_off = 1
    cpu.point(HERE)
    cpu.me.irqs_off = 0
    assert here.count(Counter.VMSTAT_REFRESH) == 0
    assert cpu._timeout_ms(cpu.me.idle_task, True) is None, "deferrable: a sleeping CPU is left alone"
    cpu.attend_all()
    assert here.count(Counter.VMSTAT_REFRESH) == 1, "but it is done as soon as something else woke it"


def test_a_cancelled_work_does_not_come_back(here: Alone, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, me = here.cpu, here.cpu.me
    start_cpu_timer(cpu, 0)
    assert vmstat_cpu_down_prepare(cpu, 0) == 0
    assert (me.vmstat_work, me.vmstat_ns) == (VmstatWork.NONE, 0)
    cancel_cpu_timer(cpu, 0)
    vmstat_cpu_down_failed(cpu, 0)
    assert me.vmstat_work == VmstatWork.PENDING

    def cancelled_meanwhile(cpu: object) -> None:
        assert me.vmstat_work == VmstatWork.RUNNING
        me.vmstat_work = VmstatWork.CANCELED

    monkeypatch.setattr(vmstat, "refresh_cpu_vm_stats", cancelled_meanwhile)
    me.vmstat_ns = cpu.now() - 1
    run_vmstat_timer(cpu)
    assert (me.vmstat_work, me.vmstat_ns) == (VmstatWork.NONE, 0), "the canceller, who waits for this, may go on"


def test_fragmentation_index(here: Alone) -> None:
    zone = here.machine.zones[0]

    def index(order: int, *blocks: int) -> int:
        for size in range(11):
            zone.nr_free[size] = blocks[size] if size < len(blocks) else 0
        return fragmentation_index(zone, order)

    assert index(3, 0) == 0, "no memory at all"
    assert index(3, 5, 0, 0, 1) == -1000, "it would not fail"
    assert index(3, 4) == 625, "half a block, in four pieces"
    assert index(3, 400) > 870, "plenty of memory, all in pieces"
    assert index(9, 0, 0, 0, 0, 0, 0, 0, 0, 1) <= 500, "one large piece, too small: for lack of memory"
