"""Failures that are the same have one name; failures that are not have two."""

from __future__ import annotations

import pytest

from cpuemu.explore.actors import actor_name, actor_named, coordinator
from cpuemu.explore.signature import signature


def test_the_same_on_other_cpus_is_the_same() -> None:
    stack = "csd_lock:85 < smp_call_function_many:12 < on_each_cpu:3 < _system_call:9 < run_task:1"
    one = signature("failed", "ipi-to-offline (known: 13b): call interrupt to cpu 3, which is offline", stack)
    other = signature("failed", "ipi-to-offline (known: 13b): call interrupt to cpu 1, which is offline",
                      stack.replace("12", "13"))
    assert one == other == ("failed: ipi-to-offline (known: 13b): call interrupt to cpu N, which is offline in "
                            "csd_lock < smp_call_function_many < on_each_cpu")
    assert one != signature("failed", "ipi-to-offline (known: 4): call interrupt to cpu 3, which is offline", stack)
    assert one != signature("failed", "ipi-to-offline (known: 13b): call interrupt to cpu 3, which is offline", "other")


@pytest.mark.parametrize("others", [
    "deadlock: w/1 -> w/2 -> w/1; w/1 waits 0.2 s for cpus 1, 2 and 3; w/2 waits 1.0 s for cpu 4",
    "deadlock: w/2 -> w/0 -> w/3 -> w/2; w/3 waits 2.2 s for cpu 7; w/2 waits 1.0 s for cpu 4; w/0 waits 1 s for cpu 1",
])
def test_a_deadlock_is_who_waits_where_however_many_they_are(others: str) -> None:
    assert signature("deadlock", others) == "deadlock: deadlock: w/N; w/N waits N s for cpu N"


def test_actors_have_names_that_do_not_depend_on_how_many_there_are() -> None:
    for cpus in (1, 2, 5):
        names = [actor_name(actor, cpus) for actor in range(coordinator(cpus) + 1)]
        assert [actor_named(name, cpus) for name in names] == list(range(coordinator(cpus) + 1))
        assert (names[0], names[cpus + 1], names[-1]) == ("0", "irq0.call", "plug")
    for name in ("3", "irq3.call", "irq1.none", "irq", "", "actor9"):
        assert actor_named(name, 3) is None
