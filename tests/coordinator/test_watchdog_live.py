"""The watchdog of a real machine: a lock that will never be given back is named within a second."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from cpuemu.layout import Lock
from tests.launched import Launched

pytestmark = pytest.mark.timeout(60)


def test_a_cpu_that_waits_for_itself(launch: Callable[..., Launched]) -> None:
    """zone->lock is taken in the name of cpu 2, which soon wants it, as everybody does."""
    run = launch("--cpus", "4", "--workload", "storm", "--memory", "64M", "--seconds", "30").running()
    machine = run.image.machine
    lock = next(each for each in machine.locks if each.name == "zone->lock/DMA32")
    owner = machine.cpus[2]
    word = owner.index + 1 | owner.generation << 16
    while not run.image.ram.cmpxchg(lock.addr(Lock.word), 0, word):
        pass
    lock.holder, lock.since_ns, began = owner.current + 1, time.monotonic_ns(), time.monotonic()
    code, said = run.end(20)
    assert (code, said["verdict"]) == (1, "failed"), (said, run.log)
    finding = said["findings"][0]
    assert finding["rule"] == "deadlock"
    assert "cpu 2" in finding["message"] and "zone->lock/DMA32" in finding["message"]
    assert time.monotonic() - began < 5, "audit and power-off included"
