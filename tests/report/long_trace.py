"""Long traces made quickly: files as --trace all writes them, with what a storm of pages has in it."""

from __future__ import annotations

from pathlib import Path

from cpuemu.events import BY_ID, RECORD, Event, Ring
from cpuemu.layout import Vector
from tests.handmade import T0
from tests.report.run_directory import RunDirectory

ROUND: tuple[tuple[Event, tuple[int, int, int, int]], ...] = (
    *((Event.MM_PAGE_ALLOC, (pfn, 0, 2, 0xD0)) for pfn in range(100, 105)),
    (Event.IPI_RAISE, (1, Vector.RESCHEDULE, 1, 0)), (Event.SCHED_SWITCH, (70, 3, 71, 0)),
    *((Event.MM_PAGE_FREE, (pfn, 0, 0, 0)) for pfn in range(100, 105)),
    (Event.CSD_FUNCTION_ENTRY, (1, 3, 2, 0)), (Event.CSD_FUNCTION_EXIT, (1, 3, 2, 0)),
    (Event.SCHED_SWITCH, (71, 1, 70, 0)), (Event.SCHED_WAKEUP, (72, 3, 0, 0)),
)
"""What every CPU does, again and again, as far as no CPU answers another."""


def long_trace(path: Path, events: int, step_ns: int = 700) -> Path:
    """A run directory of four CPUs with so many events, one every ``step_ns``, CPU after CPU."""
    run = RunDirectory(path)
    for number in range(70, 74):
        run.made.task(number, f"storm/{number - 70}", number - 70)
    path.mkdir(exist_ok=True)
    for cpu in range(run.cpus):
        data: dict[Ring, bytearray] = {Ring.PAGES: bytearray(), Ring.SLOW: bytearray()}
        for number, time_ns in enumerate(range(T0 + cpu * step_ns, T0 + events * step_ns, run.cpus * step_ns)):
            event, args = ROUND[number % len(ROUND)]
            ring = BY_ID[event].ring
            sequence = len(data[ring]) // RECORD.size + 1
            data[ring] += RECORD.pack(time_ns, sequence, event, 0x20, 70 + cpu, *args)
        for ring, records in data.items():
            (path / f"cpu{cpu}.ring{int(ring)}.trace").write_bytes(records)
            head = run.head(cpu, ring)
            head.written = head.spilled = len(records) // RECORD.size
    return run.save()
