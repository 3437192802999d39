"""Every trace event: its id, its ring, its four arguments and its kernel text; and the ring file's layout.

Names and text are those of the kernel's own trace events (v3.3+ for page events; for IPI, csd and hotplug,
which v3.2 did not trace, the first later names).  Events of the emulator itself begin with ``cpuemu_``.

A record is 32 bytes: time (u64, CLOCK_MONOTONIC ns), sequence number (u32, from 1, stored last with release),
event (u8), flags (u8), task (u16), four arguments (u32).  The sequence number of the record at position p of
the ring is p + 1: a reader checks it before and after copying a record.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from cpuemu.faults import name_of
from cpuemu.schema import View, array, u32, u64

RECORD = struct.Struct("<QIBBHIIII")
RECORD_SIZE = RECORD.size
NR_KINDS = 64


class Ring(enum.IntEnum):
    PAGES = 0  # mm_page_*: thousands a millisecond
    SLOW = 1  # everything else: an hour of hotplug fits
    NR = 2


class Flag(enum.IntEnum):
    """Bits of a record's flags; the upper four are the preempt depth."""

    IRQS_OFF = 1
    NEED_RESCHED = 2
    HARDIRQ = 4


class RingHeader(View, align=64):
    """The head of one ring in the ring file."""

    written = u64("the CPU", "records ever written: position of the next one, modulo size")
    size = u32("launcher", "records in the ring, a power of two")
    cpu = u32("launcher", "its CPU")
    spilled = u64("the CPU", "records already streamed to the file (--trace all)")
    tail_left = u32("the CPU", "records still taken after the freeze")
    overwritten = array("u32", NR_KINDS, "the CPU", "records lost to wrapping, by event")


class Event(enum.IntEnum):
    MM_PAGE_ALLOC = 1
    MM_PAGE_FREE = 2
    MM_PAGE_ALLOC_ZONE_LOCKED = 3
    MM_PAGE_PCPU_DRAIN = 4
    MM_PAGE_ALLOC_EXTFRAG = 5
    CPUEMU_ZONE_PAGES = 6
    IPI_RAISE = 10
    IPI_ENTRY = 11
    IPI_EXIT = 12
    CSD_QUEUE_CPU = 13
    CSD_FUNCTION_ENTRY = 14
    CSD_FUNCTION_EXIT = 15
    CPUHP_ENTER = 16
    CPUHP_EXIT = 17
    SCHED_SWITCH = 18
    SCHED_WAKEUP = 19
    SCHED_MIGRATE_TASK = 20
    MM_VMSCAN_DIRECT_RECLAIM_BEGIN = 21
    MM_VMSCAN_DIRECT_RECLAIM_END = 22
    MM_VMSCAN_WAKEUP_KSWAPD = 23
    MARK_VICTIM = 24
    CPUEMU_DRAIN_ALL_BEGIN = 25
    CPUEMU_DRAIN_ALL_END = 26
    CPUEMU_STOP_STATE = 27
    CPUEMU_CPU_ONLINE = 28
    CPUEMU_CPU_OFFLINE = 29
    CPUEMU_WAIT_BEGIN = 30
    CPUEMU_WAIT_END = 31
    CPUEMU_FINDING = 32
    CPUEMU_IPI_LOST = 33
    CPUEMU_PAGE_HELD = 34
    CPUEMU_OOM_MOMENT = 35
    CPUEMU_FAULT = 36
    CPUEMU_CPU_LENT = 37
    CPUEMU_CPU_BACK = 38
    CPUEMU_CSD_UNLOCK = 39
    MM_VMSCAN_KSWAPD_WAKE = 40
    MM_VMSCAN_KSWAPD_SLEEP = 41
    MM_COMPACTION_TRY_TO_COMPACT_PAGES = 42
    MM_COMPACTION_BEGIN = 43
    MM_COMPACTION_END = 44
    MM_COMPACTION_ISOLATE_MIGRATEPAGES = 45
    MM_COMPACTION_ISOLATE_FREEPAGES = 46
    MM_COMPACTION_MIGRATEPAGES = 47
    MM_COMPACTION_DEFERRED = 48
    MM_COMPACTION_DEFER_COMPACTION = 49


