"""Means with confidence intervals: percentile bootstrap, the same resampling for every policy, so pairs stay pairs."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean

RESAMPLES = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean and its 95 % interval; with one value the interval is that value."""

    mean: float
    low: float
    high: float

    def plain(self) -> dict[str, float]:
        return {name: round(value, 6) for name, value in asdict(self).items()}


def estimate(values: Sequence[float]) -> Estimate:
    """Of one policy's values, one a seed."""
    generator = random.Random(1)
    count = len(values)
    means = sorted(fmean(generator.choices(values, k=count)) for _ in range(RESAMPLES))
    edge = int(RESAMPLES * (1 - LEVEL) / 2)
    return Estimate(fmean(values), means[edge], means[-edge - 1])


def differences(values: Sequence[float], base: Sequence[float]) -> Estimate:
    """Of the paired differences to the first policy: its interval without 0 is a difference."""
    return estimate([value - other for value, other in zip(values, base, strict=True)])
