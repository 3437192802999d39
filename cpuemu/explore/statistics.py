"""What so many schedules say: rates with intervals, and what none of them says."""

from __future__ import annotations

from math import sqrt

Z = 1.959964
"""Two-sided 95 % of a normal distribution."""


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
