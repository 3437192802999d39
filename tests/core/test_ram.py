"""RAM as Python sees it: bounds, sizes, atomics between processes."""

from __future__ import annotations

import mmap
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpuemu.core import Ram
from cpuemu.layout import Op


def word(offset: int, size: int) -> int:
    return offset << 2 | (size.bit_length() - 1)


@given(st.sampled_from([1, 2, 4, 8]), st.integers(-(1 << 64), 1 << 64))
@settings(deadline=None)
def test_a_store_is_taken_modulo_the_size(size: int, value: int) -> None:
    ram = Ram(bytearray(64))
    ram.store(8, size, value)
    assert ram.load(8, size) == value % (1 << 8 * size)
    assert ram.read(word(8, size)) == ram.load(8, size)
    assert all(ram.load(at, 1) == 0 for at in [*range(8), *range(8 + size, 64)])


def test_nothing_outside_is_touched() -> None:
    ram = Ram(bytearray(64))
    for call in (lambda: ram.load(60, 8), lambda: ram.load(-1, 1), lambda: ram.store(64, 1, 0),
                 lambda: ram.read(word(64, 4)), lambda: ram.read(word(6, 4)), lambda: ram.add(word(62, 4), 1)):
        with pytest.raises(IndexError):
            call()
    with pytest.raises(TypeError):
        ram.xchg(word(0, 2), 1)


@pytest.mark.parametrize("size", [4, 8])
def test_atomics_return_what_they_promise(size: int) -> None:
    ram, at = Ram(bytearray(64)), word(16, size)
    assert ram.add(at, -1) == (1 << 8 * size) - 1
    assert ram.add(at, 3) == 2
    assert ram.xchg(at, 12) == 2
    assert ram.set_bits(at, 3) == 12
    assert ram.clear_bits(at, 5) == 15
    assert ram.read(at) == 10
    assert not ram.cmpxchg(at, 11, 1)
    assert ram.cmpxchg(at, 10, 1)
    assert ram.read(at) == 1


@pytest.mark.parametrize(("op", "value", "holds"), [
    (Op.EQ, 5, True), (Op.EQ, 4, False), (Op.NE, 4, True), (Op.NE, 5, False), (Op.GE, 5, True), (Op.GE, 6, False),
    (Op.LE, 5, True), (Op.LE, 4, False), (Op.MASK_SET, 4, True), (Op.MASK_SET, 2, False), (Op.MASK_CLEAR, 2, True),
    (Op.MASK_CLEAR, 1, False)])
def test_terms(op: Op, value: int, holds: bool) -> None:
    ram = Ram(bytearray(64))
    ram.store(0, 4, 5)
    assert ram.holds(word(0, 4), op, value) is holds


def test_additions_of_four_processes_are_all_there() -> None:
    memory = mmap.mmap(-1, 4096)
    ram, rounds = Ram(memory), 20_000
    pids = []
    for _ in range(4):
        pid = os.fork()
        if pid == 0:
            for _ in range(rounds):
                ram.add(word(0, 8), 1)
            os._exit(0)
        pids.append(pid)
    assert all(os.waitpid(pid, 0)[1] == 0 for pid in pids)
    assert ram.load(0, 8) == 4 * rounds