VECTOR_NUMBERS = (253, 252, 251, 250, 2)
"""x86 vectors of v3.2 (arch/x86/include/asm/irq_vectors.h): reschedule, call_function, _single; ours for platform."""
REASONS = (
    "Rescheduling interrupts",
    "Function call interrupts",
    "Single function call interrupts",
    "Platform interrupts",
    "Non-maskable interrupts",
)
MOST_CPUS = 4096
"""No machine has more: a record that says so is damaged."""
COMPACT_STATUS = ("skipped", "continue", "partial", "complete")
"""enum of v3.2's include/linux/compaction.h; its names are those of kernel/compaction.py."""
STOP_STATES = ("NONE", "PREPARE", "DISABLE_IRQ", "RUN", "EXIT")
TASK_STATES = "?RSDXR"
"""The kernel's letter for each TaskState; a task between two run queues is runnable."""


@dataclass(frozen=True)
class Names:
    """What a reader needs to print ids as text: from the image of the run."""

    site: Callable[[int], str]
    function: Callable[[int], str]
    comm: Callable[[int], str]
    gfp: Callable[[int], str]
    pid: Callable[[int], int]
    word: Callable[[int], str]


@dataclass(frozen=True)
class EventType:
    """One event: text of its arguments (a, b, c, d) in the kernel's format."""

    event: Event
    ring: Ring
    args: tuple[str, str, str, str]
    text: Callable[[int, int, int, int, Names], str]

    name: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.event.name.lower())


