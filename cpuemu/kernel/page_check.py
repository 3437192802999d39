"""Page conservation by count, while stop_machine keeps everybody else out (Linux has no such thing).

Invariant:     for every zone: pages in buddy blocks + pages on pcp lists + allocated pages == managed, and each counter
               says what is there.
Writers:       none.
Steps:         none.
Not modelled:  links: the audit at power-off follows them.

Nobody is inside the allocator then: pages change hands only with interrupts off, and everybody has them off *here*.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from cpuemu.kernel import oracles
from cpuemu.kernel.bug import BUG_ON

if TYPE_CHECKING:
    from cpuemu.arch.cpu import Cpu


def check_page_counts(cpu: Cpu) -> None:
    """Count every page.  Context: the active CPU of stop_machine, in state RUN, before its function."""
    wrong = [sentence for zone in range(cpu.machine.dims.zones) for sentence in _wrong(cpu, zone)]
    BUG_ON(cpu, bool(wrong), oracles.PAGE_COUNT, "; ".join(wrong))


def _wrong(cpu: Cpu, number: int) -> Iterator[str]:
    machine, zone = cpu.machine, cpu.machine.zones[number]
    buddy, pcp, allocated, nowhere, blocks = cpu.core.count_zone(number)
    total = buddy + pcp + allocated
    if nowhere or total != zone.managed:
        yield (f"zone {zone.name}: {buddy} buddy + {pcp} pcp + {allocated} allocated = {total}, of {zone.managed} "
               f"managed; {nowhere} pages belong to no block")
    lists = [machine.pcp(each, number) for each in range(machine.dims.cpus)]
    if pcp != (counted := sum(each.count for each in lists)):
        yield f"zone {zone.name}: {pcp} pages are pcp pages, the lists' counts make {counted}"
    if blocks != (free := list(zone.nr_free)):
        yield f"zone {zone.name}: free blocks by order are {blocks}, nr_free says {free}"
    if buddy != (free_pages := zone.free_pages + sum(each.free_diff for each in lists)):
        yield f"zone {zone.name}: {buddy} pages are free, NR_FREE_PAGES with its differentials is {free_pages}"
