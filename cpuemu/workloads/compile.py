"""A recording compiled into streams: every allocation gets a slot, every free names the slot of what it frees.

A free looks backwards only: for the allocation on an earlier line, whole or page by page; else for a block that was
allocated before the recording and is held since boot.  So a replay waits for earlier lines only, and cannot deadlock
by itself.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from cpuemu.layout import MAX_ORDER, MigrateType, OpKind
from cpuemu.workloads.base import HotplugEvent
from cpuemu.workloads.ftrace import CsdQueue, HotplugStep, IpiSend, LostEvents, PageAlloc, PageFree, Record
from cpuemu.workloads.gfp import gfp_bits, mobility

OP = struct.Struct("<IIBBBBHH")
"""layout.ReplayOp: line, slot, kind, order, migratetype, pieces, gfp, delta."""
MAX_DELTA_US = 65535
PIECES_ORDER = 8
"""A block that is freed page by page is at most this large: ReplayOp.pieces counts to 255.  A larger one becomes
several allocations of this order on the same line."""
CSD_CALLBACK = "generic_smp_call_function_single_interrupt"

LINE, SLOT, KIND, ORDER, TYPE, PIECES, GFP, DELTA = range(8)
Operation = list[int]
"""The fields of a ReplayOp.  Until ``finish``, slot -1-n is that of held block n, others count from 0."""

FAILED_THERE = "allocations that failed there"
NOT_RECORDED = "frees of pages whose allocation has no line"
TOO_LARGE = "blocks of an order that v3.2 does not have"
OWN_INTERRUPT = "interrupts that are their csd's own"
LOST = "events that the recording lost"
IMPLIED = "frees that have no line"


@dataclass(slots=True)
class Block:
    """An allocated block of the recording, and the operation that allocated it."""

    pfn: int
    order: int
    slot: int
    operation: Operation
    live: int


@dataclass
class Compiled:
    """Streams by recorded CPU.  Slots 0 to len(held)-1 are the held blocks'."""

    streams: dict[int, list[Operation]] = field(default_factory=dict)
    held: list[tuple[int, int]] = field(default_factory=list)
    slots: int = 0
    hotplug: list[HotplugEvent] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    lines: int = 0
    allocations: int = 0
    top: int = 0
    """One more than the highest page frame seen."""


