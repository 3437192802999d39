"""alloc and free of a page: through the batch loop and call by call, traced and not; and what a trace record costs."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.arena import Arena
from benchmarks.compiled import Allocator
from benchmarks.measure import Goal, Row, Settings, in_turn
from cpuemu.core import now
from cpuemu.events import Event
from cpuemu.kernel.page_alloc import GFP_KERNEL
from cpuemu.layout import MigrateType, Program

OPERATIONS = 1 << 19
CALLS = 20_000
RECORDS = 200_000
PROGRAMS = {Program.REPLAY: "alloc + free of one page", Program.STORM: "storm, random lifetimes: two operations"}

BATCH_NOTE = ("C does the same program on the same RAM, in one loop; ours also comes back to Python every 4,096 "
              "operations, asks the clock for the latency of one allocation in many, and can raise BadPage anywhere")
TRACED_NOTE = BATCH_NOTE + "; both write the same two records with the same clock"
CALL_NOTE = ("four leaves (take, prepare, check, give back), each called from Python; C calls the same four functions, "
             "not inlined")


def batches(settings: Settings) -> Iterator[Row]:
    """Nanoseconds of a pair through the compiled loop."""
    allocator = Allocator(settings.directory)
    operations = settings.rounds(OPERATIONS) & ~1
    for program, name in PROGRAMS.items():
        for traced in (False, True):
            kind = "traced" if traced else "untraced"
            arena = Arena(settings.directory / f"{program.name}-{kind}", program, operations, traced)
            arena.ours(operations)
            arena.theirs(allocator, operations)
            ours, theirs = in_turn(settings.repeat, lambda a=arena: 2 * a.ours(operations),  # type: ignore[misc]
                                   lambda a=arena: 2 * a.theirs(allocator, operations))  # type: ignore[misc]
            yield Row(f"{name}, {kind}", "ns", ours, theirs, Goal(ratio=2.0), TRACED_NOTE if traced else BATCH_NOTE)


def calls(settings: Settings) -> Iterator[Row]:
    """Nanoseconds of a pair, leaf by leaf."""
    allocator = Allocator(settings.directory)
    pairs = settings.rounds(CALLS)
    for traced in (False, True):
        kind = "traced" if traced else "untraced"
        arena = Arena(settings.directory / f"calls-{kind}", Program.STORM, 0, traced)
        ours, theirs = in_turn(settings.repeat, lambda a=arena: _pairs(a, pairs),  # type: ignore[misc]
                               lambda a=arena: a.called(allocator, "pairs_by_call", pairs))  # type: ignore[misc]
        goal = Goal() if traced else Goal(value=600)
        yield Row(f"alloc + free, four calls, {kind}", "ns", ours, theirs, goal, CALL_NOTE)


def _pairs(arena: Arena, pairs: int) -> float:
    core, task = arena.core, arena.number
    movable, gfp = int(MigrateType.MOVABLE), int(GFP_KERNEL)
    arena.machine.cpus[0].irqs_off = 1
    started = now()
    for _ in range(pairs):
        pfn = core.pcp_alloc(0, movable, False)
        core.prep_new_page(pfn, 0, movable, gfp, task)
        core.pcp_free(pfn, core.free_prepare(pfn, 0), False)
    took = now() - started
    arena.machine.cpus[0].irqs_off = 0
    return took / pairs


def records(settings: Settings) -> Iterator[Row]:
    """Nanoseconds of a trace record, written from the batch loop and from Python."""
    allocator = Allocator(settings.directory)
    operations, count = settings.rounds(OPERATIONS) & ~1, settings.rounds(RECORDS)
    plain, traced = (Arena(settings.directory / f"records-{each}", Program.REPLAY, operations, each)
                     for each in (False, True))
    ours, theirs = in_turn(settings.repeat, lambda: traced.ours(operations) - plain.ours(operations),
                           lambda: traced.theirs(allocator, operations) - plain.theirs(allocator, operations))
    yield Row("ring record from the batch loop", "ns", ours, theirs, Goal(value=60),
              "a traced operation less an untraced one; C likewise.  Most of it is the clock")
    ours, theirs = in_turn(settings.repeat, lambda: _records(traced, count),
                           lambda: traced.called(allocator, "write_records", count))
    yield Row("ring record from Python", "ns", ours, theirs, Goal(value=500), "C writes the same record in a loop")


def _records(arena: Arena, count: int) -> float:
    trace, event = arena.core.trace, int(Event.MM_PAGE_FREE)
    started = now()
    for number in range(count):
        trace(event, number)
    return (now() - started) / count
