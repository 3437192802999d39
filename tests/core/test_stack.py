"""The walk over a stack: every frame outwards, each place asked for once, nothing held that was not held before."""

from __future__ import annotations

import gc
import sys
from types import FrameType

import pytest

from cpuemu.core import Backtrace, _core, _stepped


def outwards(frame: FrameType | None) -> list[FrameType]:
    found = []
    while frame is not None:
        found.append(frame)
        frame = frame.f_back
    return found


def place(frame: FrameType) -> str:
    name = frame.f_code.co_name
    return f"{name}:{frame.f_lineno}" if name.startswith("nest") else ""


BACKTRACE = Backtrace(place)


def nested(depth: int, most: int) -> tuple[list[str], list[str]]:
    if depth:
        return nest_otherwise(depth - 1, most) if depth % 2 else nested(depth - 1, most)
    frame = sys._getframe()
    return BACKTRACE.of(frame, most), [text for text in map(place, outwards(frame)) if text][:most]


def nest_otherwise(depth: int, most: int) -> tuple[list[str], list[str]]:
    return nested(depth, most)


@pytest.mark.parametrize(("depth", "most"), [(0, 14), (3, 14), (9, 14), (30, 14), (30, 100), (30, 1), (5, 0)])
def test_all_frames_in_order_less_the_unnamed_and_not_more_than_asked_for(depth: int, most: int) -> None:
    for _ in range(3):
        found, expected = nested(depth, most)
        assert found == expected
        assert len(found) <= most


def test_a_place_is_asked_for_once_and_each_line_is_another() -> None:
    asked = []

    def told(frame: FrameType) -> str:
        asked.append(frame.f_lineno)
        return str(frame.f_lineno)

    def twice() -> list[str]:
        first = backtrace.of(sys._getframe(), 1)
        second = backtrace.of(sys._getframe(), 1)
        return first + second

    backtrace = Backtrace(told)
    lines = twice()
    assert lines == twice() == [str(number) for number in asked]
    assert int(lines[1]) == int(lines[0]) + 1


@pytest.mark.parametrize("form", [_core.Backtrace, _stepped.Backtrace])
def test_no_reference_is_kept_or_lost(form: type[Backtrace]) -> None:
    def references() -> list[tuple[int, int]]:
        backtrace.of(frame, 100)
        return [(sys.getrefcount(each), sys.getrefcount(each.f_code)) for each in frames]

    backtrace, frame = form(lambda frame: "x"), sys._getframe()
    frames = outwards(frame)
    references()
    gc.collect()  # what other tests have left may hold frames
    before, *_, after = [references() for _ in range(1000)]
    assert before == after


def test_an_error_of_the_place_comes_out() -> None:
    def broken(frame: FrameType) -> str:
        raise ValueError("no name")

    with pytest.raises(ValueError, match="no name"):
        Backtrace(broken).of(sys._getframe(), 5)
