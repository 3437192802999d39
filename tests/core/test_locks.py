"""Lock words between processes: exclusion, the waiter bit, bounded waits, a holder that is known by name."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from cpuemu.arch.ram import RamFile, create_ram
from cpuemu.core import Core, LeafError
from cpuemu.layout import Dimensions, Lock, first_workload_task
from cpuemu.sites import site

HERE = site("test:locks")
LOCK = 3
WAITERS = 1 << 31


@pytest.fixture
def image(tmp_path: Path) -> RamFile:
    return create_ram(tmp_path, Dimensions(4, 64, 1, first_workload_task(4)))


def core_of(image: RamFile, cpu: int) -> Core:
    return Core(image.ram, None, (0, 0), cpu, cpu + 1)


def take(core: Core) -> None:
    while not core.spin_lock(LOCK, HERE, 100_000):
        pass


def test_four_processes_one_at_a_time(image: RamFile) -> None:
    """A plain word, read and stored apart: every increment is there only if nobody else was inside."""
    rounds = 3_000
    pids = []
    for cpu in range(4):
        pid = os.fork()
        if pid == 0:
            core, pool = core_of(image, cpu), image.machine.header
            for _ in range(rounds):
                take(core)
                pool.managed = pool.managed + 1
                core.spin_unlock(LOCK)
            os._exit(0)
        pids.append(pid)
    assert all(os.waitpid(pid, 0)[1] == 0 for pid in pids)
    assert image.machine.header.managed == 4 * rounds
    assert image.machine.locks[LOCK].word == 0


def test_the_holder_is_known_and_the_wait_is_bounded(image: RamFile) -> None:
    mine, other = core_of(image, 2), core_of(image, 1)
    image.machine.cpus[2].current = 5
    assert mine.spin_trylock(LOCK, HERE)
    record = image.machine.locks[LOCK]
    assert (record.word, record.holder, record.site) == (3 | 3 << 16, 6, HERE)
    assert not other.spin_trylock(LOCK, HERE)
    before = time.monotonic()
    assert not other.spin_lock(LOCK, HERE, 50_000)
    assert 0.04 < time.monotonic() - before < 5
    assert record.word == 3 | 3 << 16 | WAITERS
    with pytest.raises(LeafError, match="not held by cpu 1"):
        other.spin_unlock(LOCK)
    mine.spin_unlock(LOCK)
    assert record.word == 0
    assert image.machine.cpus[1].lock_wait == 0


def test_a_sleeping_waiter_is_woken(image: RamFile) -> None:
    holder = core_of(image, 0)
    assert holder.spin_trylock(LOCK, HERE)
    pid = os.fork()
    if pid == 0:
        # A bound far beyond the test's: only the wake-up can end this in time.
        os._exit(0 if core_of(image, 1).spin_lock(LOCK, HERE, 60_000_000) else 1)
    deadline = time.monotonic() + 20
    word = image.machine.locks[LOCK].addr(Lock.word)
    while not image.ram.read(word) & WAITERS:
        assert time.monotonic() < deadline
        os.sched_yield()
    assert image.machine.cpus[1].lock_wait == LOCK + 1
    holder.spin_unlock(LOCK)
    assert os.waitpid(pid, 0)[1] == 0
    assert image.ram.read(word) & 0xFFFF == 2
    assert time.monotonic() < deadline + 20
