"""kswapd: the node's daemon that reclaims before anybody must (Linux: mm/vmscan.c, v3.2).

Invariant:     asleep on its queue (``waiting`` 1) while all zones are above their high marks or given up; woken when
               one is below its low mark.
Writers:       ``order`` and ``classzone`` by whoever wants more, without a lock, as in Linux, and by kswapd when it
               takes the request; ``waiting`` by kswapd, and by the one waker that wins its compare-and-swap.
Steps:         its two sleeps; cond_resched between rounds; those of shrink_zone.
Not modelled:  more than one node, moving to its node's CPUs, freezing.

Every look at a watermark here is zone_watermark_ok_safe: below the drift mark all CPUs' differentials are counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cpuemu.arch.cpu import Term
from cpuemu.events import Event
from cpuemu.kernel.compaction import CONGESTION_NS
from cpuemu.kernel.sched import cond_resched, schedule, wait_event, wake
from cpuemu.kernel.vmscan import (
    DEF_PRIORITY,
    NO_LIMIT,
    SWAP_CLUSTER_MAX,
    ScanControl,
    shrink_zone,
    zone_reclaimable,
)
from cpuemu.kernel.vmstat import normal_threshold, pressure_threshold, set_pgdat_percpu_threshold
from cpuemu.layout import Counter, Gfp, Kswapd, MachineState, Op, Task, TaskFlag, TaskState, Wmark, Zone
from cpuemu.sites import site

if TYPE_CHECKING:
    from cpuemu.arch.cpu import Cpu

P_SHORT = site("kswapd_try_to_sleep:short")
P_KSWAPD = site("kswapd_try_to_sleep")
P_CONGESTION = site("balance_pgdat:congestion_wait")

SHORT_SLEEP_NS = 100_000_000
BALANCE_GAP_RATIO = 100
"""KSWAPD_ZONE_BALANCE_GAP_RATIO: kswapd goes a hundredth of the zone above the high mark, at most the low mark."""


@dataclass
class Look:
    """What one pass over the zones saw."""

    all_zones_ok: bool = True
    under_min: bool = False
    balanced: int = 0
    """Pages of the zones that are above their high mark."""


# --- waking ------------------------------------------------------------------------------------------------


def wake_all_kswapd(cpu: Cpu, order: int, gfp: int, classzone: int) -> None:
    """One zone after the other asks; the node has one daemon, and the first that needs it wakes it."""
    for zone in range(classzone, -1, -1):
        wakeup_kswapd(cpu, zone, order, gfp, classzone)


def wakeup_kswapd(cpu: Cpu, zone: int, order: int, gfp: int, classzone: int) -> None:
    """Raise the order that it works for; wake it if it sleeps and this zone is below its low mark."""
    kswapd = cpu.machine.kswapd
    if kswapd.order < order:
        kswapd.order = order
        kswapd.classzone = min(kswapd.classzone, classzone)
    if not kswapd.waiting or _ok(cpu, zone, order, cpu.machine.zones[zone].wmark[Wmark.LOW], 0):
        return
    if not cpu.ram.cmpxchg(kswapd.addr(Kswapd.waiting), 1, 0):
        return  # somebody else has just woken it
    cpu.core.trace(Event.MM_VMSCAN_WAKEUP_KSWAPD, 0, order, gfp)
    cpu.core.count(Counter.KSWAPD_WAKE)
    cpu.ram.add(kswapd.addr(Kswapd.wake), 1)
    wake(cpu, kswapd.addr(Kswapd.wake))


def _ok(cpu: Cpu, zone: int, order: int, mark: int, classzone: int) -> bool:
    return cpu.core.zone_watermark_ok_safe(zone, order, mark, classzone, 0)


# --- the thread --------------------------------------------------------------------------------------------


def kswapd_thread(cpu: Cpu, arg: int) -> None:
    """kswapd0: sleep, take the request, balance; again at once while harder requests have come meanwhile."""
    kswapd = cpu.machine.kswapd
    top = cpu.machine.dims.zones - 1
    cpu.ram.set_bits(cpu.current.addr(Task.flags), TaskFlag.MEMALLOC)
    order = new_order = balanced_order = 0
    classzone = new_classzone = balanced_classzone = kswapd.classzone = top
    while True:
        _slice_ends(cpu)
        if balanced_classzone >= new_classzone and balanced_order == new_order:
            new_order, new_classzone = kswapd.order, kswapd.classzone
            kswapd.order, kswapd.classzone = 0, top
        if order < new_order or classzone > new_classzone:
            order, classzone = new_order, new_classzone
        else:
            kswapd_try_to_sleep(cpu, balanced_order, balanced_classzone)
            order, classzone = kswapd.order, kswapd.classzone
            new_order, new_classzone = order, classzone
            kswapd.order, kswapd.classzone = 0, top
        cpu.core.trace(Event.MM_VMSCAN_KSWAPD_WAKE, 0, order)
        balanced_order, balanced_classzone = balance_pgdat(cpu, order, classzone)


def _slice_ends(cpu: Cpu) -> None:
    """Ours: what the timer tick does for a daemon that is woken whenever it is about to sleep: the others' turn."""
    if cpu.me.nr_running and cpu.now() >= cpu.me.slice_end_ns:
        schedule(cpu)


