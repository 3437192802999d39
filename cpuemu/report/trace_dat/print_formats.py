"""How a reader is to print each event: the texts of events.py once more, in the language of the kernel's format files.

``{field}`` is printed as its kind is, ``{field:%3d}`` in its own way.
"""

from __future__ import annotations

import string

from cpuemu.events import COMPACT_STATUS, REASONS, STOP_STATES, TASK_STATES, Event
from cpuemu.faults import Fault, name_of
from cpuemu.report.fields import FIELDS, Kind
from cpuemu.report.text import GFP_NAMES

_PAGE = "page={page} pfn={pfn}"
_RANGE = "range=({start_pfn:0x%x} ~ {end_pfn:0x%x}) nr_scanned={nr_scanned} nr_taken={nr_taken}"
_DEFER = "node=0 zone={zone} order={order} consider={considered} limit={limit}"
_PROCESS = "process=cpu{process_cpu}.{process_generation} host_pid={host_pid}"
_WAIT = "site={site} word={word} busy={busy}"

PRINTS: dict[Event, str] = {
    Event.MM_PAGE_ALLOC: f"{_PAGE} order={{order}} migratetype={{migratetype}} gfp_flags={{gfp_flags}}",
    Event.MM_PAGE_FREE: f"{_PAGE} order={{order}}",
    Event.MM_PAGE_ALLOC_ZONE_LOCKED:
        f"{_PAGE} order={{order}} migratetype={{migratetype}} percpu_refill={{percpu_refill}}",
    Event.MM_PAGE_PCPU_DRAIN: f"{_PAGE} order={{order}} migratetype={{migratetype}}",
    Event.MM_PAGE_ALLOC_EXTFRAG:
        f"{_PAGE} alloc_order={{alloc_order}} fallback_order={{fallback_order}} pageblock_order=9 "
        "alloc_migratetype={alloc_migratetype} fallback_migratetype={fallback_migratetype} "
        "fragmenting={fragmenting} change_ownership={change_ownership}",
    Event.CPUEMU_PAGE_HELD: f"{_PAGE} order={{order}}",
    Event.CPUEMU_ZONE_PAGES: "zone={zone} nr_free_pages={nr_free_pages} cpu={cpu} pcp_count={pcp_count}",
    Event.IPI_RAISE: "target_mask={target_cpus} ({reason})",
    Event.IPI_ENTRY: "({reason})",
    Event.IPI_EXIT: "({reason})",
    Event.CPUEMU_IPI_LOST: "target={target_cpu} ({reason})",
    Event.CSD_QUEUE_CPU: "cpu={cpu} callsite={callsite} func={func} csd={csd}",
    Event.CSD_FUNCTION_ENTRY: "func={func}, csd={csd}",
    Event.CSD_FUNCTION_EXIT: "func={func}, csd={csd}",
    Event.CPUEMU_CSD_UNLOCK: "csd={csd}",
    Event.CPUHP_ENTER: "cpu: {cpu:%04u} target: {target:%3d} step: {idx:%3d} ({fun})",
    Event.CPUHP_EXIT: " cpu: {cpu:%04u}  state: {state:%3d} step: {idx:%3d} ret: {ret}",
    Event.SCHED_SWITCH:
        "prev_comm={prev_comm} prev_pid={prev_pid} prev_prio={prev_prio} prev_state={prev_state} ==> "
        "next_comm={next_comm} next_pid={next_pid} next_prio={next_prio}",
    Event.SCHED_WAKEUP: "comm={comm} pid={pid} prio={prio} target_cpu={target_cpu:%03d}",
    Event.SCHED_MIGRATE_TASK: "comm={comm} pid={pid} prio={prio} orig_cpu={orig_cpu} dest_cpu={dest_cpu}",
    Event.MM_VMSCAN_DIRECT_RECLAIM_BEGIN: "order={order} gfp_flags={gfp_flags}",
    Event.MM_VMSCAN_DIRECT_RECLAIM_END: "nr_reclaimed={nr_reclaimed}",
    Event.MM_VMSCAN_WAKEUP_KSWAPD: "nid={nid} order={order} gfp_flags={gfp_flags}",
    Event.MM_VMSCAN_KSWAPD_WAKE: "nid={nid} order={order}",
    Event.MM_VMSCAN_KSWAPD_SLEEP: "nid={nid}",
    Event.MARK_VICTIM: "pid={pid}",
    Event.CPUEMU_DRAIN_ALL_BEGIN:
        "cpus_with_pages={cpus_with_pages} cpus_online={cpus_online} under_way={under_way}",
    Event.CPUEMU_DRAIN_ALL_END: "usecs={usecs} pages={pages} ipis={ipis}",
    Event.CPUEMU_STOP_STATE: "state=STOPMACHINE_{state} thread_ack={thread_ack}",
    Event.CPUEMU_CPU_ONLINE: "cpu={cpu} generation={generation}",
    Event.CPUEMU_CPU_OFFLINE: "cpu={cpu} generation={generation}",
    Event.CPUEMU_WAIT_BEGIN: _WAIT,
    Event.CPUEMU_WAIT_END: _WAIT,
    Event.CPUEMU_FINDING: "number={number}",
    Event.CPUEMU_CPU_LENT: f"comm={{comm}} pid={{pid}} {_PROCESS}",
    Event.CPUEMU_CPU_BACK: f"next_comm={{next_comm}} next_pid={{next_pid}} {_PROCESS}",
    Event.CPUEMU_OOM_MOMENT: "order={order} missing={missing} others={others} moment={moment}",
    Event.CPUEMU_FAULT: "fault={fault} target={target} detail={detail} usecs={usecs}",
    Event.MM_COMPACTION_TRY_TO_COMPACT_PAGES: "order={order} gfp_mask={gfp_mask} mode={mode}",
    Event.MM_COMPACTION_BEGIN:
        "zone_start={zone_start:0x%x} migrate_pfn={migrate_pfn:0x%x} free_pfn={free_pfn:0x%x} "
        "zone_end={zone_end:0x%x}, mode={mode}",
    Event.MM_COMPACTION_END:
        "migrate_pfn={migrate_pfn:0x%x} free_pfn={free_pfn:0x%x} zone_end={zone_end:0x%x}, mode={mode} status={status}",
    Event.MM_COMPACTION_ISOLATE_MIGRATEPAGES: _RANGE,
    Event.MM_COMPACTION_ISOLATE_FREEPAGES: _RANGE,
    Event.MM_COMPACTION_MIGRATEPAGES: "nr_migrated={nr_migrated} nr_failed={nr_failed}",
    Event.MM_COMPACTION_DEFERRED: _DEFER,
    Event.MM_COMPACTION_DEFER_COMPACTION: _DEFER,
}

