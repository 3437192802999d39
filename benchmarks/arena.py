"""One CPU's memory without a machine around it: RAM, a ring, a core, one task that runs storm or replay.

The CPU's list holds all pages from the beginning and takes them all back, so no operation needs the emulated kernel:
what is measured is the batch loop and nothing else.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

from benchmarks.compiled import Allocator
from cpuemu.arch.ram import create_ram, create_rings
from cpuemu.core import Core, now
from cpuemu.events import Ring, ring_base, ring_header
from cpuemu.kernel.mm_init import free_area_init
from cpuemu.kernel.mmzone import ZoneSpec
from cpuemu.layout import (
    Dimensions,
    Exit,
    Gfp,
    Machine,
    Mask,
    MigrateType,
    OpKind,
    Program,
    first_workload_task,
    zone_lock,
)
from cpuemu.sites import site

PAGES = 4096
SLOTS = 64
BATCH = 4096
"""Operations that the loop does before it comes back to Python, as in a machine (arch.gate)."""
TARGET = 400
HERE = site("benchmark")


class Arena:
    """Both sides run ``task`` on it: the core by ``core``, the C side by ``theirs``."""

    def __init__(self, directory: Path, program: Program, operations: int, traced: bool) -> None:
        directory.mkdir()
        replay = program == Program.REPLAY
        dims = Dimensions(1, PAGES, 1, first_workload_task(1) + 1, slots=SLOTS, streams=int(replay),
                          ops=operations if replay else 0)
        self.image = create_ram(directory, dims)
        self.machine: Machine = self.image.machine
        self.rings = create_rings(directory, 1)
        self.number = first_workload_task(1)
        self.task = self.machine.tasks[self.number]
        self.machine.cpumasks[Mask.ONLINE].bits[0] = 1
        zone = ZoneSpec("Normal", 0, PAGES, PAGES, PAGES, (4, 5, 6), pcp_batch=31, pcp_high=2 * PAGES,
                        stat_threshold=4)
        self._fill(zone)
        self.task.program, self.task.held_limit = program, TARGET * 2
        if replay:
            self._record(operations)
        else:
            self.task.rng, self.task.user[0] = 1, TARGET
        self.traced = traced
        self.core = Core(self.image.ram, self.rings.mapping if traced else None, self.rings.sizes, 0, 1)
        self.base = ctypes.addressof(ctypes.c_char.from_buffer(self.image.mapping))
        self.ring = ctypes.addressof(ctypes.c_char.from_buffer(self.rings.mapping))

    def _fill(self, zone: ZoneSpec) -> None:
        boot = Core(self.image.ram, None, (0, 0), 0, 0)
        free_area_init(self.machine, self.image.mapping, boot, [zone], 1)
        self.machine.cpus[0].irqs_off = 1
        assert boot.spin_trylock(zone_lock(0), HERE)
        boot.rmqueue_bulk(0, MigrateType.MOVABLE, PAGES // 2)
        boot.spin_unlock(zone_lock(0))
        self.machine.locks[zone_lock(0)].since_ns = 0  # two arenas are the same, byte for byte
        self.machine.cpus[0].irqs_off = 0

    def _record(self, operations: int) -> None:
        """A page allocated and freed, again and again."""
        stream = self.machine.streams[0]
        stream.first, stream.count, stream.task, stream.next_line = 0, operations, self.number, 0
        for number in range(operations):
            op = self.machine.ops[number]
            op.line, op.slot, op.kind = number + 1, number // 2 % SLOTS, (OpKind.ALLOC, OpKind.FREE)[number % 2]
            op.migratetype, op.gfp = MigrateType.MOVABLE, Gfp.WAIT | Gfp.IO | Gfp.FS

    # --- one turn of either side; nanoseconds an operation ---------------------------------------------------------

    def ours(self, operations: int) -> float:
        run_batch, number = self.core.run_batch, self.number
        started, first = now(), self._again()
        for _ in range(operations // BATCH):
            reason = run_batch(number, BATCH)
            assert reason == Exit.BUDGET, f"the batch loop came back: {Exit(reason).name}"
        run_batch(number, operations % BATCH)
        took = now() - started
        assert self.task.position - first == operations
        return took / operations

    def theirs(self, allocator: Allocator, operations: int) -> float:
        self._again()
        return self.called(allocator, "run", operations)

    def called(self, allocator: Allocator, name: str, count: int) -> float:
        """One of the C functions; nanoseconds each."""
        started = now()
        done = getattr(allocator.library, name)(self.base, *self._ring(), self.number, count)
        took = now() - started
        assert done == count, f"{name} of the C side came back: {done}"
        return took / count

    def _again(self) -> int:
        """A recording from its beginning."""
        if self.task.program == Program.REPLAY:
            self.task.position = self.machine.streams[0].next_line = 0
        return int(self.task.position)

    def _ring(self) -> tuple[int | None, int | None]:
        if not self.traced:
            return None, None
        return (self.ring + ring_header(0, Ring.PAGES),
                self.ring + ring_base(1, self.rings.sizes, 0, Ring.PAGES))

    def memory(self) -> dict[str, bytes]:
        """All of RAM, region by region, but the histograms, which the C side does not keep."""
        return {name: self.image.mapping[place.base : place.base + place.count * place.region.struct.SIZE]
                for name, place in self.machine.placed.items() if name != "histograms"}
