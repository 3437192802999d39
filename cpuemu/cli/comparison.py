"""A comparison as data: what the runs of each policy gave, and what follows from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from cpuemu.cli.metrics import METRICS, Value
from cpuemu.cli.statistics import Estimate, differences, estimate, share
from cpuemu.coordinator.oom_moments import OomMoments
from cpuemu.coordinator.verdict import Verdict


@dataclass(frozen=True)
class Run:
    """What is kept of one run."""

    seed: int
    values: dict[str, Value]
    oom: OomMoments
    drains: int
    avoidable: int
    known: tuple[str, ...]


def run_of(verdict: Verdict) -> Run:
    return Run(verdict.seed, {name: metric.of(verdict) for name, metric in METRICS.items()}, verdict.oom,
               verdict.counts["drain_all"], verdict.counts["drain_avoidable"],
               tuple(sorted({each.known for each in verdict.findings if each.known})))


@dataclass
class Comparison:
    """Runs by policy, in order of seeds; the first policy is what the others are compared with."""

    runs: dict[str, list[Run]]

    @property
    def seeds(self) -> int:
        """Seeds that every policy has run."""
        return min(len(runs) for runs in self.runs.values())

    def paired(self) -> Comparison:
        """Only the seeds that every policy has run."""
        return Comparison({policy: runs[: self.seeds] for policy, runs in self.runs.items()})

    def column(self, policy: str, metric: str) -> list[Value]:
        return [run.values[metric] for run in self.runs[policy]]


def estimated(values: Sequence[Value]) -> Estimate | None:
    """Over the seeds that have the number; None where no seed has."""
    present = [value for value in values if value is not None]
    return estimate(present) if present else None


def difference(values: Sequence[Value], base: Sequence[Value]) -> Estimate | None:
    """Over the seeds that have the number under both policies."""
    pairs = [(value, other) for value, other in zip(values, base, strict=True)
             if value is not None and other is not None]
    return differences([value for value, _ in pairs], [other for _, other in pairs]) if pairs else None


def summary(comparison: Comparison) -> dict[str, dict[str, Any]]:
    """Mean and interval of every metric, and of its difference to the first policy; null where no seed has it."""
    base = next(iter(comparison.runs))
    return {policy: {metric: _plain(comparison.column(policy, metric), comparison.column(base, metric))
                     for metric in METRICS} for policy in comparison.runs}


def _plain(values: Sequence[Value], base: Sequence[Value]) -> dict[str, Any]:
    found, apart = estimated(values), difference(values, base)
    plain: dict[str, Any] = found.plain() if found else {"mean": None, "low": None, "high": None}
    plain["difference"] = apart.plain() if apart else None
    absent = sum(value is None for value in values)
    return {**plain, "seeds_without": absent} if absent else plain


# --- the claim of 2012 -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Share:
    """A number of cases out of all, over all seeds together."""

    count: int
    of: int
    estimate: Estimate | None

    def plain(self) -> dict[str, Any]:
        return {"count": self.count, "of": self.of, "share": self.estimate.plain() if self.estimate else None}


CLAIM = {
    "enough": "1. the other CPUs' lists held the pages missing",
    "quiet": "2. the CPUs that had them neither allocated nor freed since reclaim failed",
    "stayed": "3. the task had not migrated since then",
    "all_three": "all three",
    "saved": "a drain at this instant saves it",
    "all_three_saved": "all three, and a drain saves it",
    "own_saved": "a drain of its own CPU alone saves it",
    "nobody": "no other CPU had a page",
    "after_drain": "the allocation had had a drain before",
}
"""Shares of the order-0 moments below the min watermark, by the names of Moments."""


@dataclass
class Claim:
    """Moments of order-0 allocations about to OOM, of all of a policy's runs together."""

    moments: int
    short: int
    seeds: int
    """That had a moment below the min watermark: moments of one run are no independent cases."""
    missing_pages: Estimate | None
    others_pages: Estimate | None
    window_us: Estimate | None
    """From the failed reclaim to the moment."""
    shares: dict[str, Share]

    def plain(self) -> dict[str, Any]:
        return {"moments": self.moments, "below_min_watermark": self.short, "in_seeds": self.seeds,
                "pages_missing": self.missing_pages.plain() if self.missing_pages else None,
                "pages_on_other_lists": self.others_pages.plain() if self.others_pages else None,
                "window_us": self.window_us.plain() if self.window_us else None,
                **{name: each.plain() for name, each in self.shares.items()}}


def claim(runs: Sequence[Run], kills: bool = False) -> Claim:
    """Of every moment, or of those only at which a victim was chosen."""
    moments = [run.oom.kills if kills else run.oom.all for run in runs]
    short = [each.short for each in moments]
    return Claim(
        sum(each.order_0 for each in moments), sum(short), sum(map(bool, short)),
        share([each.missing_pages for each in moments], short), share([each.others_pages for each in moments], short),
        share([each.window_ns / 1000 for each in moments], short),
        {name: _share([getattr(each, name) for each in moments], short) for name in CLAIM},
    )


def avoidable(runs: Sequence[Run]) -> Share:
    """Drains at whose start half the online CPUs or fewer had pages: the count of the commit of 2012."""
    return _share([run.avoidable for run in runs], [run.drains for run in runs])


def _share(parts: Sequence[int], wholes: Sequence[int]) -> Share:
    return Share(sum(parts), sum(wholes), share(parts, wholes))


# --- one policy's OOMs and another's -----------------------------------------------------------------------


@dataclass
class OomPairs:
    """OOM kills of one policy and of the first, seed by seed."""

    here: int = 0
    base: int = 0
    only_here: list[int] = field(default_factory=list)
    """Seeds with kills under this policy and none under the first."""
    only_base: list[int] = field(default_factory=list)
    more_here: int = 0
    more_base: int = 0

    def plain(self) -> dict[str, Any]:
        return {"kills": self.here, "kills_of_first": self.base, "seeds_only_here": self.only_here,
                "seeds_only_first": self.only_base, "seeds_more_here": self.more_here,
                "seeds_more_first": self.more_base}


def oom_pairs(comparison: Comparison) -> Iterator[tuple[str, OomPairs]]:
    """Each policy after the first with the first."""
    first, *others = comparison.runs
    for policy in others:
        result = OomPairs()
        for run, base in zip(comparison.runs[policy], comparison.runs[first], strict=True):
            here, there = (int(each.values["oom_kills"] or 0) for each in (run, base))
            result.here, result.base = result.here + here, result.base + there
            result.more_here, result.more_base = result.more_here + (here > there), result.more_base + (there > here)
            if here and not there:
                result.only_here.append(run.seed)
            if there and not here:
                result.only_base.append(run.seed)
        yield policy, result