class Compiler:
    """Fed with records in the order of the file."""

    def __init__(self) -> None:
        self.result = Compiled()
        self.live: dict[int, Block] = {}
        """Every page of every block that is allocated at this line."""
        self.seen: set[int] = set()
        """Pages that had a line: what they were before the recording is known."""
        self.first_ns = -1
        self.last_ns: dict[int, int] = {}
        self.up: dict[int, bool] = {}
        self.said: Counter[tuple[int, MigrateType | None]] = Counter()
        """How often a migratetype's number stood beside flags that ask for which."""
        self.slots = 0

    def feed(self, record: Record) -> None:
        self.result.lines = record.line
        if isinstance(record, LostEvents):
            self.result.skipped[LOST] += record.missing
            return
        if self.first_ns < 0:
            self.first_ns = record.time_ns
        match record:
            case PageAlloc():
                self._alloc(record)
            case PageFree():
                self._free(record)
            case CsdQueue():
                self._add(record, OpKind.CSD, record.target)
            case IpiSend() if CSD_CALLBACK in record.callback:
                self.result.skipped[OWN_INTERRUPT] += 1  # its csd_queue_cpu line sends it here, too
            case IpiSend():
                self._add(record, OpKind.IPI, record.target)
            case HotplugStep():
                self._hotplug(record)

    def _add(self, record: PageAlloc | PageFree | CsdQueue | IpiSend, kind: OpKind, slot: int, order: int = 0,
             migratetype: int = 0, pieces: int = 0, gfp: int = 0) -> Operation:
        stream = self.result.streams.setdefault(record.cpu, [])
        last = self.last_ns.get(record.cpu, self.first_ns)
        delta = max(0, record.time_ns - last) // 1000
        self.last_ns[record.cpu] = last + delta * 1000
        while delta > MAX_DELTA_US:  # operations that do nothing keep the time that one operation cannot
            stream.append([record.line, 0, OpKind.SLEEP, 0, 0, 0, 0, MAX_DELTA_US])
            delta -= MAX_DELTA_US
        operation: Operation = [record.line, slot, kind, order, migratetype, pieces, gfp, delta]
        stream.append(operation)
        return operation

    # --- pages ---------------------------------------------------------------------------------------------

    def _alloc(self, record: PageAlloc) -> None:
        pfn, order = record.pfn, record.order
        if pfn is None:
            self.result.skipped[FAILED_THERE] += 1
            return
        if order >= MAX_ORDER:
            self.result.skipped[TOO_LARGE] += 1
            return
        self.said[record.migratetype, mobility(record.gfp)] += 1
        pages = range(pfn, pfn + (1 << order))
        for page in pages:
            if page in self.live:  # freed without a line, or this could not be
                self._give_back(record, page, 0)
                self.result.skipped[IMPLIED] += 1
        operation = self._add(record, OpKind.ALLOC, self.slots, order, record.migratetype, gfp=gfp_bits(record.gfp))
        block = Block(pfn, order, self.slots, operation, 1 << order)
        self.slots += _slots_of(order)
        for page in pages:
            self.live[page] = block
        self._see(pages)
        self.result.allocations += 1

    def _free(self, record: PageFree) -> None:
        if record.order >= MAX_ORDER:
            self.result.skipped[TOO_LARGE] += 1
        else:
            self._give_back(record, record.pfn, record.order)

    def _give_back(self, record: PageAlloc | PageFree, pfn: int, order: int) -> None:
        """Free what is known of these pages: whole blocks, parts of blocks, and pages from before the recording."""
        block = self.live.get(pfn)
        if block is not None and (block.pfn, block.order, block.live) == (pfn, order, 1 << order):
            self._free_whole(record, block)
            return
        end = pfn + (1 << order)
        unknown: list[int] = []
        strange = False
        while pfn < end:
            block = self.live.get(pfn)
            if block is None:
                strange = strange or pfn in self.seen
                if pfn not in self.seen:
                    unknown.append(pfn)
                pfn += 1
            elif block.pfn == pfn and block.live == 1 << block.order and pfn + block.live <= end:
                self._free_whole(record, block)
                pfn += 1 << block.order
            else:
                self._free_piece(record, block, pfn)
                pfn += 1
        self._free_held(record, unknown)
        if strange:
            self.result.skipped[NOT_RECORDED] += 1

    def _free_whole(self, record: PageAlloc | PageFree, block: Block) -> None:
        for page in range(block.pfn, block.pfn + (1 << block.order)):
            del self.live[page]
        self._add(record, OpKind.FREE, block.slot, block.order)

    def _free_piece(self, record: PageAlloc | PageFree, block: Block, page: int) -> None:
        """One page of a larger block: the kernel splits the block as soon as it has it, before anybody can see it."""
        block.operation[PIECES] = 1
        block.live -= 1
        del self.live[page]
        piece = page - block.pfn
        self._add(record, OpKind.FREE, block.slot + (piece >> PIECES_ORDER), 0, pieces=piece & (1 << PIECES_ORDER) - 1)

    def _free_held(self, record: PageAlloc | PageFree, pages: list[int]) -> None:
        """Allocated before the recording: held since boot, in blocks as the buddy allocator has them."""
        for first, order in _blocks(pages):
            self._add(record, OpKind.FREE, -1 - len(self.result.held), order)
            self.result.held.append((first, order))
            self._see(range(first, first + (1 << order)))

    def _see(self, pages: range) -> None:
        self.seen.update(pages)
        self.result.top = max(self.result.top, pages.stop)

    # --- CPUs ----------------------------------------------------------------------------------------------

    def _hotplug(self, step: HotplugStep) -> None:
        """The first step of a CPU in another direction is where its operation begins.  At first all are online."""
        if self.up.get(step.which, True) != step.up:
            self.up[step.which] = step.up
            self.result.hotplug.append(HotplugEvent(step.line, step.time_ns - self.first_ns, step.which, step.up))

    # --- the end -------------------------------------------------------------------------------------------

    def finish(self) -> Compiled:
        """Slots renumbered (held ones first), migratetypes in v3.2's numbering, large split blocks in parts."""
        result = self.result
        held, types = len(result.held), self._migratetypes()
        for cpu, stream in result.streams.items():
            result.streams[cpu] = [part for operation in stream for part in _parts(operation)]
            for operation in result.streams[cpu]:
                if operation[KIND] in (OpKind.ALLOC, OpKind.FREE):
                    slot = operation[SLOT]
                    operation[SLOT] = -1 - slot if slot < 0 else slot + held
                if operation[KIND] == OpKind.ALLOC:
                    operation[TYPE] = types.get(operation[TYPE], MigrateType.MOVABLE)
        result.slots = self.slots + held
        return result

    def _migratetypes(self) -> dict[int, MigrateType]:
        """MOVABLE and RECLAIMABLE changed places in v4.4: the flags beside the numbers say which order it is.

        A kernel derives the number from the flags; where these name neither, cpuemu's own trace-dump wrote the line.
        3 is RESERVE, or HIGHATOMIC since v4.4: what the kernel needs at once.  Others are kinds of MOVABLE.
        """
        movable, reclaimable, neither = MigrateType.MOVABLE, MigrateType.RECLAIMABLE, MigrateType.UNMOVABLE
        now = self.said[1, movable] + self.said[2, reclaimable]
        then = self.said[2, movable] + self.said[1, reclaimable] + self.said[1, neither] + self.said[2, neither]
        old = then > now
        one, two = (MigrateType.RECLAIMABLE, MigrateType.MOVABLE)[:: 1 if old else -1]
        return {0: MigrateType.UNMOVABLE, 1: one, 2: two, 3: MigrateType.UNMOVABLE}


def compile_records(records: Iterable[Record]) -> Compiled:
    compiler = Compiler()
    for record in records:
        compiler.feed(record)
    return compiler.finish()


def pack_stream(stream: list[Operation]) -> bytes:
    return b"".join(OP.pack(*operation) for operation in stream)


def _slots_of(order: int) -> int:
    return 1 << max(0, order - PIECES_ORDER)


def _parts(operation: Operation) -> Iterator[Operation]:
    """An allocation that is freed page by page, in parts that ``pieces`` can count."""
    order = operation[ORDER]
    if operation[KIND] != OpKind.ALLOC or not operation[PIECES] or order <= PIECES_ORDER:
        yield operation
        return
    for part in range(_slots_of(order)):
        piece = operation.copy()
        piece[ORDER] = PIECES_ORDER
        piece[SLOT] += part
        piece[DELTA] = 0 if part else operation[DELTA]
        yield piece


def _blocks(pages: list[int]) -> Iterator[tuple[int, int]]:
    """Ascending pages as the largest aligned blocks: first page and order."""
    at = 0
    while at < len(pages):
        order = 0
        while (order < MAX_ORDER - 1 and not pages[at] & (2 << order) - 1
               and at + (2 << order) <= len(pages) and pages[at + (2 << order) - 1] == pages[at] + (2 << order) - 1):
            order += 1
        yield pages[at], order
        at += 1 << order
