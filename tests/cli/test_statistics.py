"""Intervals against values that are known otherwise."""

from __future__ import annotations

import random
from statistics import NormalDist, fmean, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpuemu.cli.statistics import differences, estimate, share


def test_an_interval_holds_the_mean_and_narrows_with_pairs() -> None:
    base = [10.0, 20.0, 30.0, 40.0]
    shifted = [value + 1 for value in base]
    assert estimate(base).low <= 25 <= estimate(base).high
    assert differences(shifted, base).plain() == {"mean": 1, "low": 1, "high": 1}
    assert estimate([5.0]).plain() == {"mean": 5, "low": 5, "high": 5}


def test_of_many_values_it_is_the_normal_interval() -> None:
    draw = random.Random(7)
    values = [draw.gauss(50, 8) for _ in range(400)]
    found, error = estimate(values), NormalDist().inv_cdf(0.975) * stdev(values) / 400**0.5
    assert found.mean == pytest.approx(fmean(values))
    assert (found.low, found.high) == pytest.approx((found.mean - error, found.mean + error), abs=0.12)


def test_it_holds_the_truth_nineteen_times_in_twenty() -> None:
    """Of 150 samples of 20: the percentile bootstrap is a little narrow for so few, and no more than that."""
    draw = random.Random(3)
    held = 0
    for _ in range(150):
        found = estimate([draw.expovariate(0.1) for _ in range(20)])
        held += found.low <= 10 <= found.high
    assert 0.86 <= held / 150 <= 0.99


def test_pairs_see_what_means_alone_do_not() -> None:
    draw = random.Random(5)
    base = [draw.gauss(100, 30) for _ in range(20)]
    here = [value + draw.gauss(3, 1) for value in base]
    assert estimate(here).low < estimate(base).high
    assert differences(here, base).low > 0


def test_a_share_weighs_cases_and_draws_seeds() -> None:
    found = share([90, 0, 0], [90, 5, 5])
    assert found is not None and found.mean == 0.9
    assert (found.low, found.high) == (0, 1)  # one seed alone says 90 of 90, the others nothing: not so sure
    assert share([0, 0], [0, 0]) is None
    whole = share([3, 0, 4], [3, 0, 4])
    assert whole is not None and whole.plain() == {"mean": 1, "low": 1, "high": 1}


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=12))
def test_an_interval_is_in_order_and_within_the_values(values: list[float]) -> None:
    found, room = estimate(values), 1e-9 * max(map(abs, values)) + 1e-12
    assert min(values) - room <= found.low <= found.high <= max(values) + room
    assert found == estimate(values)
