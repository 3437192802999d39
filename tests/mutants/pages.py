"""Pages that are lost, handed out or freed twice, and lists that lie."""

from __future__ import annotations

from typing import Any

from cpuemu.arch.cpu import Cpu
from cpuemu.kernel import cpu_hotplug, oom_kill, oracles, page_lists, user_mode
from cpuemu.layout import MigrateType, PageState, free_list_head, pcp_head
from tests.mutants.declaration import HERE, STORM, TIGHT, mutant, replace, wrap
from workers import entry


@mutant(oracles.PAGE_CONSERVATION, *STORM)
def a_block_is_lost() -> None:
    """A free of a higher order never reaches the free lists."""
    replace(page_lists, "free_one_page", lambda *arguments: None)


@mutant(oracles.PAGE_COUNT, *STORM, "--hotplug", "1")
def a_block_is_lost_before_an_offline() -> None:
    """The same, and a CPU goes offline: told while everybody is stopped."""
    a_block_is_lost()


@mutant(oracles.PAGE_ON_TWO_LISTS, *STORM)
def a_page_linked_twice() -> None:
    """At power-off an empty pcp list is made to begin with a free block."""
    @wrap(entry, "power_off")
    def _(right: Any, cpu: Cpu) -> None:
        if cpu.number == 0:
            dims, pages = cpu.machine.dims, cpu.machine.mem_map
            free = next(pages[at].next for at in _free_lists(cpu) if pages[at].next < dims.pages)
            empty = next(at for at in _pcp_lists(cpu) if pages[at].next == at)
            pages[empty].next = free
        right(cpu)


def _free_lists(cpu: Cpu) -> list[int]:
    dims = cpu.machine.dims
    return [dims.pages + free_list_head(dims.zones - 1, order, MigrateType.MOVABLE) for order in range(11)]


def _pcp_lists(cpu: Cpu) -> list[int]:
    dims = cpu.machine.dims
    return [dims.pages + pcp_head(number, dims.zones - 1, kind, dims.zones) for number in range(dims.cpus)
            for kind in range(MigrateType.PCPTYPES)]


@mutant(oracles.LIST_COUNT, *STORM)
def a_counter_too_high() -> None:
    """At power-off nr_free counts a block that is not there."""
    @wrap(entry, "power_off")
    def _(right: Any, cpu: Cpu) -> None:
        if cpu.number == 0:
            cpu.machine.zones[0].nr_free[3] += 1
        right(cpu)


@mutant(oracles.DOUBLE_FREE, *STORM)
def freed_twice() -> None:
    """Every system call that frees a single page does it again: it is still on the CPU's own list."""
    @wrap(user_mode, "free_pages")
    def _(right: Any, cpu: Cpu, pfn: int, order: int, cold: bool = False) -> None:
        right(cpu, pfn, order, cold)
        if not order:  # a block of a higher order may be somebody else's by now
            right(cpu, pfn, order, cold)


@mutant(oracles.BAD_PAGE, *STORM)
def freed_with_another_order() -> None:
    """A system call frees half of what it holds."""
    @wrap(user_mode, "free_pages")
    def _(right: Any, cpu: Cpu, pfn: int, order: int, cold: bool = False) -> None:
        right(cpu, pfn, max(0, order - 1), cold)


@mutant(oracles.DOUBLE_ALLOC, *STORM)
def a_page_stays_on_its_list() -> None:
    """A page that is allocated stands on its CPU's list all the same."""
    @wrap(page_lists, "buffered_rmqueue")
    def _(right: Any, cpu: Cpu, zone: int, gfp: int, order: int, migratetype: int) -> int:
        pfn: int = right(cpu, zone, gfp, order, migratetype)
        if pfn >= 0 and order == 0:
            cpu.me.irqs_off = 1
            cpu.core.pcp_free(pfn, migratetype, False)
            page = cpu.machine.mem_map[pfn]
            page.state, page.owner = PageState.ALLOCATED, cpu.me.current
            cpu.me.irqs_off = 0
        return pfn


@mutant(oracles.LIST_CORRUPTION, *STORM)
def a_scribbled_link() -> None:
    """Whoever gets a page scribbles over a link of the next one on the list."""
    @wrap(page_lists, "buffered_rmqueue")
    def _(right: Any, cpu: Cpu, zone: int, gfp: int, order: int, migratetype: int) -> int:
        pfn: int = right(cpu, zone, gfp, order, migratetype)
        pages, dims = cpu.machine.mem_map, cpu.machine.dims
        head = dims.pages + pcp_head(cpu.number, zone, migratetype, dims.zones)
        if pages[head].next != head:
            pages[pages[head].next].prev = pages[head].next
        return pfn


@mutant(oracles.PAGES_ON_DEAD_CPU, *STORM, "--hotplug", "1,2")
def no_drain_of_the_dead() -> None:
    """CPU_DEAD without the allocator's notifier."""
    replace(cpu_hotplug, "CPU_DEAD", (cpu_hotplug.migration_dead,))


@mutant(oracles.OOM_NOTHING_TO_KILL, *TIGHT)
def nobody_is_worth_killing() -> None:
    """Every task has no points for the OOM killer."""
    replace(oom_kill, "oom_badness", lambda *arguments: 0)


@mutant(oracles.USER_PROGRAM, "--workload", f"{HERE}/programs.py:Liar")
def a_program_that_lies() -> None:
    """The workload's own program asks for what there is not."""
