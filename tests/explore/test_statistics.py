"""What is said of so many schedules, against numbers worked out elsewhere or by hand."""

from __future__ import annotations

from random import Random

import pytest

from cpuemu.explore.statistics import at_most, discovery, survival, wilson


def test_a_rate() -> None:
    """Newcombe (1998), table I: 81 of 263 and 0 of 20."""
    assert wilson(81, 263) == pytest.approx((.2553, .3662), abs=1e-4)
    assert wilson(0, 20) == pytest.approx((0, .1611), abs=1e-4)
    assert at_most(300) == .01 and at_most(0) == 1


def test_discovery_by_hand() -> None:
    found = discovery([1, 1, 1, 2, 2, 5])
    assert (found.species, found.draws, found.probability) == (6, 12, 3 / 12)
    assert found.missing == 9 / 4
    assert found.at_most == 1, "twelve draws say nothing"


def test_discovery_of_known_distributions() -> None:
    """The estimate is near the mass that was really not met; its bound holds nearly always."""
    weights = [1 / rank for rank in range(1, 401)]
    random, held, errors = Random(3), 0, []
    for _ in range(50):
        drawn = random.choices(range(400), weights, k=1000)
        found = discovery([drawn.count(each) for each in set(drawn)])
        unseen = sum(weight for each, weight in enumerate(weights) if each not in set(drawn)) / sum(weights)
        held += unseen <= found.at_most
        errors.append(found.probability - unseen)
        assert found.missing <= 400
    assert held >= 45
    assert abs(sum(errors) / 50) < .01


def test_survival_against_a_textbook() -> None:
    """The 6-MP arm of Freireich et al. (1963): remission times of 21 patients, 9 of whom relapsed."""
    failed = [6, 6, 6, 7, 10, 13, 16, 22, 23]
    ended = [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]
    found = survival([*((time, True) for time in failed), *((time, False) for time in ended)])
    assert [(time, round(share, 3)) for time, share in found.curve] == [
        (6, .857), (7, .807), (10, .753), (13, .690), (16, .627), (22, .538), (23, .448)]
    assert (found.median, found.low, found.high) == (23, 13, None)


def test_survival_at_its_edges() -> None:
    assert survival([]).median is None
    assert survival([(100, False)]).curve == []
    alone = survival([(7, True)])
    assert (alone.median, alone.low, alone.high) == (7, 7, None), "one try says nothing of how long it could take"
