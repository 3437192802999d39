"""RAM as it was: pages that have changed are written, and no others."""

from __future__ import annotations

import mmap

import pytest

from cpuemu.core import Ram

PAGE = 4096


def test_pages_that_have_changed_are_written_and_no_others() -> None:
    mapping = mmap.mmap(-1, 5 * PAGE)
    ram = Ram(mapping)
    mapping[:] = bytes(range(256)) * (5 * PAGE // 256)
    copy = ram.whole()
    assert ram.restore(copy) == 0
    for offset in (0, PAGE - 1, 3 * PAGE + 7, 5 * PAGE - 1):
        mapping[offset] ^= 1
    assert ram.restore(copy) == 3
    assert mapping[:] == copy


def test_a_last_page_that_is_not_whole_is_restored_too() -> None:
    memory = bytearray(PAGE + 10)
    ram = Ram(memory)
    copy = ram.whole()
    memory[-1] = 1
    assert ram.restore(copy) == 1
    assert memory == bytearray(PAGE + 10)


def test_a_copy_of_another_size_is_refused() -> None:
    ram = Ram(bytearray(PAGE))
    with pytest.raises(IndexError, match="a copy of 0x10 bytes, and RAM has 0x1000"):
        ram.restore(bytes(16))
