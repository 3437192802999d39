"""The fields of every trace event, by the names of the kernel's format files: what json, perfetto, trace.dat say.

A field is where its number stands in the record's four arguments, and what kind of thing the number is.  Each format
turns kinds into what it has for them: a name, an address with a symbol, a C type.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, replace

from cpuemu.events import COMPACT_STATUS, Event, signed

Args = tuple[int, int, int, int]


class Kind(enum.Enum):
    """What a number is, as the documentation calls it."""

    NUMBER = "number"
    WIDE = "number of 64 bits"
    SIGNED = "number, may be negative"
    FLAG = "true or false"
    PFN = "page frame number; null where the allocation failed"
    GFP = "names of GFP flags, joined by |"
    WORD = "name of a word or lock in the machine's memory"
    SITE = "place in the emulated kernel"
    FUNCTION = "function of the emulated kernel"
    COMM = "name of a task"
    PID = "number of a task, 0 for an idle one"
    VECTOR = "name of an interrupt vector, as /proc/interrupts has it"
    TASK_STATE = "R, S, D, X"
    STOP_STATE = "state of stop_machine: NONE, PREPARE, DISABLE_IRQ, RUN, EXIT"
    MODE = "sync or async"
    COMPACT_STATUS = ", ".join(COMPACT_STATUS)
    FAULT = "name of an injected fault"


@dataclass(frozen=True)
class Field:
    """One field of an event."""

    name: str
    kind: Kind
    of: Callable[[Args], int]
    meaning: str = ""


FIRST, SECOND, THIRD, FOURTH = (lambda args: args[0]), (lambda args: args[1]), (lambda args: args[2]), (
    lambda args: args[3])


def _number(name: str, of: Callable[[Args], int], meaning: str = "") -> Field:
    return Field(name, Kind.NUMBER, of, meaning)


def _task(prefix: str, of: Callable[[Args], int], meaning: str) -> tuple[Field, Field]:
    return Field(f"{prefix}comm", Kind.COMM, of, meaning), Field(f"{prefix}pid", Kind.PID, of)


def _priority(name: str) -> Field:
    return _number(name, lambda args: 120, "always 120")


_PFN = Field("pfn", Kind.PFN, FIRST, "first page of the block")
_ORDER = _number("order", SECOND, "the block has 2 to the power of it pages")
_MIGRATETYPE = _number("migratetype", THIRD, "0 unmovable, 1 reclaimable, 2 movable, 3 reserve")
_VECTOR = Field("reason", Kind.VECTOR, SECOND)
_TICKET = Field("ticket", Kind.WIDE, lambda args: args[2] | args[3] << 32,
                "the same at raise, entry and exit of one interrupt")
_FUNC, _CSD = Field("func", Kind.FUNCTION, FIRST), Field("csd", Kind.WIDE, SECOND, "65536 + cpu: of a call to many")
_WAIT = (Field("site", Kind.SITE, FIRST), Field("word", Kind.WORD, lambda args: args[1] | args[2] << 32),
         Field("busy", Kind.FLAG, FOURTH, "the CPU waits too"))
_PROCESS = (_number("process_cpu", SECOND), _number("process_generation", THIRD), _number("host_pid", FOURTH))
_NID, _RANGE = _number("nid", FIRST), (_number("start_pfn", FIRST), _number("end_pfn", SECOND),
                                       _number("nr_scanned", THIRD), _number("nr_taken", FOURTH))
_DEFER = (_number("zone", SECOND), _number("order", FIRST), _number("considered", THIRD),
          _number("defer_shift", FOURTH))
_SYNC = Field("mode", Kind.MODE, lambda args: args[3] & 1)

FIELDS: dict[Event, tuple[Field, ...]] = {
    Event.MM_PAGE_ALLOC: (_PFN, _ORDER, Field("gfp_flags", Kind.GFP, FOURTH), _MIGRATETYPE),
    Event.MM_PAGE_FREE: (_PFN, _ORDER),
    Event.MM_PAGE_ALLOC_ZONE_LOCKED: (
        _PFN, _ORDER, _MIGRATETYPE, _number("percpu_refill", FOURTH, "1: it goes to a per-CPU list")),
    Event.MM_PAGE_PCPU_DRAIN: (_PFN, _ORDER, _MIGRATETYPE, _number("cpu", FOURTH, "whose list it was on")),
    Event.MM_PAGE_ALLOC_EXTFRAG: (
        _PFN, _number("alloc_order", SECOND), _number("fallback_order", THIRD),
        _number("alloc_migratetype", lambda args: args[3] & 255),
        _number("fallback_migratetype", lambda args: args[3] >> 8 & 255),
        _number("change_ownership", lambda args: args[3] >> 16 & 1, "1: the pageblock changed its type")),
    Event.CPUEMU_PAGE_HELD: (_PFN, _ORDER, _number("owner", THIRD, "task that holds it")),
    Event.CPUEMU_ZONE_PAGES: (
        _number("zone", FIRST), _number("nr_free_pages", SECOND, "what watermarks are compared with"),
        _number("cpu", THIRD, "whose list pages were moved to or from"),
        _number("pcp_count", FOURTH, "pages on its list of the zone now")),
    Event.IPI_RAISE: (_number("target_cpu", FIRST), _VECTOR, _TICKET),
    Event.IPI_ENTRY: (_number("source_cpu", FIRST, "who raised it"), _VECTOR, _TICKET),
    Event.IPI_EXIT: (_number("source_cpu", FIRST, "who raised it"), _VECTOR, _TICKET),
    Event.CPUEMU_IPI_LOST: (_number("target_cpu", FIRST), _VECTOR, _TICKET),
    Event.CSD_QUEUE_CPU: (
        _number("cpu", FIRST, "who is to run it"), Field("callsite", Kind.SITE, SECOND),
        Field("func", Kind.FUNCTION, THIRD), replace(_CSD, of=FOURTH)),
    Event.CSD_FUNCTION_ENTRY: (_FUNC, _CSD, _number("source_cpu", THIRD, "who asked for it")),
    Event.CSD_FUNCTION_EXIT: (_FUNC, _CSD, _number("source_cpu", THIRD, "who asked for it")),
    Event.CPUEMU_CSD_UNLOCK: (replace(_CSD, of=FIRST),),
    Event.CPUHP_ENTER: (
        _number("cpu", FIRST, "the CPU that comes or goes"), _number("target", SECOND, "the step it is on its way to"),
        _number("idx", THIRD, "the step that begins"), Field("fun", Kind.SITE, FOURTH)),
    Event.CPUHP_EXIT: (
        _number("cpu", FIRST, "the CPU that comes or goes"), _number("state", SECOND),
        _number("idx", THIRD, "the step that ends"),
        Field("ret", Kind.SIGNED, lambda args: signed(args[3]), "0, or a negative errno")),
    Event.SCHED_SWITCH: (
        *_task("prev_", FIRST, "the task that stops"), _priority("prev_prio"),
        Field("prev_state", Kind.TASK_STATE, SECOND),
        *_task("next_", THIRD, "the task that goes on"), _priority("next_prio")),
    Event.SCHED_WAKEUP: (*_task("", FIRST, "the task that is woken"), _priority("prio"), _number("target_cpu", SECOND)),
    Event.SCHED_MIGRATE_TASK: (
        *_task("", FIRST, "the task that moves"), _priority("prio"), _number("orig_cpu", SECOND),
        _number("dest_cpu", THIRD)),
    Event.MM_VMSCAN_DIRECT_RECLAIM_BEGIN: (_number("order", FIRST), Field("gfp_flags", Kind.GFP, SECOND)),
    Event.MM_VMSCAN_DIRECT_RECLAIM_END: (_number("nr_reclaimed", FIRST, "pages"),),
    Event.MM_VMSCAN_WAKEUP_KSWAPD: (_NID, _number("order", SECOND), Field("gfp_flags", Kind.GFP, THIRD)),
    Event.MM_VMSCAN_KSWAPD_WAKE: (_NID, _number("order", SECOND)),
    Event.MM_VMSCAN_KSWAPD_SLEEP: (_NID,),
    Event.MARK_VICTIM: _task("", FIRST, "the task that is killed")[::-1],
    Event.CPUEMU_DRAIN_ALL_BEGIN: (
        _number("cpus_with_pages", FIRST, "CPUs whose lists hold a page"), _number("cpus_online", SECOND),
        _number("under_way", THIRD, "drains, with this one")),
    Event.CPUEMU_DRAIN_ALL_END: (
        _number("usecs", FIRST), _number("pages", SECOND, "freed by it, wherever"),
        _number("ipis", THIRD, "sent for it")),
    Event.CPUEMU_STOP_STATE: (
        Field("state", Kind.STOP_STATE, FIRST), _number("thread_ack", SECOND, "acknowledgements that it needs")),
    Event.CPUEMU_CPU_ONLINE: (_number("cpu", FIRST), _number("generation", SECOND, "its life, from 0")),
    Event.CPUEMU_CPU_OFFLINE: (_number("cpu", FIRST), _number("generation", SECOND, "its life, from 0")),
    Event.CPUEMU_WAIT_BEGIN: _WAIT,
    Event.CPUEMU_WAIT_END: _WAIT,
    Event.CPUEMU_FINDING: (_number("number", FIRST, "of the finding, as trace-dump --state lists them"),),
    Event.CPUEMU_CPU_LENT: (*_task("", FIRST, "the task that goes on in another process"), *_PROCESS),
    Event.CPUEMU_CPU_BACK: (*_task("next_", FIRST, "the task that goes on"), *_PROCESS),
    Event.CPUEMU_OOM_MOMENT: (
        _number("order", FIRST), Field("missing", Kind.SIGNED, lambda args: signed(args[1]), "pages"),
        _number("others", THIRD, "pages on other CPUs' lists"), _number("moment", FOURTH)),
    Event.CPUEMU_FAULT: (
        Field("fault", Kind.FAULT, FIRST), _number("target", SECOND), _number("detail", THIRD,
        "vector, order or notifier"), _number("usecs", FOURTH)),
    Event.MM_COMPACTION_TRY_TO_COMPACT_PAGES: (
        _number("order", FIRST), Field("gfp_mask", Kind.GFP, SECOND), Field("mode", Kind.MODE, THIRD)),
    Event.MM_COMPACTION_BEGIN: (
        _number("zone_start", lambda args: args[3] >> 1), _number("migrate_pfn", FIRST), _number("free_pfn", SECOND),
        _number("zone_end", THIRD), _SYNC),
    Event.MM_COMPACTION_END: (
        _number("migrate_pfn", FIRST), _number("free_pfn", SECOND), _number("zone_end", THIRD), _SYNC,
        Field("status", Kind.COMPACT_STATUS, lambda args: args[3] >> 1 & 3)),
    Event.MM_COMPACTION_ISOLATE_MIGRATEPAGES: _RANGE,
    Event.MM_COMPACTION_ISOLATE_FREEPAGES: _RANGE,
    Event.MM_COMPACTION_MIGRATEPAGES: (_number("nr_migrated", FIRST), _number("nr_failed", SECOND)),
    Event.MM_COMPACTION_DEFERRED: _DEFER,
    Event.MM_COMPACTION_DEFER_COMPACTION: _DEFER,
}
