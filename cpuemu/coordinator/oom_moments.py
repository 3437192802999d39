"""The moments at which allocations were about to OOM, summed up from RAM (written by kernel/oom_moment.py)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cpuemu.layout import OOM_MOMENTS

if TYPE_CHECKING:
    from cpuemu.layout import Machine, OomMoment


@dataclass
class Moments:
    """Sums over moments of order-0 allocations.

    Only a moment that is ``short``, below its min watermark, can be saved by a drain: all that follows is of the short
    ones.  ``enough``, ``quiet`` and ``stayed`` are the three conditions in the mail of 2012.
    """

    order_0: int = 0
    short: int = 0
    """Pages were missing to the min watermark in the zone that was closest to it."""
    enough: int = 0
    """The other CPUs' lists held the missing pages."""
    quiet: int = 0
    """No other CPU that had pages allocated or freed since the reclaim had failed."""
    stayed: int = 0
    """The task was still on the CPU where its reclaim had failed."""
    all_three: int = 0
    saved: int = 0
    """A drain at this instant lifts the free counter over the mark."""
    all_three_saved: int = 0
    own_saved: int = 0
    """A drain of the allocation's own CPU alone, which interrupts nobody, does so too."""
    nobody: int = 0
    """No other CPU had a page on its lists."""
    after_drain: int = 0
    """The allocation had had a drain of all CPUs before."""
    missing_pages: int = 0
    others_pages: int = 0
    own_pages: int = 0
    window_ns: int = 0
    """From the failed reclaim to the moment."""

    def add(self, entry: OomMoment) -> None:
        self.order_0 += 1
        if entry.missing <= 0:
            return
        enough, quiet, stayed = entry.others >= entry.missing, not entry.active, not entry.migrated
        self.short += 1
        self.enough += enough
        self.quiet += quiet
        self.stayed += stayed
        self.all_three += enough and quiet and stayed
        self.saved += entry.saved
        self.all_three_saved += bool(enough and quiet and stayed and entry.saved)
        self.own_saved += entry.own_saved
        self.nobody += not entry.holders
        self.after_drain += entry.drains > 0
        self.missing_pages += entry.missing
        self.others_pages += entry.others
        self.own_pages += entry.own
        self.window_ns += entry.time_ns - entry.failed_ns if entry.failed_ns else 0


@dataclass
class OomMoments:
    """Of one run.  ``moments`` and ``not_kept`` are of all orders; what was not kept is in no other number here."""

    moments: int = 0
    not_kept: int = 0
    all: Moments = field(default_factory=Moments)
    kills: Moments = field(default_factory=Moments)
    """Those at which a victim was chosen; at the others an earlier one was still on its way out."""
    first_kill_seconds: float | None = None
    """From the start of the workload to the first victim."""


def moments_of(machine: Machine) -> OomMoments:
    begun = machine.drains.nr_moments
    result = OomMoments(moments=begun, not_kept=max(0, begun - OOM_MOMENTS))
    for number in range(min(begun, OOM_MOMENTS)):
        entry = machine.oom_moments[number]
        if entry.done and entry.order == 0:
            result.all.add(entry)
            if entry.victim:
                result.kills.add(entry)
    if machine.drains.first_kill_ns:
        result.first_kill_seconds = max(0, machine.drains.first_kill_ns - machine.header.pace_start_ns) / 1e9
    return result
