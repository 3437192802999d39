"""What is compared: of one run each number, in the groups and words in which tables and plots show them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cpuemu.coordinator.verdict import KNOWN_DEFECT, Verdict

Value = float | None
"""None: this run has no such number, as the latency of a drain that it never made."""


@dataclass(frozen=True)
class Metric:
    """One number of a run."""

    group: str
    title: str
    of: Callable[[Verdict], Value]
    from_zero: bool = True
    """Whether a drawing's axis begins at 0."""


def per(number: str, each: str) -> Callable[[Verdict], Value]:
    """A counter for each of another's."""
    return lambda v: v.counts[number] / v.counts[each] if v.counts[each] else None


def latency(kind: str, quantile: str) -> Callable[[Verdict], Value]:
    """Microseconds of one quantile, where anything was measured."""
    return lambda v: v.latency_us[kind][quantile] if v.latency_us[kind]["n"] else None


def success(high_order: bool) -> Callable[[Verdict], Value]:
    """Of the allocations of one class, how many in a hundred got their pages."""
    def share(v: Verdict) -> Value:
        got, failed = v.counts["alloc_high_order"], v.counts["alloc_failed_high_order"]
        if not high_order:
            got, failed = v.counts["alloc"] - got, v.counts["alloc_failed"] - failed
        return 100 * got / (got + failed) if got + failed else None
    return share


METRICS: Mapping[str, Metric] = {
    "drains": Metric("drains", "drains of all CPUs", lambda v: v.counts["drain_all"]),
    "concurrent_drains_max": Metric("drains", "at one time, most", lambda v: v.drains_at_once),
    "concurrent_drains_mean": Metric("drains", "at one time, mean", per("drain_overlap", "drain_all")),
    "drains_found_nothing": Metric("drains", "that found no page", lambda v: v.counts["drain_empty"]),
    "pages_per_drain": Metric("drains", "pages freed by a drain", per("drain_found", "drain_all")),
    "ipis_per_drain": Metric("drains", "interrupts sent by a drain", per("drain_ipi", "drain_all")),
    "ipis": Metric("drains", "interrupts of the whole run", lambda v: v.counts["ipi_sent"]),
    "drain_latency_us": Metric("latency, µs", "drain, median", latency("drain_all", "median")),
    "drain_latency_p99_us": Metric("latency, µs", "drain, p99", latency("drain_all", "p99")),
    "alloc_latency_p50_us": Metric("latency, µs", "allocation, p50", latency("alloc", "median")),
    "alloc_latency_p99_us": Metric("latency, µs", "allocation, p99", latency("alloc", "p99")),
    "alloc_latency_max_us": Metric("latency, µs", "allocation, max", latency("alloc", "max")),
    "slowpath_latency_p50_us": Metric("latency, µs", "slow path, p50", latency("alloc_slowpath", "median")),
    "slowpath_latency_p99_us": Metric("latency, µs", "slow path, p99", latency("alloc_slowpath", "p99")),
    "allocations_per_second": Metric("allocation", "allocations a second",
                                     lambda v: v.counts["alloc"] / max(v.seconds, 1e-9)),
    "order_0_success": Metric("allocation", "order 0 that succeeded, %", success(high_order=False), False),
    "high_order_success": Metric("allocation", "high orders that succeeded, %", success(high_order=True), False),
    "failed_allocations": Metric("allocation", "failed", lambda v: v.counts["alloc_failed"]),
    "direct_reclaim": Metric("allocation", "direct reclaims", lambda v: v.counts["direct_reclaim"]),
    "pages_stranded": Metric("allocation", "pages on pcp lists at a direct reclaim", per("stranded", "direct_reclaim")),
    "pages_on_pcp_lists": Metric("allocation", "pages on pcp lists at the end", lambda v: v.pages["pcp"]),
    "oom_kills": Metric("out of memory", "OOM kills", lambda v: v.counts["oom"]),
    "oom_with_no_drain_tried": Metric("out of memory", "with no drain tried", lambda v: v.counts["oom_no_drain"]),
    "oom_after_a_drain": Metric("out of memory", "after a drain",
                                lambda v: v.counts["oom"] - v.counts["oom_no_drain"]),
    "first_oom_seconds": Metric("out of memory", "time to the first, s", lambda v: v.oom.first_kill_seconds),
    "known_defects": Metric("the machine", "runs that showed a known defect",
                            lambda v: float(v.verdict == KNOWN_DEFECT)),
}
