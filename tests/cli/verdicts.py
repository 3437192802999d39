"""Verdicts written by hand, as runs of a comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cpuemu.cli.comparison import Comparison, Run, run_of
from cpuemu.coordinator.oom_moments import Moments, OomMoments
from cpuemu.coordinator.verdict import Finding, Verdict


def verdict(seed: int, known: str = "", moments: Moments | None = None, first_kill: float | None = None,
            **counts: int) -> Verdict:
    """A run of two seconds; ``counts`` by name, the rest 0."""
    made = Verdict("known-defect" if known else "ok", [Finding("rule", "words", known=known)] if known else [],
                   seed=seed, seconds=2.0)
    made.counts.update(counts)
    made.oom = OomMoments(all=moments or Moments(), first_kill_seconds=first_kill)
    return made


def comparison(runs: Mapping[str, Sequence[Verdict]]) -> Comparison:
    return Comparison({policy: [run_of(each) for each in verdicts] for policy, verdicts in runs.items()})


def single(made: Verdict) -> Run:
    return run_of(made)
