"""The drawing: well-formed, to scale, nothing outside of its panel."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpuemu.cli.plot import PANEL, compact, nice_ticks, svg
from tests.cli.verdicts import comparison, verdict

SVG = "{http://www.w3.org/2000/svg}"


def drawing() -> ElementTree.Element:
    made = comparison({"on-each-cpu": [verdict(1, drain_all=10, alloc=5), verdict(2, drain_all=30, alloc=5)],
                       "<odd>&.py:Mine": [verdict(1, alloc=5), verdict(2, alloc=5)]})
    return ElementTree.fromstring(svg(made, "storm & more"))


def test_a_policy_s_dot_stands_at_its_mean() -> None:
    """Between 10 and 30 the whiskers, at 20 the dot; the other one at 0."""
    groups = [group for group in drawing().iter(f"{SVG}g") if group[0].text in (
        "on-each-cpu: 20 (10–30)", "<odd>&.py:Mine: 0")]
    here, other = groups[0], groups[1]
    dot, zero = (float(next(group.iter(f"{SVG}circle")).get("cx", "")) for group in (here, other))
    path = next(here.iter(f"{SVG}path")).get("d", "")
    low, high = float(path[1:].split()[0]), float(path.split("H")[1].split("M")[0])
    assert dot - zero == pytest.approx(2 * (low - zero), abs=0.2)
    assert high - zero == pytest.approx(3 * (low - zero), abs=0.3)


def test_only_panels_that_say_something() -> None:
    names = [each.text for each in drawing().iter(f"{SVG}text") if "name" in (each.get("class") or "").split()]
    assert "drains of all CPUs" in names and "allocations a second" in names
    assert "OOM kills" not in names, "nobody had one"
    assert "order 0 that succeeded, %" not in names, "100 everywhere, on an axis without 0"


def test_everything_is_inside() -> None:
    root = drawing()
    width, height = float(root.get("width", "")), float(root.get("height", ""))
    panels = [each for each in root.iter(f"{SVG}rect") if each.get("class") == "panel"]
    assert panels
    for each in [*panels, *root.iter(f"{SVG}circle"), *root.iter(f"{SVG}text")]:
        x, y = (float(each.get(name) or each.get(f"c{name}") or "nan") for name in "xy")
        assert 0 <= x <= width and 0 <= y <= height
    assert all(float(each.get("x", "")) + PANEL <= width for each in panels)
    assert "prefers-color-scheme: dark" in (root[0].text or "")


@given(st.floats(0, 1e9), st.floats(0, 1e9))
def test_ticks_hold_the_range_in_few_steps(low: float, span: float) -> None:
    ticks = nice_ticks(low, low + span)
    assert 2 <= len(ticks) <= 6
    assert ticks[0] <= low + 1e-6 * max(1, low) and ticks[-1] >= (low + span) * (1 - 1e-9)
    assert ticks == sorted(set(ticks))


@pytest.mark.parametrize(("number", "text"), [
    (0, "0"), (0.07, "0.07"), (4.234, "4.23"), (9.999, "10"), (14.33, "14.3"), (99.96, "100"), (999.4, "999"),
    (999.6, "1k"), (1234, "1.23k"), (90_527, "90.5k"), (150_000, "150k"), (1_250_000, "1.25M"), (-3.5, "-3.5")])
def test_three_digits(number: float, text: str) -> None:
    assert compact(number) == text
