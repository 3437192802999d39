"""Counters that drift: thresholds of per-CPU differentials, and the work that folds them (Linux: mm/vmstat.c, v3.2).

Invariant:     a zone's NR_FREE_PAGES plus all CPUs' differentials is the number of pages on its free lists.
Writers:       a differential by its CPU with interrupts off, for a dead CPU by whoever runs CPU_DEAD; thresholds at
               CPU_ONLINE and CPU_DEAD and by kswapd, stores that nobody waits for, as in Linux.
Steps:         one before each zone's counter in the refresh; the wait of a cancelled work for its end.
Not modelled:  other counters than NR_FREE_PAGES (those of the inactive list are exact), remote pagesets (NUMA), the
               worker thread between a timer and its work: the refresh runs in the timer interrupt.

Each CPU refreshes its own differentials once a second, by a deferrable delayed work: it wakes no CPU that sleeps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from cpuemu.arch.cpu import Term
from cpuemu.arch.gate import Kind
from cpuemu.kernel.cpumask import for_each_online_cpu, num_online_cpus
from cpuemu.kernel.irqflags import local_irq_restore, local_irq_save
from cpuemu.kernel.mmzone import calculate_normal_threshold, calculate_pressure_threshold, drift_mark
from cpuemu.kernel.sched import wait_event, wake
from cpuemu.layout import MAX_ORDER, Counter, Op, VmstatWork, Zone
from cpuemu.layout import Cpu as CpuWords
from cpuemu.sites import site

if TYPE_CHECKING:
    from cpuemu.arch.cpu import Cpu

P_REFRESH = site("refresh_cpu_vm_stats")
P_CANCEL = site("cancel_delayed_work_sync:vmstat_work")

SYSCTL_STAT_INTERVAL_NS = 1_000_000_000

Threshold = Callable[["Cpu", Zone], int]


# --- thresholds --------------------------------------------------------------------------------------------


def normal_threshold(cpu: Cpu, zone: Zone) -> int:
    """calculate_normal_threshold, for as many CPUs as are online now."""
    return calculate_normal_threshold(zone.present, num_online_cpus(cpu))


def pressure_threshold(cpu: Cpu, zone: Zone) -> int:
    """calculate_pressure_threshold: so small that all CPUs together cannot hide the min mark."""
    return calculate_pressure_threshold(tuple(zone.wmark), num_online_cpus(cpu))


def refresh_zone_stat_thresholds(cpu: Cpu) -> None:
    """The normal thresholds on all online CPUs; the drift mark where they could hide that free is below min."""
    online = list(for_each_online_cpu(cpu))
    for zone in cpu.machine.zones:
        threshold = normal_threshold(cpu, zone)
        for number in online:
            cpu.machine.pcp(number, zone.index).stat_threshold = threshold
        mark = drift_mark(tuple(zone.wmark), len(online), threshold)
        if mark:
            zone.percpu_drift_mark = mark


def set_pgdat_percpu_threshold(cpu: Cpu, calculate: Threshold) -> None:
    """All possible CPUs' thresholds, in zones whose count may hide how little is left: kswapd wakes, or sleeps."""
    for zone in cpu.machine.zones:
        if not zone.percpu_drift_mark:
            continue
        threshold = calculate(cpu, zone)
        for number in range(cpu.machine.dims.cpus):
            cpu.machine.pcp(number, zone.index).stat_threshold = threshold


# --- each CPU's own refresh --------------------------------------------------------------------------------


def start_cpu_timer(cpu: Cpu, number: int) -> None:
    """The delayed work of a CPU that has come, or stays."""
    words = cpu.machine.cpus[number]
    words.vmstat_ns = cpu.now() + SYSCTL_STAT_INTERVAL_NS
    cpu.ram.xchg(words.addr(CpuWords.vmstat_work), VmstatWork.PENDING)


def cancel_cpu_timer(cpu: Cpu, number: int) -> None:
    """cancel_delayed_work_sync: it is not pending, does not run, and does not come back.  Context: may sleep."""
    words = cpu.machine.cpus[number]
    state = words.addr(CpuWords.vmstat_work)
    while True:
        if cpu.ram.cmpxchg(state, VmstatWork.PENDING, VmstatWork.NONE):
            words.vmstat_ns = 0
            return
        if words.vmstat_work == VmstatWork.NONE:
            return
        if cpu.ram.cmpxchg(state, VmstatWork.RUNNING, VmstatWork.CANCELED):
            wait_event(cpu, P_CANCEL, Term(state, Op.EQ, VmstatWork.NONE))
            return


def run_vmstat_timer(cpu: Cpu) -> None:
    """The timer interrupt: vmstat_update when it is due, and its next time."""
    me = cpu.me
    state = me.addr(CpuWords.vmstat_work)
    if not 0 < me.vmstat_ns <= cpu.now() or not cpu.ram.cmpxchg(state, VmstatWork.PENDING, VmstatWork.RUNNING):
        return
    me.vmstat_ns = 0
    refresh_cpu_vm_stats(cpu)
    me.vmstat_ns = cpu.now() + SYSCTL_STAT_INTERVAL_NS
    if not cpu.ram.cmpxchg(state, VmstatWork.RUNNING, VmstatWork.PENDING):
        me.vmstat_ns = 0
        cpu.ram.xchg(state, VmstatWork.NONE)
        wake(cpu, state)


def refresh_cpu_vm_stats(cpu: Cpu) -> None:
    """This CPU's differentials into the zones' counters."""
    cpu.core.count(Counter.VMSTAT_REFRESH)
    for zone in cpu.machine.zones:
        cpu.point(P_REFRESH, zone.addr(Zone.free_pages), Kind.WRITE)
        flags = local_irq_save(cpu)
        cpu.core.fold_zone_diff(cpu.number, zone.index)
        local_irq_restore(cpu, flags)


# --- CPU hotplug (vmstat_cpuup_callback) -------------------------------------------------------------------


def setup_vmstat(cpu: Cpu) -> None:
    """Boot: the thresholds of a machine with one CPU, and its work."""
    vmstat_cpu_online(cpu, cpu.number)


def vmstat_cpu_online(cpu: Cpu, number: int) -> int:
    refresh_zone_stat_thresholds(cpu)
    start_cpu_timer(cpu, number)
    return 0


def vmstat_cpu_down_prepare(cpu: Cpu, number: int) -> int:
    cancel_cpu_timer(cpu, number)
    return 0


def vmstat_cpu_down_failed(cpu: Cpu, number: int) -> int:
    start_cpu_timer(cpu, number)
    return 0


def vmstat_cpu_dead(cpu: Cpu, number: int) -> int:
    refresh_zone_stat_thresholds(cpu)
    return 0


# --- fragmentation -----------------------------------------------------------------------------------------


def fragmentation_index(zone: Zone, order: int) -> int:
    """Why an allocation of this order fails: towards 0 for lack of memory, towards 1000 because it is in pieces.

    -1000: it would not fail.
    """
    blocks = list(zone.nr_free)
    if not any(blocks):
        return 0
    if any(blocks[order:MAX_ORDER]):
        return -1000
    free = sum(count << size for size, count in enumerate(blocks))
    return 1000 - (1000 + free * 1000 // (1 << order)) // sum(blocks)
