"""The watchdog and frames that never come: which pair is silent, and when one may still come."""

from __future__ import annotations

import pytest

from cpuemu.layout import (
    Vector,
)
from tests.coordinator.watched import Host, Watched, expect


def lost_frame(watched: Watched) -> None:
    watched.waits_for_call(1, 2)
    watched.made.raise_ipi(1, 2, Vector.CALL_FUNCTION, 77, at=watched.now)


def test_a_frame_that_never_comes_names_the_silent_pair(watched: Watched) -> None:
    lost_frame(watched)
    assert watched.look(2).finding is None
    watched.look(1)
    finding = expect(watched, "csd-lock-wait", "the pair cpu 1 -> cpu 2 is silent", "ticket 77", "storm/1 on cpu 1")
    assert finding.cpu == 2


def test_a_busy_receiver_is_told_of_a_lost_frame_too(watched: Watched, host: Host) -> None:
    lost_frame(watched)
    watched.machine.cpus[2].sleeping = 0
    host.runs(2)
    watched.look(3, beat=(2,))
    expect(watched, "csd-lock-wait", "the pair cpu 1 -> cpu 2 is silent")


def test_a_receiver_is_seen_with_interrupts_on(watched: Watched, host: Host) -> None:
    """Who comes later and finds them off, of a CPU that runs, knows that it took none while they were on."""
    words = watched.machine.cpus[2]
    words.sleeping = 0
    host.runs(2)
    watched.look(2, beat=(2,))
    seen = words.open_ns
    assert 0 < seen <= watched.now
    words.irqs_off = 1
    watched.look(2, beat=(2,))
    assert words.open_ns == seen


def test_a_lost_call_comes_before_a_lost_reschedule(watched: Watched) -> None:
    watched.made.raise_ipi(3, 0, Vector.RESCHEDULE, 76, at=watched.now)
    lost_frame(watched)
    watched.look(3)
    expect(watched, "csd-lock-wait", "cpu 1 -> cpu 2")


def test_a_lost_reschedule_alone(watched: Watched) -> None:
    watched.made.raise_ipi(4, 0, Vector.RESCHEDULE, 76, at=watched.now)
    assert watched.look(4).finding is None
    watched.look(1)
    expect(watched, "ipi-lost", "the pair the coordinator -> cpu 0 is silent")


@pytest.mark.parametrize(
    "why", ["irqs off", "in a handler", "in hand", "carried", "receiver starved", "sender starved"])
def test_a_frame_that_may_still_come_is_waited_for(watched: Watched, host: Host, why: str) -> None:
    lost_frame(watched)
    words = watched.machine.cpus[2]
    match why:
        case "irqs off":
            words.irqs_off = 1
        case "in a handler":
            words.hardirq = 1
        case "in hand":
            words.in_hand = 1
        case "carried":
            host.busy_threads = {1}
        case "receiver starved":
            words.sleeping, host.states[2] = 0, "R"
        case "sender starved":
            host.states[1], host.times[1] = "R", (5, 5)
    assert watched.look(8).finding is None