def kswapd_try_to_sleep(cpu: Cpu, order: int, classzone: int) -> None:
    """A short sleep first: woken in it, the marks were reached only just.  The long one with normal thresholds."""
    kswapd = cpu.machine.kswapd
    woken = False
    term = _prepare_to_wait(cpu)
    if not sleeping_prematurely(cpu, order, woken, classzone):
        woken = wait_event(cpu, P_SHORT, term, deadline_ns=cpu.now() + SHORT_SLEEP_NS, state=TaskState.INTERRUPTIBLE)
        term = _prepare_to_wait(cpu)
    # Ours: on a machine that is switched off nothing is balanced any more, and it sleeps for good.
    if not sleeping_prematurely(cpu, order, woken, classzone) or cpu.header.state > MachineState.RUNNING:
        cpu.core.trace(Event.MM_VMSCAN_KSWAPD_SLEEP, 0)
        set_pgdat_percpu_threshold(cpu, normal_threshold)
        wait_event(cpu, P_KSWAPD, term, state=TaskState.INTERRUPTIBLE)
        set_pgdat_percpu_threshold(cpu, pressure_threshold)
    kswapd.waiting = 0


def _prepare_to_wait(cpu: Cpu) -> Term:
    kswapd = cpu.machine.kswapd
    seen = kswapd.seen = kswapd.wake
    cpu.ram.xchg(kswapd.addr(Kswapd.waiting), 1)
    return Term(kswapd.addr(Kswapd.wake), Op.NE, seen)


def sleeping_prematurely(cpu: Cpu, order: int, woken: bool, classzone: int) -> bool:
    """Whether there is work left: order 0 wants every zone balanced, a higher one a quarter of the node."""
    if woken:
        return True
    balanced, all_zones_ok = 0, True
    for zone in range(classzone + 1):
        words = cpu.machine.zones[zone]
        if words.all_unreclaimable or _ok(cpu, zone, order, words.wmark[Wmark.HIGH], zone):
            balanced += words.present
        else:
            all_zones_ok = False
    return not pgdat_balanced(cpu, balanced, classzone) if order else not all_zones_ok


def pgdat_balanced(cpu: Cpu, balanced: int, classzone: int) -> bool:
    return balanced >= sum(cpu.machine.zones[zone].present for zone in range(classzone + 1)) >> 2


# --- balancing ---------------------------------------------------------------------------------------------


def balance_pgdat(cpu: Cpu, order: int, classzone: int) -> tuple[int, int]:
    """Reclaim until every zone is above its high mark or given up; the order and the zone that this was done for."""
    while cpu.header.state <= MachineState.RUNNING:
        look, end_zone, priority, control = _round(cpu, order, classzone)
        if not (look.all_zones_ok or (order and pgdat_balanced(cpu, look.balanced, classzone))):
            cond_resched(cpu)
            if control.nr_reclaimed < SWAP_CLUSTER_MAX:
                order = 0  # memory in pieces cannot be balanced for the order: look to single pages
            continue
        if order and not _order_0_balanced(cpu, end_zone, priority):
            order = 0
            continue
        return order, end_zone
    return order, classzone


