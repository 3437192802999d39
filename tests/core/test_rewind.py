"""A process that goes back to where it was: memory, descriptors, mappings; what it shares with others stays."""

from __future__ import annotations

import mmap
import os
import struct
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from cpuemu.core import CAN_REWIND, rewind, rewind_here
from tests.launched import wait_for

pytestmark = [pytest.mark.timeout(60),
              pytest.mark.skipif(not CAN_REWIND, reason="this host tells no process which pages are its own")]
TIMES = 20


def _entries(name: str) -> int:
    return sum(1 for _ in Path(f"/proc/self/{name}").iterdir())


def in_a_process(body: Callable[[], None]) -> int:
    """Its exit status."""
    pid = os.fork()
    if not pid:
        status = 70
        try:
            body()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def changes(change: Callable[[dict[str, object]], None], check: Callable[[dict[str, object]], bool]) -> int:
    """Status 0: after each of many times that a process changed something and went back, the check held."""
    told = mmap.mmap(-1, 8)

    def body() -> None:
        state: dict[str, object] = {"old": [str(number) for number in range(50_000)]}
        times = rewind_here()
        if not check(state) or struct.unpack("q", told)[0] != times:
            os._exit(1)
        if times < TIMES:
            change(state)
            told[:] = struct.pack("q", times + 1)
            rewind()

    return in_a_process(body)


def test_objects_are_as_they_were() -> None:
    def change(state: dict[str, object]) -> None:
        old = state["old"]
        assert isinstance(old, list)
        old[::7] = ["new"] * len(old[::7])
        state["new"] = [bytes(size) for size in range(0, 60_000, 50)]

    assert changes(change, lambda state: list(state) == ["old"] and "new" not in state["old"]) == 0  # type: ignore[operator]


def test_what_was_given_back_to_the_host_is_there_again() -> None:
    def change(state: dict[str, object]) -> None:
        state.clear()  # millions of bytes
        state["other"] = bytearray(40 << 20)

    assert changes(change, lambda state: state.get("old") == [str(number) for number in range(50_000)]) == 0


def test_the_stack_is_as_it_was() -> None:
    def deeper(left: int) -> int:
        if left:
            return deeper(left - 1) + 1
        rewind()
        raise AssertionError

    def body() -> None:
        place = [1, 2, 3]
        times = rewind_here()
        assert place == [1, 2, 3]
        if times < TIMES:
            sys.setrecursionlimit(20_000)
            place.append(sorted(range(100), key=lambda number: deeper(500) if number == 99 else 0)[0])

    assert in_a_process(body) == 0


def test_descriptors_and_mappings_made_since_are_gone() -> None:
    def body() -> None:
        rewind_here()
        before = _entries("fd"), len(Path("/proc/self/maps").read_text().splitlines())
        if rewind_here() < TIMES:
            kept = [Path("/dev/null").open(), mmap.mmap(-1, 1 << 20), os.eventfd(0)]  # noqa: SIM115
            assert len(kept) == 3
            rewind()
        after = _entries("fd"), len(Path("/proc/self/maps").read_text().splitlines())
        assert after[0] <= before[0] + 1 and after[1] <= before[1] + 8, (before, after)

    assert in_a_process(body) == 0


def test_threads_that_have_ended_leave_nothing() -> None:
    def change(state: dict[str, object]) -> None:
        thread = threading.Thread(target=lambda: state.update(thread=1))
        thread.start()
        thread.join()
        assert "thread" in state
        wait_for(lambda: _entries("task") == 1, 20, "the host has ended it")

    assert changes(change, lambda state: list(state) == ["old"]) == 0


def test_nobody_goes_back_beside_another_thread() -> None:
    def body() -> None:
        rewind_here()
        end = threading.Event()
        threading.Thread(target=end.wait, daemon=True).start()
        with pytest.raises(RuntimeError, match="2 threads"):
            rewind()
        end.set()

    assert in_a_process(body) == 0


def test_what_is_shared_stays() -> None:
    shared = mmap.mmap(-1, 4096)

    def body() -> None:
        if rewind_here() < TIMES:
            shared[0] += 1
            rewind()
        assert shared[0] == TIMES

    assert in_a_process(body) == 0
