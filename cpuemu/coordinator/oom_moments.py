"""The moments at which allocations were about to OOM, summed up from RAM (written by kernel/oom_moment.py)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cpuemu.layout import OOM_MOMENTS

if TYPE_CHECKING:
    from cpuemu.layout import Machine, OomMoment


@dataclass
class OomMoments:
    """Sums over the moments of order-0 allocations, but for ``moments`` and ``not_kept``.

    Only a moment that is ``short``, below its min watermark, can be saved by a drain; of the conditions in the mail of
    2012 ``enough`` is the first, ``quiet`` the second, ``stayed`` the third.
    """

    moments: int = 0
    """Of all orders."""
    not_kept: int = 0
    """Of all orders, beyond the table: in no other number here."""
    order_0: int = 0
    short: int = 0
    """Pages were missing to the min watermark in every zone that the allocation may use."""
    enough: int = 0
    """Of the short ones: the other CPUs' lists held the missing pages."""
    quiet: int = 0
    """Of the short ones: no other CPU that had pages allocated or freed since the reclaim had failed."""
    stayed: int = 0
    """Of the short ones: the task was still on the CPU where its reclaim had failed."""
    all_three: int = 0
    saved: int = 0
    """Of the short ones: a drain at this instant lifts the free counter over the mark."""
    all_three_saved: int = 0
    nobody: int = 0
    """Of the short ones: no other CPU had a page on its lists."""
    after_drain: int = 0
    """Of the short ones: the allocation had had a drain of all CPUs before."""
    missing_pages: int = 0
    """Of the short ones, in the zone that was closest to its mark; ``others_pages`` and ``own_pages`` there too."""
    others_pages: int = 0
    own_pages: int = 0
    first_kill_seconds: float | None = None
    """From the start of the workload to the first victim of the OOM killer."""


def moments_of(machine: Machine) -> OomMoments:
    begun = machine.drains.nr_moments
    result = OomMoments(moments=begun, not_kept=max(0, begun - OOM_MOMENTS))
    for number in range(min(begun, OOM_MOMENTS)):
        entry = machine.oom_moments[number]
        if entry.done and entry.order == 0:
            _add(result, entry)
    if machine.drains.first_kill_ns:
        result.first_kill_seconds = max(0, machine.drains.first_kill_ns - machine.header.pace_start_ns) / 1e9
    return result


def _add(result: OomMoments, entry: OomMoment) -> None:
    result.order_0 += 1
    if entry.missing <= 0:
        return
    enough, quiet, stayed = entry.others >= entry.missing, not entry.active, not entry.migrated
    result.short += 1
    result.enough += enough
    result.quiet += quiet
    result.stayed += stayed
    result.all_three += enough and quiet and stayed
    result.saved += entry.saved
    result.all_three_saved += bool(enough and quiet and stayed and entry.saved)
    result.nobody += not entry.holders
    result.after_drain += entry.drains > 0
    result.missing_pages += entry.missing
    result.others_pages += entry.others
    result.own_pages += entry.own
