"""The page audit: every page and every list, at power-off and in the post-mortem (Linux has no such thing).

Invariant:     for every zone: pages in buddy blocks + pages on pcp lists + allocated pages == managed; a free block
               is on exactly the list it claims, a pcp page on exactly its CPU's list, nothing is on two lists.
Writers:       none: reads an image, takes no lock, believes nothing that it finds there.
Steps:         none.
Not modelled:  a running machine: ``audit`` is for a machine at rest, ``count_only`` for a quiet moment.

An audit never fails, whatever the image holds: what is wrong becomes a sentence.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from cpuemu.kernel.oracles import LIST_COUNT, PAGE_ON_TWO_LISTS, PAGES_ON_DEAD_CPU
from cpuemu.kernel.page_count import RECORD, PageAudit, ZoneAudit, check_free_pages, count_only, records
from cpuemu.layout import (
    MAX_ORDER,
    OWNER_BOOT,
    OWNER_FILE,
    OWNER_ISOLATED,
    Machine,
    Mask,
    MigrateType,
    PageState,
    free_list_head,
    lru_head,
    pcp_head,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Buffer

__all__ = ["PageAudit", "ZoneAudit", "audit", "count_only"]


def audit(machine: Machine, image: Buffer, torn_by: str | None = None) -> PageAudit:
    """Count page by page and list by list.

    ``image``: the bytes of RAM (mmap, bytes, memoryview); the page records are copied first.
    ``torn_by``: the death that tore the machine ("the death of cpu 3 at zone_lock"): what is wrong is then its
    consequence, one note, not findings.
    """
    result = _Walk(machine, image).run()
    if result.suppressed:
        result.wrong.append((result.wrong[-1][0], f"and {result.suppressed} more of the kind"))
    if torn_by and result.wrong:
        result.notes.append(f"page accounting is torn by {torn_by}: {len(result.wrong) + result.suppressed} "
                            f"discrepancies, the first: {result.findings[0]}")
        result.wrong = []
    return result


class _Walk:
    """One audit: the page records as columns, and what has been seen."""

    def __init__(self, machine: Machine, image: Buffer) -> None:
        self.machine, self.result = machine, PageAudit(managed=machine.header.managed)
        self.nr_pages = machine.dims.pages
        raw = records(machine, image, machine.placed["mem_map"].count)
        self.states, self.orders = raw[0::RECORD], raw[1::RECORD]
        self.types, self.zone_of = raw[2::RECORD], raw[3::RECORD]
        words = array("I")
        words.frombytes(raw)
        self.owners, self.nexts, self.prevs = words[1::4], words[2::4], words[3::4]
        self.listed = bytearray(self.nr_pages)
        self.found = self.result.found

    def run(self) -> PageAudit:
        for zone in self.machine.zones:
            self.result.zones.append(ZoneAudit(zone.name, zone.managed, pcp_by_cpu=[0] * self.machine.dims.cpus))
        self._lists()
        for number in range(self.machine.dims.zones):
            self._pages(number)
            self._sums(number)
        self._owners()
        result = self.result
        result.buddy = sum(zone.buddy for zone in result.zones)
        result.pcp = sum(zone.pcp for zone in result.zones)
        result.allocated = sum(zone.allocated for zone in result.zones)
        if result.managed != (total := sum(zone.managed for zone in result.zones)):
            self.found(f"the header says {result.managed} managed pages, the zones {total}")
        return result

    # --- the lists -----------------------------------------------------------------------------------------

    def _lists(self) -> None:
        dims = self.machine.dims
        for zone in range(dims.zones):
            name = self.result.zones[zone].name
            for order in range(MAX_ORDER):
                links = sum(self._free_list(zone, name, order, kind) for kind in range(MigrateType.TYPES))
                if links != (count := self.machine.zones[zone].nr_free[order]):
                    self.found(f"zone {name}: nr_free[{order}] is {count}, its lists have {links} blocks", LIST_COUNT)
            self._lru(zone, name)
            for cpu in range(dims.cpus):
                self._pcp_lists(cpu, zone, name)

    def _free_list(self, zone: int, name: str, order: int, kind: int) -> int:
        label = f"free list {name}/order {order}/{MigrateType(kind).name}"
        links = 0
        for pfn in self._list(free_list_head(zone, order, kind), label):
            links += 1
            if self.states[pfn] != PageState.BUDDY:
                self.found(f"{label}: page {pfn:#x} is {_state(self.states[pfn])}, not free")
            elif (self.zone_of[pfn], self.orders[pfn], self.types[pfn]) != (zone, order, kind):
                self.found(f"{label}: page {pfn:#x} claims to be on the list of zone {self.zone_of[pfn]}, "
                           f"order {self.orders[pfn]}, migratetype {self.types[pfn]}")
        return links

    def _pcp_lists(self, cpu: int, zone: int, name: str) -> None:
        machine = self.machine
        links = 0
        for kind in range(MigrateType.PCPTYPES):
            label = f"pcp list of cpu {cpu}/{name}/{MigrateType(kind).name}"
            for pfn in self._list(pcp_head(cpu, zone, kind, machine.dims.zones), label):
                links += 1
                if self.states[pfn] != PageState.PCP:
                    self.found(f"{label}: page {pfn:#x} is {_state(self.states[pfn])}, not a pcp page")
                elif (self.owners[pfn], self.zone_of[pfn]) != (cpu, zone):
                    self.found(f"{label}: page {pfn:#x} claims cpu {self.owners[pfn]}, zone {self.zone_of[pfn]}")
                elif min(self.types[pfn], MigrateType.MOVABLE) != kind and self.types[pfn] < MigrateType.PCPTYPES:
                    self.found(f"{label}: page {pfn:#x} claims migratetype {self.types[pfn]}")
        self.result.zones[zone].pcp_by_cpu[cpu] = links
        count = machine.pcp(cpu, zone).count
        if count != links:
            self.found(f"pcp of cpu {cpu}/{name}: count is {count}, its lists have {links} pages", LIST_COUNT)
        if (links or count) and not machine.cpumasks[Mask.ONLINE].bits[cpu // 64] >> cpu % 64 & 1:
            self.found(f"pages left on a dead CPU's list: cpu {cpu}, which is not online, "
                       f"has {max(links, count)} pages of zone {name}", PAGES_ON_DEAD_CPU)

    def _lru(self, zone: int, name: str) -> None:
        label = f"inactive file list {name}"
        links = 0
        for pfn in self._list(lru_head(zone, self.machine.dims.zones), label):
            links += 1
            if self.states[pfn] != PageState.ALLOCATED or self.owners[pfn] != OWNER_FILE:
                self.found(f"{label}: page {pfn:#x} is {_state(self.states[pfn])}, owner {_owner(self.owners[pfn])}")
        if links != (count := self.machine.zones[zone].nr_file):
            self.found(f"zone {name}: nr_file is {count}, its inactive list has {links} pages", LIST_COUNT)
        self.result.zones[zone].file = links

    def _list(self, head: int, label: str) -> Iterator[int]:
        """The pages of one list.  It ends at the first link that leads astray, back, or to a page seen before."""
        head += self.nr_pages
        before, pfn = head, self.nexts[head]
        while pfn != head:
            if pfn >= self.nr_pages:
                self.found(f"{label}: the link of {self._node(before)} leads to {pfn:#x}, which is no page")
                return
            if self.listed[pfn]:
                self.found(f"{label}: page {pfn:#x} is on two lists, or twice on this one", PAGE_ON_TWO_LISTS)
                return
            if self.prevs[pfn] != before:
                self.found(f"{label}: {self._node(before)} links to page {pfn:#x}, "
                           f"whose previous is {self._node(self.prevs[pfn])}")
                return
            self.listed[pfn] = 1
            yield pfn
            before, pfn = pfn, self.nexts[pfn]
        if self.prevs[head] != before:
            self.found(f"{label}: its head's previous is {self._node(self.prevs[head])}, its last {self._node(before)}")

    def _node(self, index: int) -> str:
        if index < self.nr_pages:
            return f"page {index:#x}"
        return "the list head" if index < len(self.nexts) else f"{index:#x}"

    # --- the pages -----------------------------------------------------------------------------------------

    def _pages(self, zone: int) -> None:
        """Walk the zone's page records: at each head of a block jump over the block."""
        record = self.machine.zones[zone]
        start, end = record.start_pfn, record.start_pfn + record.spanned
        if end > self.nr_pages:
            self.found(f"zone {record.name} claims pages {start:#x}..{end:#x}, there are {self.nr_pages:#x}")
            end = self.nr_pages
        states, orders, zone_of, listed = self.states, self.orders, self.zone_of, self.listed
        heads = {int(PageState.BUDDY): 0, int(PageState.PCP): 0, int(PageState.ALLOCATED): 0}
        owned = self.result.owned
        pfn = start
        while pfn < end:
            state = states[pfn]
            if state not in heads:
                pfn = self._between(zone, pfn, end)
                continue
            order = orders[pfn]
            if order or zone_of[pfn] != zone:
                order = self._block(zone, pfn, end)
            size = 1 << order
            heads[state] += size
            if state == PageState.ALLOCATED:
                owner = self.owners[pfn]
                owned[owner] = owned.get(owner, 0) + size
                if owner == OWNER_FILE and not listed[pfn]:
                    self.found(f"page {pfn:#x} is a file page and on no inactive list")
            elif not listed[pfn]:
                self.found(f"page {pfn:#x} is {_state(state)}, order {order}, and on no list")
            if state == PageState.BUDDY:
                self._free_block(zone, pfn, order)
            pfn += size
        counted = self.result.zones[zone]
        counted.buddy, counted.pcp = heads[PageState.BUDDY], heads[PageState.PCP]
        counted.allocated = heads[PageState.ALLOCATED]

    def _between(self, zone: int, pfn: int, end: int) -> int:
        """A run of records that begin no block; where it ends."""
        state = self.states[pfn]
        stop = pfn + 1
        while stop < end and self.states[stop] == state:
            stop += 1
        name = self.result.zones[zone].name
        if state == PageState.TAIL:
            self.found(f"zone {name}: {stop - pfn} pages from {pfn:#x} belong to no block: lost")
        elif state != PageState.RESERVED:
            self.found(f"zone {name}: {stop - pfn} pages from {pfn:#x} have the impossible state {state}")
        return stop

    def _block(self, zone: int, pfn: int, end: int) -> int:
        """Check a block of several pages, or one with a wrong zone; its order, or 0 if that cannot be."""
        order, size = self.orders[pfn], 1 << min(self.orders[pfn], MAX_ORDER)
        name = self.result.zones[zone].name
        what = f"{_state(self.states[pfn])} block at {pfn:#x}, order {order}"
        if self.zone_of[pfn] != zone:
            self.found(f"zone {name}: the {what}, claims zone {self.zone_of[pfn]}")
        if order >= MAX_ORDER or (order and self.states[pfn] == PageState.PCP):
            self.found(f"zone {name}: the {what}, has an impossible order")
            return 0
        if pfn & (size - 1) or pfn + size > end:
            self.found(f"zone {name}: the {what}, is not aligned to its order or leaves the zone")
        if self.states.count(PageState.TAIL, pfn + 1, pfn + size) != size - 1:
            for inside in range(pfn + 1, min(pfn + size, end)):
                if self.states[inside] != PageState.TAIL:
                    self.found(f"zone {name}: the {what}, overlaps the {_state(self.states[inside])} page {inside:#x}")
                    break
        return order

    def _free_block(self, zone: int, pfn: int, order: int) -> None:
        self.result.zones[zone].free_blocks[order] += 1
        if order == MAX_ORDER - 1:
            return
        buddy = pfn ^ 1 << order
        if pfn < buddy < self.nr_pages and self.states[buddy] == PageState.BUDDY and self.orders[buddy] == order \
                and self.zone_of[buddy] == zone:
            self.found(f"zone {self.result.zones[zone].name}: the free blocks at {pfn:#x} and {buddy:#x}, "
                       f"order {order}, are buddies and were not merged")

    def _sums(self, zone: int) -> None:
        counted = self.result.zones[zone]
        if counted.lost:
            self.found(f"zone {counted.name}: {counted.buddy} buddy + {counted.pcp} pcp + {counted.allocated} "
                       f"allocated = {counted.managed - counted.lost}, of {counted.managed} managed: "
                       f"{abs(counted.lost)} pages {'lost' if counted.lost > 0 else 'too many'}")
        check_free_pages(self.machine, zone, counted.buddy, "the free blocks hold", self.result)

    def _owners(self) -> None:
        tasks = self.machine.dims.tasks
        for owner, pages in sorted(self.result.owned.items()):
            if owner in (OWNER_BOOT, OWNER_FILE):
                continue
            if owner == OWNER_ISOLATED:
                self.found(f"{pages} pages were taken off a list by reclaim or compaction, and never given back")
                continue
            if owner >= tasks:
                self.found(f"{pages} allocated pages belong to {_owner(owner)}, which is no task")
            elif pages != (rss := self.machine.tasks[owner].rss):
                self.found(f"task {self.machine.tasks[owner].comm}/{owner} owns {pages} pages, its rss is {rss}")
        for task in self.machine.tasks:
            if task.rss and task.index not in self.result.owned:
                self.found(f"task {task.comm}/{task.index} owns no page, its rss is {task.rss}")


def _state(state: int) -> str:
    names = {int(each): each.name.lower() for each in PageState}
    return names.get(state, f"state {state}")


def _owner(owner: int) -> str:
    special = {OWNER_BOOT: "boot", OWNER_FILE: "the page cache", OWNER_ISOLATED: "reclaim or compaction"}
    return special.get(owner, f"task {owner}")