def _round(cpu: Cpu, order: int, classzone: int) -> tuple[Look, int, int, ScanControl]:
    """Priorities from 12 down, until the zones are balanced or SWAP_CLUSTER_MAX pages are freed.

    What the last pass saw, the zone and the priority it ended at.
    """
    control = ScanControl(Gfp.WAIT | Gfp.IO | Gfp.FS, order, nr_to_reclaim=NO_LIMIT, kswapd=True)
    look, end_zone, scanned = Look(), 0, 0
    for priority in range(DEF_PRIORITY, -1, -1):
        found = _highest_to_scan(cpu, order, priority)
        if found is None:
            return Look(), end_zone, priority, control
        before = control.nr_reclaimed
        look, end_zone, pages = _balance_zones(cpu, order, classzone, found, priority, control)
        scanned += pages
        cpu.core.count(Counter.KSWAPD_RECLAIMED, control.nr_reclaimed - before)
        if look.all_zones_ok or (order and pgdat_balanced(cpu, look.balanced, classzone)):
            break
        if scanned and priority < DEF_PRIORITY - 2 and not look.under_min:
            wait_event(cpu, P_CONGESTION, deadline_ns=cpu.now() + CONGESTION_NS)
        if control.nr_reclaimed >= SWAP_CLUSTER_MAX:
            break
        cond_resched(cpu)
    return look, end_zone, priority, control


def _highest_to_scan(cpu: Cpu, order: int, priority: int) -> int | None:
    for zone in range(cpu.machine.dims.zones - 1, -1, -1):
        words = cpu.machine.zones[zone]
        if words.all_unreclaimable and priority != DEF_PRIORITY:
            continue
        if not _ok(cpu, zone, order, words.wmark[Wmark.HIGH], 0):
            return zone
    return None


def _balance_zones(cpu: Cpu, order: int, classzone: int, end_zone: int, priority: int,
                   control: ScanControl) -> tuple[Look, int, int]:
    """One pass, from the lowest zone up: against the direction in which the allocator takes.

    What it saw, the zone it ended at, pages scanned.
    """
    look, zone, scanned, last = Look(), 0, 0, end_zone
    while zone <= end_zone:
        words = cpu.machine.zones[zone]
        if not words.all_unreclaimable or priority == DEF_PRIORITY:
            control.nr_scanned = 0
            if not _ok(cpu, zone, order, words.wmark[Wmark.HIGH] + _balance_gap(words), end_zone):
                shrink_zone(cpu, zone, priority, control)
                scanned += control.nr_scanned
                if not zone_reclaimable(words):
                    words.all_unreclaimable = 1
            if words.all_unreclaimable:
                if end_zone and end_zone == zone:
                    last = end_zone - 1
            elif not _ok(cpu, zone, order, words.wmark[Wmark.HIGH], end_zone):
                look.all_zones_ok = False
                look.under_min |= not _ok(cpu, zone, order, words.wmark[Wmark.MIN], end_zone)
            elif zone <= classzone:
                look.balanced += words.present
        zone += 1
    return look, last, scanned


def _balance_gap(words: Zone) -> int:
    return min(words.wmark[Wmark.LOW], -(-words.present // BALANCE_GAP_RATIO))


def _order_0_balanced(cpu: Cpu, end_zone: int, priority: int) -> bool:
    """Before it sleeps after a higher order: single pages must be there in every zone."""
    for zone in range(end_zone + 1):
        words = cpu.machine.zones[zone]
        if words.all_unreclaimable and priority != DEF_PRIORITY:
            continue
        if not cpu.core.zone_watermark_ok(zone, 0, words.wmark[Wmark.HIGH], 0, 0):
            return False
    return True
