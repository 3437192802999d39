"""What drains of all CPUs find and cost, and what they could find (ours: Linux has no such counters).

Invariant:     only reads what is Linux's: lists, masks, counters; a machine without this file allocates the same.
Writers:       a task's entry of ``allocations`` by the task; its ``found`` by the CPUs that its drain reaches,
               atomically; ``drains`` atomically.
Steps:         none: nothing here is seen by the emulated kernel.
Not modelled:  -

A drain is page_alloc.drain_all_pages, whatever the policy reaches by it.  Who it reaches books what it frees to the
task that waits for it: that task has preemption off, so it is its CPU's current one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cpuemu.events import Event
from cpuemu.kernel.cpumask import for_each_online_cpu
from cpuemu.layout import Allocation, Counter, Drains, Latency

if TYPE_CHECKING:
    from cpuemu.arch.cpu import Cpu


def drain_begins(cpu: Cpu) -> None:
    """Count the drain, how many are under way with it, and whether Ben-Yossef's commit calls it avoidable."""
    machine, core = cpu.machine, cpu.core
    mine, drains = machine.allocations[cpu.me.current], machine.drains
    listed = _listed(cpu)
    with_pages = sum(1 for pages in listed if pages)
    under_way = cpu.ram.add(drains.addr(Drains.under_way), 1)
    _raise_to(cpu, under_way)
    mine.drains += 1
    mine.found = 0
    core.count(Counter.DRAIN_ALL)
    core.count(Counter.DRAIN_OVERLAP, under_way)
    core.count(Counter.DRAIN_AVOIDABLE, 2 * with_pages <= len(listed))
    core.trace(Event.CPUEMU_DRAIN_ALL_BEGIN, with_pages, len(listed), under_way)
    mine.drain_cpu, mine.drain_ipis = cpu.number, cpu.me.counters[Counter.IPI_SENT]
    mine.drain_ns = cpu.now()


def drain_ends(cpu: Cpu) -> None:
    """Everybody whom it reached has answered."""
    mine, core = cpu.machine.allocations[cpu.me.current], cpu.core
    took = cpu.now() - mine.drain_ns
    # The task may have been moved meanwhile: its first CPU's are counted.
    ipis = cpu.machine.cpus[mine.drain_cpu].counters[Counter.IPI_SENT] - mine.drain_ipis
    found = mine.found
    cpu.ram.add(cpu.machine.drains.addr(Drains.under_way), -1)
    core.count(Counter.DRAIN_IPI, ipis)
    core.count(Counter.DRAIN_FOUND, found)
    core.count(Counter.DRAIN_EMPTY, not found)
    core.trace(Event.CPUEMU_DRAIN_ALL_END, took // 1000, found, ipis)
    core.latency(Latency.DRAIN_ALL, took)


def drained_here(cpu: Cpu, pages: int) -> None:
    """A drain freed pages of this CPU's lists.  Context: preemption off, or in the interrupt that asked for it."""
    if pages:
        source = cpu.me.call_source - 1 if cpu.me.call_source else cpu.number
        asker = cpu.machine.allocations[cpu.machine.cpus[source].current]
        cpu.ram.add(asker.addr(Allocation.found), pages)


def reclaim_begins(cpu: Cpu) -> None:
    """Count the direct reclaim, and the pages that lie on lists meanwhile, where it cannot get at them."""
    cpu.core.count(Counter.DIRECT_RECLAIM)
    cpu.core.count(Counter.STRANDED, sum(_listed(cpu)))


def _listed(cpu: Cpu) -> list[int]:
    """Pages on the lists of each online CPU."""
    counts = cpu.core.pcp_counts()
    return [counts[number] for number in for_each_online_cpu(cpu)]


def _raise_to(cpu: Cpu, under_way: int) -> None:
    word = cpu.machine.drains.addr(Drains.most)
    while (most := cpu.ram.read(word)) < under_way and not cpu.ram.cmpxchg(word, most, under_way):
        pass
