"""Means and shares with confidence intervals: percentile bootstrap over seeds.

The same resampling for everything that has as many seeds, so that pairs stay pairs.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from statistics import fmean

RESAMPLES = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean or a share, and its 95 % interval; with one value the interval is that value."""

    mean: float
    low: float
    high: float

    def plain(self) -> dict[str, float]:
        return {name: round(value, 6) for name, value in asdict(self).items()}


def estimate(values: Sequence[float]) -> Estimate:
    """Of one policy's values, one a seed."""
    return _interval(fmean(values), [fmean(values[i] for i in drawn) for drawn in _resamples(len(values))])


def differences(values: Sequence[float], base: Sequence[float]) -> Estimate:
    """Of the paired differences to the first policy: its interval without 0 is a difference."""
    return estimate([value - other for value, other in zip(values, base, strict=True)])


def share(parts: Sequence[float], wholes: Sequence[float]) -> Estimate | None:
    """Of all seeds' wholes together, the part: seeds are drawn, not single moments, which are no independent draws.

    None where there is nothing to have a share of.
    """
    if not sum(wholes):
        return None
    drawn = [(sum(parts[i] for i in each), sum(wholes[i] for i in each)) for each in _resamples(len(wholes))]
    return _interval(sum(parts) / sum(wholes), [part / whole for part, whole in drawn if whole])


def _interval(value: float, resampled: Sequence[float]) -> Estimate:
    ordered = sorted(resampled)
    edge = int(len(ordered) * (1 - LEVEL) / 2)
    return Estimate(value, ordered[edge], ordered[-edge - 1])


@cache
def _resamples(count: int) -> tuple[Sequence[int], ...]:
    """Which seeds each resample is made of."""
    draw: Callable[..., list[int]] = random.Random(1).choices
    return tuple(draw(range(count), k=count) for _ in range(RESAMPLES))
