"""The page allocator once more, in plain Python from the description of v3.2: what the compiled one is compared with.

Lists are Python lists, the first element at the head.  Written without looking at the compiled source.
"""

from __future__ import annotations

from dataclasses import dataclass, field

MAX_ORDER, PAGEBLOCK = 11, 9
UNMOVABLE, RECLAIMABLE, MOVABLE, RESERVE, ISOLATE = range(5)
FALLBACK = {UNMOVABLE: (RECLAIMABLE, MOVABLE), RECLAIMABLE: (UNMOVABLE, MOVABLE), MOVABLE: (RECLAIMABLE, UNMOVABLE)}


@dataclass
class Model:
    pages: int
    batch: int
    high: int
    cpus: int = 1
    stat_threshold: int = 4
    free: dict[tuple[int, int], list[int]] = field(default_factory=dict)
    blocks: dict[int, int] = field(default_factory=dict)
    """Pageblock -> type."""
    lists: list[dict[int, list[int]]] = field(default_factory=list)
    """Of each CPU: type -> pages."""
    free_pages: int = 0
    """The zone's counter, less what the CPUs' differentials hold."""
    diffs: list[int] = field(default_factory=list)
    unreclaimable: bool = False
    scanned: int = 0
    """Pages of the inactive list, since one was last freed."""
    where: dict[int, tuple[int, int]] = field(default_factory=dict)
    """First page of each free block -> order, type."""

    def __post_init__(self) -> None:
        self.lists = [{0: [], 1: [], 2: []} for _ in range(self.cpus)]
        self.diffs = [0] * self.cpus
        self.free_pages = self.pages
        for order in range(MAX_ORDER):
            for kind in range(5):
                self.free[order, kind] = []
        for block in range((self.pages >> PAGEBLOCK) + 1):
            self.blocks[block] = MOVABLE
        start = 0
        while start < self.pages:
            order = MAX_ORDER - 1
            while start % (1 << order) or start + (1 << order) > self.pages:
                order -= 1
            self.give(start, order, MOVABLE)
            start += 1 << order

    # --- buddy

    def _add(self, pfn: int, order: int, kind: int, tail: bool = False) -> None:
        target = self.free[order, kind]
        target.insert(len(target) if tail else 0, pfn)
        self.where[pfn] = (order, kind)

    def _remove(self, pfn: int) -> tuple[int, int]:
        order, kind = self.where.pop(pfn)
        self.free[order, kind].remove(pfn)
        return order, kind

    def _split(self, pfn: int, have: int, want: int, kind: int) -> None:
        for order in range(have - 1, want - 1, -1):
            self._add(pfn + (1 << order), order, kind)

    def _smallest(self, order: int, kind: int) -> int | None:
        for size in range(order, MAX_ORDER):
            if self.free[size, kind]:
                pfn = self.free[size, kind][0]
                self._remove(pfn)
                self._split(pfn, size, order, kind)
                return pfn
        return None

    def _steal(self, order: int, kind: int) -> int | None:
        for size in range(MAX_ORDER - 1, order - 1, -1):
            for other in FALLBACK[kind]:
                if not self.free[size, other]:
                    continue
                pfn = self.free[size, other][0]
                target = other
                if size >= PAGEBLOCK // 2 or kind == RECLAIMABLE:
                    if self._move_block(pfn, kind) >= 1 << (PAGEBLOCK - 1):
                        self.blocks[pfn >> PAGEBLOCK] = kind
                    target = kind
                self._remove(pfn)
                if size >= PAGEBLOCK:
                    for block in range(pfn >> PAGEBLOCK, (pfn + (1 << size)) >> PAGEBLOCK):
                        self.blocks[block] = kind
                self._split(pfn, size, order, target)
                return pfn
        return None

    def _move_block(self, pfn: int, kind: int) -> int:
        start = pfn >> PAGEBLOCK << PAGEBLOCK
        end = start + (1 << PAGEBLOCK)
        if end > self.pages:
            return 0
        moved, at = 0, start
        while at < end:
            if at not in self.where:
                at += 1
                continue
            order, _ = self._remove(at)
            self._add(at, order, kind)
            at += 1 << order
            moved += 1 << order
        return moved

    def take(self, order: int, kind: int) -> int | None:
        pfn = self._smallest(order, kind)
        if pfn is None:
            pfn = self._steal(order, kind)
        return pfn if pfn is not None else self._smallest(order, RESERVE)

    def give(self, pfn: int, order: int, kind: int) -> None:
        while order < MAX_ORDER - 1:
            buddy = pfn ^ (1 << order)
            if self.where.get(buddy, (None,))[0] != order:
                break
            self._remove(buddy)
            pfn = min(pfn, buddy)
            order += 1
        likely = False
        if order < MAX_ORDER - 2:
            pair = pfn & ~(1 << order)
            likely = self.where.get(pair ^ (1 << order + 1), (None,))[0] == order + 1
        self._add(pfn, order, kind, tail=likely)

    # --- per-CPU lists; what changes the zone's free pages is counted in the differential of the CPU that does it

    @property
    def pcp(self) -> dict[int, list[int]]:
        """CPU 0's."""
        return self.lists[0]

    def on_lists(self, cpu: int) -> int:
        return sum(map(len, self.lists[cpu].values()))

    def account(self, cpu: int, pages: int) -> None:
        self.diffs[cpu] += pages
        if abs(self.diffs[cpu]) > self.stat_threshold:
            self.fold(cpu)

    def fold(self, cpu: int) -> None:
        self.free_pages += self.diffs[cpu]
        self.diffs[cpu] = 0

    def take_block(self, order: int, kind: int, cpu: int) -> int | None:
        """An allocation of a higher order."""
        pfn = self.take(order, kind)
        if pfn is not None:
            self.account(cpu, -(1 << order))
        return pfn

    def give_block(self, pfn: int, order: int, cpu: int) -> None:
        self.unreclaimable, self.scanned = False, 0
        self.give(pfn, order, self.blocks[pfn >> PAGEBLOCK])
        self.account(cpu, 1 << order)

    def refill(self, kind: int, wanted: int, cold: bool, cpu: int = 0) -> int:
        pages, got = self.lists[cpu][kind], 0
        place = len(pages) if cold else 0
        while got < wanted and (pfn := self.take(0, kind)) is not None:
            # Behind the one before it; cold: each in front of the one before it, the first one at the tail.
            pages.insert(place, pfn)
            place += 0 if cold else 1
            got += 1
        self.account(cpu, -got)
        return got

    def pcp_take(self, kind: int, cold: bool, cpu: int = 0) -> int | None:
        pages = self.lists[cpu][kind]
        if not pages:
            self.refill(kind, self.batch, cold, cpu)
        if not pages:
            return None
        return pages.pop() if cold else pages.pop(0)

    def pcp_give(self, pfn: int, cold: bool, cpu: int = 0) -> None:
        kind = self.blocks[pfn >> PAGEBLOCK]
        if kind == ISOLATE:
            self.give_block(pfn, 0, cpu)
            return
        pages = self.lists[cpu][MOVABLE if kind == RESERVE else kind]
        pages.insert(len(pages) if cold else 0, pfn)
        if self.on_lists(cpu) >= self.high:
            self.bulk(self.batch, cpu)

    def bulk(self, count: int, cpu: int = 0, by: int | None = None) -> None:
        """Pages of ``cpu``'s lists, by itself or, when it is dead, by another one."""
        self.account(cpu if by is None else by, count)
        self.unreclaimable, self.scanned = False, 0
        lists = self.lists[cpu]
        kind, turn = 0, 0
        while count:
            while True:
                turn += 1
                kind = (kind + 1) % 3
                if lists[kind]:
                    break
            if turn == 3:
                turn = count
            while True:
                self.give(lists[kind].pop(), 0, kind)
                count -= 1
                turn -= 1
                if not count or not turn or not lists[kind]:
                    break
