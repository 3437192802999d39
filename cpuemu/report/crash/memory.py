"""``zone``, ``pcp N`` and ``page PFN``: memory as the allocator has it."""

from __future__ import annotations

from collections.abc import Iterator

from cpuemu.layout import (
    MAX_ORDER,
    OWNER_BOOT,
    OWNER_FILE,
    OWNER_ISOLATED,
    MigrateType,
    Page,
    PageState,
    Wmark,
    Zone,
    pcp_head,
)
from cpuemu.report.crash.reading import Reading, UsageError, named, walk

SHOWN_PAGES = 12
"""Of one list."""
SPECIAL = {OWNER_BOOT: "held since boot", OWNER_FILE: "by the page cache",
           OWNER_ISOLATED: "in the hands of reclaim or compaction"}


def zone(reading: Reading, words: list[str]) -> Iterator[str]:
    """``zone``: free pages, watermarks, free blocks of each order, pages on CPUs' lists"""
    machine = reading.machine
    for each in machine.zones:
        pcps = [machine.pcp(cpu, each.index) for cpu in range(machine.dims.cpus)]
        yield (f"zone {each.name}: managed {each.managed}, free {each.free_pages} "
               f"({sum(pcp.free_diff for pcp in pcps):+d} in differentials), min {each.wmark[Wmark.MIN]} "
               f"low {each.wmark[Wmark.LOW]} high {each.wmark[Wmark.HIGH]}, file {each.nr_file}"
               + (", all unreclaimable" if each.all_unreclaimable else ""))
        yield f"  free blocks by order: {' '.join(str(count) for count in each.nr_free)}"
        yield (f"  on pcp lists by CPU:  {' '.join(str(pcp.count) for pcp in pcps)}"
               f"  (batch {pcps[0].batch}, high {pcps[0].high})")


def pcp(reading: Reading, words: list[str]) -> Iterator[str]:
    """``pcp CPU``: the lists of one CPU, page by page"""
    machine = reading.machine
    number = _number(words, "pcp CPU", 0, machine.dims.cpus - 1, "a CPU")
    following = machine.mem_map
    for each in machine.zones:
        lists = machine.pcp(number, each.index)
        yield (f"zone {each.name}: count {lists.count}, high {lists.high}, batch {lists.batch}, "
               f"differential {lists.free_diff:+d} (threshold {lists.stat_threshold})")
        for kind in range(MigrateType.PCPTYPES):
            head = machine.dims.pages + pcp_head(number, each.index, kind, machine.dims.zones)
            if head >= len(machine.mem_map):
                continue
            pages, end = walk(following[head].next, lambda pfn: following[pfn].next, head, machine.dims.pages)
            shown = " ".join(f"{pfn:#x}" for pfn in pages[:SHOWN_PAGES])
            more = f" … {len(pages) - SHOWN_PAGES} more" if len(pages) > SHOWN_PAGES else ""
            yield f"  {MigrateType(kind).name.lower():<12} {len(pages):>4} pages  {shown}{more}{end}".rstrip()


def page(reading: Reading, words: list[str]) -> Iterator[str]:
    """``page PFN``: what a page frame is, and whose"""
    machine = reading.machine
    pfn = _number(words, "page PFN", 0, machine.dims.pages - 1, "a page frame")
    first = pfn
    while first and machine.mem_map[first].state == PageState.TAIL and pfn - first < 1 << MAX_ORDER:
        first -= 1
    record = machine.mem_map[first]
    yield f"page {pfn:#x}: {_what(reading, record, first)}" + (
        f"; it is page {pfn - first} of the block that begins at {first:#x}" if first != pfn else "")
    block = machine.pageblocks[pfn >> 9].migratetype if pfn >> 9 < len(machine.pageblocks) else 0
    where = next((each.name for each in machine.zones if _in(each, pfn)), "no zone")
    yield f"  in {where}, pageblock {pfn >> 9} of type {named(MigrateType, block)}"
    if record.state in (PageState.BUDDY, PageState.PCP) or record.owner == OWNER_FILE:
        links = [f"{what} {_link(reading, link)}" for what, link in (("next", record.next), ("prev", record.prev))]
        yield f"  on its list: {', '.join(links)}"


def _in(each: Zone, pfn: int) -> bool:
    return each.start_pfn <= pfn < each.start_pfn + each.spanned


def _what(reading: Reading, record: Page, first: int) -> str:
    state = record.state
    if state == PageState.BUDDY:
        return f"free, a block of order {record.order}, list of {named(MigrateType, record.migratetype)}"
    if state == PageState.PCP:
        return f"on the pcp list of cpu {record.owner}, {named(MigrateType, record.migratetype)}"
    if state == PageState.ALLOCATED:
        owner = SPECIAL.get(record.owner) or f"by {reading.image.comm(record.owner)}"
        return f"allocated, a block of order {record.order}, {owner}"
    return named(PageState, state)


def _link(reading: Reading, index: int) -> str:
    pages = reading.machine.dims.pages
    if index < pages:
        return f"{index:#x}"
    return "the list's head" if index < len(reading.machine.mem_map) else f"{index}, which is no element"


def _number(words: list[str], usage: str, low: int, high: int, what: str) -> int:
    try:
        number = int(words[0], 0)
    except (IndexError, ValueError):
        raise UsageError(f"usage: {usage}") from None
    if not low <= number <= high:
        raise UsageError(f"{words[0]} is not {what} of this machine: {low} to {high:#x}")
    return number


