"""A witness at the moment when an allocation is about to OOM (ours, not Linux's: the question of January 2012).

Invariant:     only reads what is Linux's: lists of other CPUs, counters, masks; nobody's allocation is changed by it.
Writers:       a task's entries of ``allocations`` and ``page_operations`` by the task; an entry of ``oom_moments`` by
               the CPU that is about to OOM (its number is taken atomically), ``victim`` by the killer: the same CPU.
Steps:         none: the lists are read as they are at this instant, without their CPUs' knowledge.
Not modelled:  -

The claim: for a drain of the other CPUs to save such an allocation, their lists must together hold the pages that are
missing to the watermark, while those CPUs neither allocate nor free and the task does not migrate.  Each of the three
is recorded, and what a drain would really do: pages that go back to the free lists first fill a CPU's differential,
and only what passes its threshold shows in the counter that the watermark is compared with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cpuemu.events import Event
from cpuemu.kernel.cpumask import for_each_online_cpu
from cpuemu.layout import OOM_MOMENTS, Counter, Drains, Wmark

if TYPE_CHECKING:
    from cpuemu.arch.cpu import Cpu
    from cpuemu.layout import Cpu as CpuWords

ALLOC_HIGH, ALLOC_HARDER = 1, 2
"""Bits of alloc_flags that lower the mark (page_alloc.Alloc, which stands above this file)."""


@dataclass(frozen=True)
class ZoneLook:
    """One zone at this instant."""

    zone: int
    mark: int
    free: int
    own: int
    others: int
    gain: int
    own_gain: int

    @property
    def missing(self) -> int:
        return self.mark - self.free


def slowpath_begins(cpu: Cpu) -> None:
    """The current task's allocation is below the low watermark: nothing has been tried yet."""
    mine = cpu.machine.allocations[cpu.me.current]
    mine.drains = mine.failed_ns = mine.moment = 0


def reclaim_failed(cpu: Cpu) -> None:
    """Direct reclaim found no page: from here on, what the other CPUs do counts."""
    task = cpu.me.current
    mine = cpu.machine.allocations[task]
    mine.failed_ns, mine.failed_cpu = cpu.now(), cpu.number
    for other in cpu.machine.cpus:
        cpu.machine.page_operations[task * cpu.machine.dims.cpus + other.index].count = _operations(other)


def about_to_oom(cpu: Cpu, order: int, classzone: int, flags: int) -> None:
    """Every attempt has failed and the OOM killer is next: write down what RAM says.  Context: oom_lock."""
    machine, task = cpu.machine, cpu.me.current
    mine = machine.allocations[task]
    number = cpu.ram.add(machine.drains.addr(Drains.nr_moments), 1) - 1
    looks = [_look(cpu, zone, classzone, flags) for zone in range(classzone, -1, -1)]
    closest = max(looks, key=lambda look: look.others - look.missing)
    cpu.core.trace(Event.CPUEMU_OOM_MOMENT, order, max(0, closest.missing), closest.others, number)
    mine.moment = 0
    if number >= OOM_MOMENTS:
        return
    holders = [other for other in for_each_online_cpu(cpu) if other != cpu.number
               and any(machine.pcp(other, zone).count for zone in range(classzone + 1))]
    entry = machine.oom_moments[number]
    entry.cpu, entry.task, entry.order, entry.time_ns = cpu.number, task, order, cpu.now()
    entry.zone, entry.mark, entry.free, entry.missing = closest.zone, closest.mark, closest.free, closest.missing
    entry.own, entry.others, entry.gain = closest.own, closest.others, closest.gain
    entry.saved = any(look.free + look.gain >= look.mark for look in looks)
    entry.own_saved = any(look.free + look.own_gain >= look.mark for look in looks)
    entry.failed_ns = mine.failed_ns
    entry.holders, entry.active = len(holders), sum(1 for other in holders if _worked(cpu, task, other))
    entry.migrated = mine.failed_ns != 0 and mine.failed_cpu != cpu.number
    entry.drains, entry.victim = mine.drains, 0
    entry.done = 1
    mine.moment = number + 1


def victim_chosen(cpu: Cpu, victim: int) -> None:
    """The OOM killer has chosen: count the kill, and whether its allocation ever had a drain."""
    mine, drains = cpu.machine.allocations[cpu.me.current], cpu.machine.drains
    cpu.core.count(Counter.OOM)
    cpu.core.count(Counter.OOM_NO_DRAIN, not mine.drains)
    cpu.ram.cmpxchg(drains.addr(Drains.first_kill_ns), 0, cpu.now())
    if mine.moment:
        cpu.machine.oom_moments[mine.moment - 1].victim = victim + 1


def _look(cpu: Cpu, zone: int, classzone: int, flags: int) -> ZoneLook:
    words = cpu.machine.zones[zone]
    own = cpu.machine.pcp(cpu.number, zone).count
    online = list(for_each_online_cpu(cpu))
    return ZoneLook(
        zone=zone, mark=order_0_mark(words.wmark[Wmark.MIN], words.lowmem_reserve[classzone], flags),
        free=max(0, words.free_pages), own=own,
        others=sum(cpu.machine.pcp(other, zone).count for other in online) - own,
        gain=sum(_gain(cpu, other, zone) for other in online), own_gain=_gain(cpu, cpu.number, zone),
    )


def order_0_mark(mark: int, reserve: int, flags: int) -> int:
    """Free pages at which v3.2's __zone_watermark_ok says yes to one page: two are taken off, and it wants more."""
    if flags & ALLOC_HIGH:
        mark -= mark // 2
    if flags & ALLOC_HARDER:
        mark -= mark // 4
    return mark + reserve + 3


def _gain(cpu: Cpu, number: int, zone: int) -> int:
    """What draining one CPU's lists adds to the zone's free counter: nothing until the differential overflows."""
    pcp = cpu.machine.pcp(number, zone)
    if not pcp.count:
        return 0
    diff = pcp.free_diff + pcp.count
    return diff if abs(diff) > pcp.stat_threshold else 0


def _worked(cpu: Cpu, task: int, other: int) -> bool:
    """Whether a CPU allocated or freed since this task's reclaim failed."""
    before = cpu.machine.page_operations[task * cpu.machine.dims.cpus + other].count
    return _operations(cpu.machine.cpus[other]) != before


def _operations(other: CpuWords) -> int:
    return other.counters[Counter.ALLOC] + other.counters[Counter.FREE]