_WITHOUT_A_FIELD = {
    "page": ("%016lx", "REC->pfn != -1UL ? REC->pfn * 64 + 0xffffea0000000000 : 0"),
    "target_cpus": ("%s", "__get_bitmask(target_cpus)"),
    "fragmenting": ("%d", "REC->fallback_order < 9"),
    "limit": ("%lu", "1UL << (REC->defer_shift & 31)"),
}
"""What is worked out of other fields, as in the kernel's own texts."""


def _symbolic(names: list[str]) -> tuple[str, str]:
    table = ", ".join(f'{{ {number}, "{name}" }}' for number, name in enumerate(names))
    return "%s", f"__print_symbolic(REC->FIELD, {table})"


_GFP_TABLE = ", ".join(f'{{ {int(bits):#x}, "{name}" }}' for name, bits in GFP_NAMES)
_POINTER = ("%ps", "(void *)REC->FIELD")
_PRINTED: dict[Kind, tuple[str, str]] = {
    Kind.NUMBER: ("%u", "REC->FIELD"), Kind.WIDE: ("%016lx", "REC->FIELD"), Kind.SIGNED: ("%d", "REC->FIELD"),
    Kind.FLAG: ("%u", "REC->FIELD"), Kind.PID: ("%d", "REC->FIELD"), Kind.COMM: ("%s", "REC->FIELD"),
    Kind.PFN: ("0x%lx", "REC->FIELD != -1UL ? REC->FIELD : 0"),
    Kind.GFP: ("%s", f'(REC->FIELD) ? __print_flags(REC->FIELD, "|", {_GFP_TABLE}) : "GFP_NOWAIT"'),
    Kind.SITE: _POINTER, Kind.FUNCTION: _POINTER, Kind.WORD: _POINTER,
    Kind.VECTOR: _symbolic(list(REASONS)), Kind.TASK_STATE: _symbolic(list(TASK_STATES)),
    Kind.STOP_STATE: _symbolic(list(STOP_STATES)), Kind.MODE: _symbolic(["async", "sync"]),
    Kind.COMPACT_STATUS: _symbolic(list(COMPACT_STATUS)),
    Kind.FAULT: _symbolic([name_of(fault) for fault in range(Fault.NR)]),
}


def print_format(event: Event) -> str:
    """``"order=%u", REC->order``"""
    kinds = {field.name: field.kind for field in FIELDS[event]}
    text, arguments = "", []
    for literal, name, form, _ in string.Formatter().parse(PRINTS[event]):
        text += literal
        if name:
            default, argument = _WITHOUT_A_FIELD.get(name) or _PRINTED[kinds[name]]
            text += form or default
            arguments.append(argument.replace("FIELD", name))
    return ", ".join((f'"{text}"', *arguments))
