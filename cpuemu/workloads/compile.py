"""A recording compiled into streams: every allocation gets a slot, every free names the slot of what it frees.

A free looks backwards only: for the allocation on an earlier line, whole or in pieces; else for a block that was
allocated before the recording and is held since boot.  So a replay waits for earlier lines only, and cannot deadlock
by itself.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from cpuemu.layout import MAX_ORDER, MigrateType, OpKind
from cpuemu.workloads.base import HotplugEvent
from cpuemu.workloads.ftrace import Record
from cpuemu.workloads.gfp import gfp_bits

OP = struct.Struct("<IIBBBBHH")
"""layout.ReplayOp: line, slot, kind, order, migratetype, pieces, gfp, delta."""
MAX_DELTA_US = 65535
MAX_PIECES = 256
CSD_CALLBACK = "generic_smp_call_function_single_interrupt"

LINE, SLOT, KIND, ORDER, TYPE, PIECES, GFP, DELTA = range(8)
Operation = list[int]


@dataclass
class Block:
    """An allocated block of the recording, and the operation that allocated it (None: before the recording)."""

    pfn: int
    order: int
    slot: int
    operation: Operation | None
    freed: int = 0


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


class Compiler:
    """Fed with records in the order of the file."""

    def __init__(self) -> None:
        self.result = Compiled()
        self.live: dict[int, Block] = {}
        self.touched: set[int] = set()
        """Pages that were seen: their state at the beginning is known."""
        self.last_ns: dict[int, int] = {}
        self.first_ns: int | None = None
        self.direction: dict[int, bool] = {}
        self.movable_votes: Counter[int] = Counter()
        self.slots = 0

    def feed(self, record: Record) -> None:
        if self.first_ns is None:
            self.first_ns = record.time_ns
        self.result.lines = record.line
        if record.event == "mm_page_alloc":
            self._alloc(record)
        elif record.event in ("mm_page_free", "mm_page_free_direct"):
            self._free(record, int(record.fields["pfn"], 0), int(record.fields["order"]))
        elif record.event == "csd_queue_cpu":
            self._add(record, OpKind.CSD, int(record.fields["cpu"]))
        elif record.event == "ipi_send_cpu":
            if CSD_CALLBACK in record.fields.get("callback", ""):
                self.result.skipped["interrupts that are their csd's own"] += 1
            else:
                self._add(record, OpKind.IPI, int(record.fields["cpu"]))
        else:
            self._hotplug(record)

    def _add(self, record: Record, kind: OpKind, slot: int, order: int = 0, migratetype: int = 0, pieces: int = 0,
             gfp: int = 0) -> Operation:  # fmt: skip
        stream = self.result.streams.setdefault(record.cpu, [])
        assert self.first_ns is not None
        delta = max(0, record.time_ns - self.last_ns.get(record.cpu, self.first_ns)) // 1000
        self.last_ns[record.cpu] = self.last_ns.get(record.cpu, self.first_ns) + delta * 1000
        while delta > MAX_DELTA_US:
            stream.append([record.line, 0, OpKind.SLEEP, 0, 0, 0, 0, MAX_DELTA_US])
            delta -= MAX_DELTA_US
        operation: Operation = [record.line, slot, kind, order, migratetype, pieces, gfp, delta]
        stream.append(operation)
        return operation

    def _alloc(self, record: Record) -> None:
        fields = record.fields
        pfn, order = int(fields["pfn"], 0), int(fields["order"])
        if pfn == 0 or "null" in fields.get("page", ""):
            self.result.skipped["allocations that failed there"] += 1
            return
        if order >= MAX_ORDER:
            self.result.skipped["allocations of an order that v3.2 does not have"] += 1
            return
        flags = fields.get("gfp_flags", "")
        migratetype = int(fields.get("migratetype", "0"))
        if "MOVABLE" in flags:
            self.movable_votes[migratetype] += 1
        slot = self.slots
        self.slots += 1
        operation = self._add(record, OpKind.ALLOC, slot, order, migratetype, 0, gfp_bits(flags))
        # A page that is still live here was freed without a line: its old slot just stays filled.
        for page in range(pfn, pfn + (1 << order)):
            self.live.pop(page, None)
            self.touched.add(page)
        self.live[pfn] = Block(pfn, order, slot, operation)
        self.result.allocations += 1

    def _free(self, record: Record, pfn: int, order: int) -> None:
        block = self._block_of(pfn, order)
        if block is None:
            self._free_held(record, pfn, order)
        elif block.order == order and block.pfn == pfn:
            del self.live[pfn]
            self._add(record, OpKind.FREE, block.slot, order)
        else:
            self._free_piece(record, block, pfn, order)

    def _block_of(self, pfn: int, order: int) -> Block | None:
        """The live block that holds this one."""
        for size in range(order, MAX_ORDER):
            block = self.live.get(pfn & ~((1 << size) - 1))
            if block is not None and block.order >= size and pfn + (1 << order) <= block.pfn + (1 << block.order):
                return block
        return None

    def _free_piece(self, record: Record, block: Block, pfn: int, order: int) -> None:
        """A part of a higher-order block: the kernel splits the block when it allocates it."""
        offset = pfn - block.pfn
        if block.operation is None or offset + (1 << order) > MAX_PIECES:
            self.result.skipped["frees of parts of large blocks"] += 1
            return
        block.operation[PIECES] = 1
        for piece in range(offset, offset + (1 << order)):
            self._add(record, OpKind.FREE, block.slot, 0, pieces=piece)
        block.freed += 1 << order
        if block.freed >= 1 << block.order:
            del self.live[block.pfn]

    def _free_held(self, record: Record, pfn: int, order: int) -> None:
        """Allocated before the recording: held since boot.  A page seen before is not: its line is lost."""
        pages = range(pfn, pfn + (1 << order))
        if order >= MAX_ORDER or pfn % (1 << order) or any(page in self.touched for page in pages):
            self.result.skipped["frees without an allocation"] += 1
            return
        self.touched.update(pages)
        self._add(record, OpKind.FREE, -len(self.result.held) - 1, order)
        self.result.held.append((pfn, order))

    def _hotplug(self, record: Record) -> None:
        """The first step of a CPU in a direction is where its operation begins."""
        fields = record.fields
        cpu, up = int(fields["cpu"]), int(fields["target"]) >= int(fields["step"])
        if self.direction.get(cpu) != up:
            self.direction[cpu] = up
            assert self.first_ns is not None
            self.result.hotplug.append(HotplugEvent(record.line, record.time_ns - self.first_ns, cpu, up))

    def finish(self) -> Compiled:
        """Slots renumbered (held ones first), migratetypes in v3.2's numbering."""
        held = len(self.result.held)
        # MOVABLE and RECLAIMABLE changed places in v4.4.
        swap = self.movable_votes[1] >= self.movable_votes[2]
        types = (MigrateType.UNMOVABLE, MigrateType.MOVABLE, MigrateType.RECLAIMABLE) if swap else (0, 1, 2)
        for stream in self.result.streams.values():
            for operation in stream:
                if operation[KIND] in (OpKind.ALLOC, OpKind.FREE):
                    slot = operation[SLOT]
                    operation[SLOT] = -slot - 1 if slot < 0 else slot + held
                if operation[KIND] == OpKind.ALLOC:
                    kind = operation[TYPE]
                    operation[TYPE] = types[kind] if kind < 3 else MigrateType.MOVABLE
        self.result.slots = self.slots + held
        return self.result


def compile_records(records: Iterable[Record]) -> Compiled:
    compiler = Compiler()
    for record in records:
        compiler.feed(record)
    return compiler.finish()


def pack_stream(stream: list[Operation]) -> bytes:
    return b"".join(OP.pack(*operation) for operation in stream)
