"""What so many schedules say: rates with intervals, what none of them says, and what has not been seen."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from math import exp, inf, log, sqrt

Z = 1.959964
"""Two-sided 95 % of a normal distribution."""
MCALLESTER_SCHAPIRE = 2 * sqrt(2) + sqrt(3)
MISS = 0.05


def wilson(found: int, of: int) -> tuple[float, float]:
    """The 95 % interval of a rate (Wilson 1927)."""
    if not of:
        return 0.0, 1.0
    rate, spread = found / of, Z * Z / of
    middle = (rate + spread / 2) / (1 + spread)
    half = Z * sqrt(rate * (1 - rate) / of + Z * Z / (4 * of * of)) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)


def at_most(of: int) -> float:
    """The rate that "none of so many" excludes with 95 % confidence (rule of three)."""
    return min(1.0, 3 / of) if of else 1.0


@dataclass(frozen=True)
class Discovery:
    """What a series of draws from one distribution says of the species that it has not met.

    ``probability``: that the next draw is of a new one (Good 1953: singletons / draws); ``at_most``: 95 % upper bound
    (McAllester, Schapire 2000).  ``missing``: how many there are at least that were not met (Chao 1984).
    """

    species: int
    draws: int
    probability: float
    at_most: float
    missing: float


def discovery(counts: Collection[int]) -> Discovery:
    """``counts``: of each species met, how often."""
    draws, once, twice = sum(counts), sum(count == 1 for count in counts), sum(count == 2 for count in counts)
    if not draws:
        return Discovery(0, 0, 1.0, 1.0, inf)
    share = once / draws
    bound = min(1.0, share + MCALLESTER_SCHAPIRE * sqrt(log(3 / MISS) / draws))
    missing = once * once / (2 * twice) if twice else once * (once - 1) / 2
    return Discovery(len(counts), draws, share, bound, missing)


@dataclass(frozen=True)
class Survival:
    """Schedules to a failure, as a survival curve (Kaplan, Meier 1958).

    ``median``, ``low``, ``high``: its median and the 95 % interval of that (Brookmeyer, Crowley 1982); None: beyond
    what was observed.  ``curve``: (schedules, share that has not failed by then).
    """

    tries: int
    failed: int
    median: int | None
    low: int | None
    high: int | None
    curve: list[tuple[int, float]]


def survival(tries: Iterable[tuple[int, bool]]) -> Survival:
    """``tries``: of each, how many schedules it took, and whether it ended with a failure or just ended."""
    ordered = sorted(tries)
    left, share, spread = len(ordered), 1.0, 0.0
    curve: list[tuple[int, float]] = []
    median = low = high = None
    for schedules in sorted({number for number, failed in ordered if failed}):
        left = sum(number >= schedules for number, _ in ordered)
        failures = sum(number == schedules and failed for number, failed in ordered)
        share *= 1 - failures / left
        spread += failures / (left * (left - failures)) if left > failures else inf  # Greenwood
        curve.append((schedules, share))
        below, above = _interval(share, spread)
        median = schedules if median is None and share <= .5 else median
        low = schedules if low is None and below <= .5 else low
        high = schedules if high is None and above <= .5 else high
    return Survival(len(ordered), sum(failed for _, failed in ordered), median, low, high, curve)


def _interval(share: float, spread: float) -> tuple[float, float]:
    """95 % of a point of the curve, on the log(-log) scale, so that it stays between 0 and 1."""
    if not share:  # nobody is left: how much longer it could have taken is not known
        return 0.0, 1.0
    half = Z * sqrt(spread) / abs(log(share))
    return exp(log(share) * exp(half)), exp(log(share) * exp(-half))
