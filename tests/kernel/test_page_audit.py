"""The page audit finds each kind of damage, names it, and is silent on a machine whose pages are all there."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from cpuemu import layout
from cpuemu.kernel.page_audit import audit, count_only
from cpuemu.layout import MigrateType, PageState
from tests.handmade import Handmade, machine

TASK = 70


@pytest.fixture
def made() -> Handmade:
    """Free blocks of many sizes, allocated ones, pcp pages on two CPUs, file pages."""
    made = machine()
    made.task(TASK, "storm/0", 0)
    for pfn, order in ((0x10, 0), (0x20, 3), (0x801, 0), (0xA00, 9), (0xC40, 1)):
        made.take(pfn, order, TASK)
    made.take(0x400, 4)
    for cpu, pfn in ((0, 0x900), (0, 0x903), (2, 0x905)):
        made.take(pfn)
        made.to_pcp(cpu, pfn)
    for pfn in (0x30, 0x35, 0xE01):
        made.take(pfn)
        made.to_lru(pfn)
    return made


def test_silence_on_a_sound_machine(made: Handmade) -> None:
    result = audit(made.machine, made.memory)
    assert result.findings == [] and result.ok and result.lost == 0
    assert result.managed == 4095
    assert result.pcp == 3 and result.allocated == 1 + 8 + 1 + 512 + 2 + 16 + 3
    assert result.buddy == 4095 - 3 - result.allocated
    assert [zone.name for zone in result.zones] == ["DMA", "Normal"]
    assert result.zones[1].pcp_by_cpu == [2, 0, 1, 0] and result.zones[0].file == 2
    assert result.owned == {TASK: 524, layout.OWNER_BOOT: 16, layout.OWNER_FILE: 3}
    counted = count_only(made.machine, made.memory)
    assert counted.findings == [] and counted.pages() == result.pages()
    assert count_only(made.machine).pages() == result.pages()


def _lost_page(made: Handmade) -> None:
    made.pages[0x801].state = PageState.TAIL
    made.tasks[TASK].rss -= 1


def _wrong_list(made: Handmade) -> None:
    pfn = _free_block(made, 0)
    made.unlink(pfn)
    made.add_tail(layout.free_list_head(made.pages[pfn].zone, 1, MigrateType.MOVABLE), pfn)


def _two_lists(made: Handmade) -> None:
    pfn = _free_block(made, 2)
    made.add_tail(layout.free_list_head(made.pages[pfn].zone, 2, MigrateType.UNMOVABLE), pfn)


def _free_block(made: Handmade, order: int) -> int:
    return next(page.index for page in made.pages if page.index < 4096
                and page.state == PageState.BUDDY and page.order == order)


def _cycle(made: Handmade) -> None:
    head = 4096 + layout.pcp_head(0, 1, MigrateType.MOVABLE, 2)
    made.pages[made.pages[head].prev].next = made.pages[head].next


def _off_list(made: Handmade) -> None:
    made.unlink(0x905)
    made.machine.pcp(2, 1).count -= 1


def _overlap(made: Handmade) -> None:
    page = made.pages[0xA40]
    page.state, page.owner = PageState.ALLOCATED, TASK


def _unmerged(made: Handmade) -> None:
    head = _free_block(made, 3)
    made.unlink(head)
    zone = made.machine.zones[made.pages[head].zone]
    zone.nr_free[3] -= 1
    zone.free_pages -= 8
    made.free(head, 2)
    made.free(head + 4, 2)


def _dead_cpu(made: Handmade) -> None:
    made.online(2, False)


def _bad_link(made: Handmade) -> None:
    made.pages[0x900].next = 0xDEAD_BEEF


def _bad_prev(made: Handmade) -> None:
    made.pages[0x903].prev = 0x10


def _set(path: str, value: int) -> Callable[[Handmade], None]:
    def change(made: Handmade) -> None:
        exec(f"made.{path} = {value}")

    return change


DAMAGE: list[tuple[Callable[[Handmade], None], str]] = [
    (_lost_page, "1 pages from 0x801 belong to no block: lost"),
    (_lost_page, "2048 managed"),
    (_lost_page, "1 pages lost"),
    (_wrong_list, "claims to be on the list of zone 0, order 0"),
    (_two_lists, "is on two lists"),
    (_cycle, "or twice on this one"),
    (_off_list, "page 0x905 is pcp, order 0, and on no list"),
    (_overlap, "allocated block at 0xa00, order 9, overlaps the allocated page 0xa40"),
    (_unmerged, "are buddies and were not merged"),
    (_dead_cpu, "pages left on a dead CPU's list: cpu 2, which is not online, has 1 pages of zone Normal"),
    (_bad_link, "leads to 0xdeadbeef, which is no page"),
    (_bad_prev, "whose previous is page 0x10"),
    (_set("machine.pcp(0, 1).count", 3), "pcp of cpu 0/Normal: count is 3, its lists have 2 pages"),
    (_set("machine.zones[0].nr_free[2]", 77), "nr_free[2] is 77"),
    (_set("machine.zones[1].free_pages", 5), "NR_FREE_PAGES is 5 +0 in per-CPU differentials"),
    (_set("machine.zones[1].nr_file", 9), "nr_file is 9, its inactive list has 1 pages"),
    (_set("machine.header.managed", 4000), "the header says 4000 managed pages, the zones 4095"),
    (_set("machine.pcp(1, 0).free_diff", -3), "-3 in per-CPU differentials"),
    (_set("pages[0x900].owner", 1), "pcp list of cpu 0/Normal/MOVABLE: page 0x900 claims cpu 1"),
    (_set("pages[0x900].state", PageState.ALLOCATED), "page 0x900 is allocated, not a pcp page"),
    (_set("pages[0x900].migratetype", MigrateType.UNMOVABLE), "page 0x900 claims migratetype 0"),
    (_set("pages[0x30].owner", 3), "page 0x30 is allocated, owner task 3"),
    (_set("pages[0x10].owner", 500), "belong to task 500, which is no task"),
    (_set("pages[0x10].owner", layout.OWNER_FILE), "page 0x10 is a file page and on no inactive list"),
    (_set(f"tasks[{TASK}].rss", 3), "storm/0/70 owns 524 pages, its rss is 3"),
    (_set("tasks[71].rss", 3), "owns no page, its rss is 3"),
    (_set("pages[0x20].order", 200), "allocated block at 0x20, order 200, has an impossible order"),
    (_set("pages[0x20].order", 6), "is not aligned to its order"),
    (_set("pages[0x20].zone", 1), "claims zone 1"),
    (_set("pages[0x20].state", 99), "have the impossible state 99"),
    (_set("machine.zones[1].spanned", 99999), "there are 0x1000"),
]


@pytest.mark.parametrize(("damage", "sentence"), DAMAGE)
def test_damage_is_found_and_named(made: Handmade, damage: Callable[[Handmade], None], sentence: str) -> None:
    damage(made)
    result = audit(made.machine, made.memory)
    assert any(sentence in finding for finding in result.findings), result.findings


@pytest.mark.parametrize("damage", [_lost_page, _overlap, _set("machine.zones[1].free_pages", 5), _off_list,
                                    _set("machine.pcp(0, 1).count", -3)])
def test_quiet_moment_notices(made: Handmade, damage: Callable[[Handmade], None]) -> None:
    damage(made)
    assert count_only(made.machine, made.memory).findings


def test_reserve_pages_are_listed_as_movable(made: Handmade) -> None:
    made.pages[0x900].migratetype = MigrateType.RESERVE
    assert audit(made.machine, made.memory).ok


def test_holes_are_not_lost(made: Handmade) -> None:
    zone = made.machine.zones[1]
    made.take(0xF00, 4)
    for pfn in range(0xF00, 0xF10):
        made.pages[pfn].state = PageState.RESERVED
        made.pages[pfn].order = 0
    zone.managed -= 16
    made.machine.header.managed -= 16
    assert audit(made.machine, made.memory).ok and count_only(made.machine, made.memory).ok


def test_torn_by_a_death(made: Handmade) -> None:
    _lost_page(made)
    result = audit(made.machine, made.memory, torn_by="the death of cpu 3 at free_one_page:zone_lock")
    assert result.ok and len(result.notes) == 1
    assert result.notes[0].startswith("page accounting is torn by the death of cpu 3 at free_one_page:zone_lock: 2 ")


def test_findings_are_bounded(made: Handmade) -> None:
    for pfn in range(1, 4096):
        made.pages[pfn].state = PageState.PCP
    result = audit(made.machine, made.memory)
    assert len(result.findings) <= 51 and "more of the kind" in result.findings[-1]


def test_garbage_never_raises(made: Handmade) -> None:
    base = made.machine.placed["mem_map"].base
    for seed in range(8):
        noise = bytes((seed * 131 + at * 7919 >> 3) & 0xFF for at in range(65536))
        made.memory[base : base + 65536] = noise
        assert audit(made.machine, made.memory).findings
        count_only(made.machine, made.memory)


def test_512_mib_in_a_fraction_of_a_second() -> None:
    made = machine(cpus=2, pages=131072, boot=False)
    made.online(0)
    for pfn in range(70_000, 110_000, 2):  # 20,000 single pages: as fragmented as it gets
        made.take(pfn)
    started = time.process_time()
    assert audit(made.machine, made.memory).ok
    assert time.process_time() - started < 1.0
