"""What an exploration says at its end: as data for ``--json``, and in sentences."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import asdict
from math import ceil, isinf
from pathlib import Path
from typing import Any

from cpuemu.explore.statistics import Discovery, Survival, at_most, discovery, wilson
from cpuemu.explore.tally import Report, Search, Tally


def as_data(name: str, report: Report, files: Sequence[Path]) -> dict[str, Any]:
    """Plain data; docs/exploring.md says what each of it means."""
    points = report.points
    return {
        "scenario": name, "schedules": report.schedules, "failures": report.failures, "first": report.first,
        "distinct": len(report.traces),
        "orders": len(report.orders), "handovers": len(report.handovers), "interrupted": report.interrupted,
        "steps": report.steps, "deliveries": report.deliveries, "actors": report.actors, "cut": report.cut,
        "all_steps": report.all_steps, "decisions": report.decisions,
        "strategies": {key: _tally_data(key, tally, report) for key, tally in report.tallies.items()},
        "signatures": dict(report.signatures), "files": [str(path) for path in files],
        "points": {"ran": points.ran, "private": points.private, "words": points.words,
                   "shared_words": points.shared_words, "pairs": sorted(report.pairs),
                   "last_new_pair": report.last_new_pair},
        "search": asdict(report.search) if report.search else None,
    }


def _tally_data(name: str, tally: Tally, report: Report) -> dict[str, Any]:
    low, high = wilson(tally.failures, tally.schedules)
    proof = report.proof(name)
    return {
        "schedules": tally.schedules, "failures": tally.failures, "first": tally.first,
        "rate": {"mean": tally.failures / tally.schedules if tally.schedules else None, "low": low, "high": high},
        "to_failure": asdict(tally.survival), "series": 1 + tally.series_before,
        "parameters": tally.series.parameters,
        "orders": _discovery_data(discovery(tally.series.orders.values())),
        "handovers": _discovery_data(tally.discovery()), "proof": proof._asdict() if proof else None,
    }


def _discovery_data(found: Discovery) -> dict[str, Any]:
    return {key: None if isinf(value) else value for key, value in asdict(found).items()}


def rate(tally: Tally) -> str:
    """The share of schedules that failed, with its interval."""
    if not tally.failures:
        return "–"
    low, high = wilson(tally.failures, tally.schedules)
    return f"{tally.failures / tally.schedules:.3f} ({low:.3f}–{high:.3f})"


def median(found: Survival) -> str:
    """Schedules to a failure: the median and its interval; what lies beyond what was observed is left open."""
    if found.median is None:
        return "–"
    return f"{found.median} ({found.low}–{found.high if found.high is not None else ''})"


def next_new(tally: Tally) -> str:
    """The probability that the next schedule hands words over as none did before."""
    found = tally.discovery()
    return f"{found.probability:.2f} (≤ {found.at_most:.2f})" if found.draws else "–"


def sentences(report: Report) -> Generator[str]:
    """Signatures, what was seen, what is proved, the verdict."""
    for signature, count in report.signatures.most_common():
        yield f"{count} × {signature}"
    if report.schedules:
        yield from _seen(report)
    yield from _proofs(report)
    yield _verdict(report)


def _seen(report: Report) -> Generator[str]:
    points = report.points
    yield (f"seen: {len(report.orders):,} orders of what conflicts, {len(report.handovers):,} ways of handing words "
           f"over, {len(report.pairs)} ordered pairs of points (last new one: schedule {report.last_new_pair:,})")
    yield (f"points: {len(points.ran)} ran, {len(points.private)} of them only at words of one actor; "
           f"{report.decisions:,} of {report.all_steps:,} steps were decided, the others forced; nothing is "
           "interleaved between points")
    if report.cut:
        yield f"{report.cut} schedules were cut by the limit of steps"


def _proofs(report: Report) -> Generator[str]:
    for name in report.tallies:
        proof = report.proof(name)
        if proof is None or proof.missed > .999999:
            continue
        yield (f"{name}: a bug of depth {proof.depth} is missed by {proof.runs:,} schedules with probability at most "
               f"{_probability(proof.missed)} ({proof.actors} actors, at most {proof.steps} steps)")


def _probability(value: float) -> str:
    """Never less than it is."""
    if value < .001:
        return f"{value * 1.05:.1e}"
    digits = 6 if value > .99 else 3
    return f"{min(1, ceil(value * 10 ** digits) / 10 ** digits):g}"


def _verdict(report: Report) -> str:
    if report.search is not None:
        return f"verdict: {report.failures} of {report.schedules:,} schedules failed; {_searched(report)}"
    if report.failures:
        return f"verdict: {report.failures} of {report.schedules:,} schedules failed"
    return (f"verdict: none of {report.schedules:,} schedules failed: under these strategies at most "
            f"{at_most(report.schedules):.2g} of all do, with 95 % confidence")


def _entered(search: Search) -> str:
    """Of a search that tells states apart."""
    size = f"{search.states:,} states, {search.transitions:,} steps between them"
    if search.torn:
        return f"{size}; {search.torn} of {search.again} that were walked again led elsewhere: no state was whole"
    size += f" ({search.again:,} walked again, all to where they led before)"
    if not search.exhausted:
        return f"{size}, {search.waiting:,} steps from them are still to be taken: not all"
    way = (f"every schedule ends, within {search.longest} steps" if search.longest is not None else
           "some schedules go round for ever, of which nothing is said but that they fail nowhere on their way")
    return (f"complete: {size}, with any number of preemptions and interrupts; {way}; no time passes while somebody "
            "can move, and what is left to do when the last task has ended is done in turn")


def _searched(report: Report) -> str:
    """The word "complete" is for what was run to its end, every schedule whole."""
    search = report.search
    assert search is not None
    size = f"{report.deliveries} interrupts, {report.steps} steps"
    if report.cut:
        return f"{report.cut} of them were cut by the limit of steps, so nothing is said of the others"
    if search.states is not None:
        return _entered(search)
    if search.classes is not None:
        if search.exhausted:
            return (f"complete: one schedule of each of {search.classes:,} classes, with any number of preemptions, "
                    f"up to {size}; two are of one class where their points declare no conflict")
        return f"about {search.done:.2g} of the classes were run: not all"
    if search.exhausted:
        bound = f"{search.bound} preemptions" if search.bound is not None else "any number of preemptions"
        return f"complete up to {bound}, {size}"
    left = f"about {search.done:.2g} of the whole tree was run"
    if search.preemptions >= 0:
        return f"complete up to {search.preemptions} preemptions, {size} at most; {left}"
    return f"{left}: not all, of no number of preemptions"