def target_mask(cpu: int) -> str:
    """A cpumask with one bit, as the kernel prints it: groups of 32 bits.  Raises ValueError for what is no CPU."""
    if cpu >= MOST_CPUS:
        raise ValueError(f"no cpu: {cpu}")
    groups = max(2, cpu // 32 + 1)
    bits = 1 << cpu
    return ",".join(f"{bits >> (32 * g) & 0xFFFFFFFF:08x}" for g in reversed(range(groups)))


def signed(value: int) -> int:
    return value - (1 << 32) if value >> 31 else value


def _mode(sync: int) -> str:
    return "sync" if sync else "async"


def _page(pfn: int) -> str:
    return f"page={0xFFFFEA0000000000 + pfn * 64:016x} pfn={pfn:#x}" if pfn != 0xFFFFFFFF else "page=(null) pfn=0x0"


EVENT_TYPES: tuple[EventType, ...] = (
    EventType(Event.MM_PAGE_ALLOC, Ring.PAGES, ("pfn", "order", "migratetype", "gfp_flags"),
              lambda a, b, c, d, n: f"{_page(a)} order={b} migratetype={c} gfp_flags={n.gfp(d)}"),
    EventType(Event.MM_PAGE_FREE, Ring.PAGES, ("pfn", "order", "", ""),
              lambda a, b, c, d, n: f"{_page(a)} order={b}"),
    EventType(Event.MM_PAGE_ALLOC_ZONE_LOCKED, Ring.PAGES, ("pfn", "order", "migratetype", "percpu_refill"),
              lambda a, b, c, d, n: f"{_page(a)} order={b} migratetype={c} percpu_refill={d}"),
    EventType(Event.MM_PAGE_PCPU_DRAIN, Ring.PAGES, ("pfn", "order", "migratetype", "cpu"),
              lambda a, b, c, d, n: f"{_page(a)} order={b} migratetype={c}"),
    EventType(Event.MM_PAGE_ALLOC_EXTFRAG, Ring.PAGES,
              ("pfn", "alloc_order", "fallback_order", "alloc_migratetype | fallback_migratetype << 8 | owner << 16"),
              lambda a, b, c, d, n: (
                  f"{_page(a)} alloc_order={b} fallback_order={c} pageblock_order=9 alloc_migratetype={d & 255} "
                  f"fallback_migratetype={d >> 8 & 255} fragmenting={int(c < 9)} change_ownership={d >> 16 & 1}")),
    EventType(Event.IPI_RAISE, Ring.SLOW, ("target", "vector", "ticket low", "ticket high"),
              lambda a, b, c, d, n: f"target_mask={target_mask(a)} ({REASONS[b]})"),
    EventType(Event.IPI_ENTRY, Ring.SLOW, ("source", "vector", "ticket low", "ticket high"),
              lambda a, b, c, d, n: f"({REASONS[b]})"),
    EventType(Event.IPI_EXIT, Ring.SLOW, ("source", "vector", "ticket low", "ticket high"),
              lambda a, b, c, d, n: f"({REASONS[b]})"),
    EventType(Event.CSD_QUEUE_CPU, Ring.SLOW, ("cpu", "callsite", "func", "csd"),
              lambda a, b, c, d, n: f"cpu={a} callsite={n.site(b)} func={n.function(c)} csd={d:016x}"),
    EventType(Event.CSD_FUNCTION_ENTRY, Ring.SLOW, ("func", "csd", "source", ""),
              lambda a, b, c, d, n: f"func={n.function(a)}, csd={b:016x}"),
    EventType(Event.CSD_FUNCTION_EXIT, Ring.SLOW, ("func", "csd", "source", ""),
              lambda a, b, c, d, n: f"func={n.function(a)}, csd={b:016x}"),
    EventType(Event.CPUHP_ENTER, Ring.SLOW, ("cpu", "target", "step", "fun"),
              lambda a, b, c, d, n: f"cpu: {a:04d} target: {b:3d} step: {c:3d} ({n.site(d)})"),
    EventType(Event.CPUHP_EXIT, Ring.SLOW, ("cpu", "state", "step", "ret"),
              lambda a, b, c, d, n: f" cpu: {a:04d}  state: {b:3d} step: {c:3d} ret: {signed(d)}"),
    EventType(Event.SCHED_SWITCH, Ring.SLOW, ("prev", "prev_state", "next", ""),
              lambda a, b, c, d, n: (
                  f"prev_comm={n.comm(a)} prev_pid={n.pid(a)} prev_prio=120 prev_state={TASK_STATES[min(b, 5)]} ==> "
                  f"next_comm={n.comm(c)} next_pid={n.pid(c)} next_prio=120")),
    EventType(Event.SCHED_WAKEUP, Ring.SLOW, ("task", "target_cpu", "", ""),
              lambda a, b, c, d, n: f"comm={n.comm(a)} pid={n.pid(a)} prio=120 target_cpu={b:03d}"),
    EventType(Event.SCHED_MIGRATE_TASK, Ring.SLOW, ("task", "orig_cpu", "dest_cpu", ""),
              lambda a, b, c, d, n: f"comm={n.comm(a)} pid={n.pid(a)} prio=120 orig_cpu={b} dest_cpu={c}"),
    EventType(Event.MM_VMSCAN_DIRECT_RECLAIM_BEGIN, Ring.SLOW, ("order", "gfp_flags", "", ""),
              lambda a, b, c, d, n: f"order={a} gfp_flags={n.gfp(b)}"),
    EventType(Event.MM_VMSCAN_DIRECT_RECLAIM_END, Ring.SLOW, ("nr_reclaimed", "", "", ""),
              lambda a, b, c, d, n: f"nr_reclaimed={a}"),
    EventType(Event.MM_VMSCAN_WAKEUP_KSWAPD, Ring.SLOW, ("nid", "order", "gfp_flags", ""),
              lambda a, b, c, d, n: f"nid={a} order={b} gfp_flags={n.gfp(c)}"),
    EventType(Event.MARK_VICTIM, Ring.SLOW, ("pid", "", "", ""), lambda a, b, c, d, n: f"pid={n.pid(a)}"),
    EventType(Event.CPUEMU_DRAIN_ALL_BEGIN, Ring.SLOW, ("CPUs with pages", "CPUs online", "drains under way", ""),
              lambda a, b, c, d, n: f"cpus_with_pages={a} cpus_online={b} under_way={c}"),
    EventType(Event.CPUEMU_DRAIN_ALL_END, Ring.SLOW, ("microseconds", "pages freed", "interrupts sent", ""),
              lambda a, b, c, d, n: f"usecs={a} pages={b} ipis={c}"),
    EventType(Event.CPUEMU_STOP_STATE, Ring.SLOW, ("state", "acks left", "", ""),
              lambda a, b, c, d, n: f"state=STOPMACHINE_{STOP_STATES[min(a, 4)]} thread_ack={b}"),
    EventType(Event.CPUEMU_CPU_ONLINE, Ring.SLOW, ("cpu", "generation", "", ""),
              lambda a, b, c, d, n: f"cpu={a} generation={b}"),
    EventType(Event.CPUEMU_CPU_OFFLINE, Ring.SLOW, ("cpu", "generation", "", ""),
              lambda a, b, c, d, n: f"cpu={a} generation={b}"),
    EventType(Event.CPUEMU_WAIT_BEGIN, Ring.SLOW, ("site", "word low", "word high", "busy"),
              lambda a, b, c, d, n: f"site={n.site(a)} word={n.word(b | c << 32)} busy={d}"),
    EventType(Event.CPUEMU_WAIT_END, Ring.SLOW, ("site", "word low", "word high", "busy"),
              lambda a, b, c, d, n: f"site={n.site(a)} word={n.word(b | c << 32)} busy={d}"),
    EventType(Event.CPUEMU_FINDING, Ring.SLOW, ("number", "", "", ""), lambda a, b, c, d, n: f"number={a}"),
    EventType(Event.CPUEMU_IPI_LOST, Ring.SLOW, ("target", "vector", "ticket low", "ticket high"),
              lambda a, b, c, d, n: f"target={a} ({REASONS[b]})"),
    EventType(Event.CPUEMU_CPU_LENT, Ring.SLOW, ("task", "process's cpu", "its generation", "host pid"),
              lambda a, b, c, d, n: f"comm={n.comm(a)} pid={n.pid(a)} process=cpu{b}.{c} host_pid={d}"),
    EventType(Event.CPUEMU_CPU_BACK, Ring.SLOW, ("task", "process's cpu", "its generation", "host pid"),
              lambda a, b, c, d, n: f"next_comm={n.comm(a)} next_pid={n.pid(a)} process=cpu{b}.{c} host_pid={d}"),
    EventType(Event.CPUEMU_PAGE_HELD, Ring.PAGES, ("pfn", "order", "owner", ""),
              lambda a, b, c, d, n: f"{_page(a)} order={b}"),
    EventType(Event.CPUEMU_ZONE_PAGES, Ring.PAGES, ("zone", "free pages", "cpu", "pages on its list"),
              lambda a, b, c, d, n: f"zone={a} nr_free_pages={b} cpu={c} pcp_count={d}"),
    EventType(Event.CPUEMU_CSD_UNLOCK, Ring.SLOW, ("csd", "", "", ""), lambda a, b, c, d, n: f"csd={a:016x}"),
    EventType(Event.CPUEMU_OOM_MOMENT, Ring.SLOW, ("order", "pages missing", "pages on other CPUs' lists", "entry"),
              lambda a, b, c, d, n: f"order={a} missing={signed(b)} others={c} moment={d}"),
    EventType(Event.CPUEMU_FAULT, Ring.SLOW, ("fault", "target CPU", "vector, order or notifier", "microseconds"),
              lambda a, b, c, d, n: f"fault={name_of(a)} target={b} detail={c} usecs={d}"),
    EventType(Event.MM_VMSCAN_KSWAPD_WAKE, Ring.SLOW, ("nid", "order", "", ""),
              lambda a, b, c, d, n: f"nid={a} order={b}"),
    EventType(Event.MM_VMSCAN_KSWAPD_SLEEP, Ring.SLOW, ("nid", "", "", ""), lambda a, b, c, d, n: f"nid={a}"),
    EventType(Event.MM_COMPACTION_TRY_TO_COMPACT_PAGES, Ring.SLOW, ("order", "gfp_mask", "sync", ""),
              lambda a, b, c, d, n: f"order={a} gfp_mask={n.gfp(b)} mode={_mode(c)}"),
    EventType(Event.MM_COMPACTION_BEGIN, Ring.SLOW, ("migrate_pfn", "free_pfn", "zone_end", "zone_start << 1 | sync"),
              lambda a, b, c, d, n: (f"zone_start={d >> 1:#x} migrate_pfn={a:#x} free_pfn={b:#x} zone_end={c:#x}, "
                                     f"mode={_mode(d & 1)}")),
    EventType(Event.MM_COMPACTION_END, Ring.SLOW, ("migrate_pfn", "free_pfn", "zone_end", "status << 1 | sync"),
              lambda a, b, c, d, n: (f"migrate_pfn={a:#x} free_pfn={b:#x} zone_end={c:#x}, mode={_mode(d & 1)} "
                                     f"status={COMPACT_STATUS[d >> 1 & 3]}")),
    EventType(Event.MM_COMPACTION_ISOLATE_MIGRATEPAGES, Ring.SLOW, ("start_pfn", "end_pfn", "nr_scanned", "nr_taken"),
              lambda a, b, c, d, n: f"range=({a:#x} ~ {b:#x}) nr_scanned={c} nr_taken={d}"),
    EventType(Event.MM_COMPACTION_ISOLATE_FREEPAGES, Ring.SLOW, ("start_pfn", "end_pfn", "nr_scanned", "nr_taken"),
              lambda a, b, c, d, n: f"range=({a:#x} ~ {b:#x}) nr_scanned={c} nr_taken={d}"),
    EventType(Event.MM_COMPACTION_MIGRATEPAGES, Ring.SLOW, ("nr_migrated", "nr_failed", "", ""),
              lambda a, b, c, d, n: f"nr_migrated={a} nr_failed={b}"),
    EventType(Event.MM_COMPACTION_DEFERRED, Ring.SLOW, ("order", "zone", "considered", "defer_shift"),
              lambda a, b, c, d, n: f"node=0 zone={b} order={a} consider={c} limit={1 << (d & 31)}"),
    EventType(Event.MM_COMPACTION_DEFER_COMPACTION, Ring.SLOW, ("order", "zone", "considered", "defer_shift"),
              lambda a, b, c, d, n: f"node=0 zone={b} order={a} consider={c} limit={1 << (d & 31)}"),
)

SINCE: dict[Event, str] = {
    Event.MM_PAGE_ALLOC: "2.6.32", Event.MM_PAGE_FREE: "3.3 (2.6.32: mm_page_free_direct)",
    Event.MM_PAGE_ALLOC_ZONE_LOCKED: "2.6.32", Event.MM_PAGE_PCPU_DRAIN: "2.6.32",
    Event.MM_PAGE_ALLOC_EXTFRAG: "2.6.32",
    Event.IPI_RAISE: "3.17", Event.IPI_ENTRY: "3.17", Event.IPI_EXIT: "3.17",
    Event.CSD_QUEUE_CPU: "6.5", Event.CSD_FUNCTION_ENTRY: "6.5", Event.CSD_FUNCTION_EXIT: "6.5",
    Event.CPUHP_ENTER: "4.6", Event.CPUHP_EXIT: "4.6",
    Event.SCHED_SWITCH: "2.6.30", Event.SCHED_WAKEUP: "2.6.30", Event.SCHED_MIGRATE_TASK: "2.6.30",
    Event.MM_VMSCAN_DIRECT_RECLAIM_BEGIN: "2.6.36", Event.MM_VMSCAN_DIRECT_RECLAIM_END: "2.6.36",
    Event.MM_VMSCAN_WAKEUP_KSWAPD: "2.6.36", Event.MARK_VICTIM: "4.13",
    Event.MM_VMSCAN_KSWAPD_WAKE: "2.6.36", Event.MM_VMSCAN_KSWAPD_SLEEP: "2.6.36",
    Event.MM_COMPACTION_TRY_TO_COMPACT_PAGES: "4.0", Event.MM_COMPACTION_BEGIN: "3.14",
    Event.MM_COMPACTION_END: "3.14", Event.MM_COMPACTION_ISOLATE_MIGRATEPAGES: "2.6.38",
    Event.MM_COMPACTION_ISOLATE_FREEPAGES: "2.6.38", Event.MM_COMPACTION_MIGRATEPAGES: "2.6.38",
    Event.MM_COMPACTION_DEFERRED: "4.0", Event.MM_COMPACTION_DEFER_COMPACTION: "4.0",
}
"""The first release of Linux that has an event of this name.  The text is that of a recent one (6.12)."""

BY_ID: dict[int, EventType] = {int(each.event): each for each in EVENT_TYPES}
BY_NAME: dict[str, EventType] = {each.name: each for each in EVENT_TYPES}


def ring_file_size(cpus: int, sizes: tuple[int, int]) -> int:
    """Bytes of the ring file: all headers first, then CPU by CPU the rings in order of ``Ring``."""
    return ring_base(cpus, sizes, cpus, Ring.PAGES)


def ring_header(cpu: int, ring: Ring) -> int:
    """Byte offset of a ring's header."""
    return (cpu * Ring.NR + ring) * RingHeader.SIZE


def ring_base(cpus: int, sizes: tuple[int, int], cpu: int, ring: Ring) -> int:
    """Byte offset of a ring's first record."""
    start = -(-cpus * Ring.NR * RingHeader.SIZE // 4096) * 4096
    return start + RECORD_SIZE * (cpu * sum(sizes) + (sizes[0] if ring == Ring.SLOW else 0))


RING_MACROS = f"""
#define RING_HEADER_PLACE(cpu, ring) (((size_t)(cpu) * {int(Ring.NR)} + (ring)) * {RingHeader.SIZE})
#define RING_PLACE(cpus, pages, slow, cpu, ring) \\
    (((size_t)(cpus) * {int(Ring.NR) * RingHeader.SIZE} + 4095) / 4096 * 4096 \\
     + {RECORD_SIZE} * ((size_t)(cpu) * ((pages) + (slow)) + ((ring) ? (pages) : 0)))
"""
"""ring_header and ring_base once more, for the compiled core."""

RING_DECLARATIONS = """
cdef extern from "layout.h" nogil:
    size_t RING_HEADER_PLACE(size_t cpu, size_t ring)
    size_t RING_PLACE(size_t cpus, size_t pages, size_t slow, size_t cpu, size_t ring)
"""
