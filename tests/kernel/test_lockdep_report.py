"""What lockdep knows, in Linux's shape: written from RAM, by whoever looks, also at a dead machine."""

from __future__ import annotations

from cpuemu.kernel.lockdep_report import lockdep_report
from cpuemu.layout import LOCK_CLASSES, LockUsage
from cpuemu.sites import site
from tests.handmade import machine

A, B = LOCK_CLASSES.index("zone->lock"), LOCK_CLASSES.index("zone->lru_lock")
FIRST, SECOND = site("rmqueue_bulk:lock"), site("shrink_inactive_list:lock")


def test_locks_in_both_orders() -> None:
    made = machine().machine
    assert lockdep_report(made, "lock-order") == [], "nothing is known yet"
    for held, taken in ((A, B), (B, A)):
        known = made.lock_classes[held]
        known.after, known.held_site[taken], known.after_site[taken] = 1 << taken, FIRST, SECOND
    lines = lockdep_report(made, "lock-order")
    assert lines[1] == "[ INFO: possible circular locking dependency detected ]"
    assert [line for line in lines if line.startswith("-> #")] == [
        "-> #1 (zone->lock): taken at shrink_inactive_list:lock, under (zone->lru_lock), taken at rmqueue_bulk:lock",
        "-> #0 (zone->lru_lock): taken at shrink_inactive_list:lock, under (zone->lock), taken at rmqueue_bulk:lock"]
    assert lines[-1] == " *** DEADLOCK ***"
    assert lockdep_report(made, "deadlock") == []


def test_a_lock_that_an_interrupt_takes_too() -> None:
    made = machine().machine
    known = made.lock_classes[A]
    known.usage, known.usage_site[0], known.usage_site[1] = LockUsage.IN_HARDIRQ | LockUsage.HARDIRQ_ON, FIRST, SECOND
    lines = lockdep_report(made, "irq-unsafe-lock")
    assert "inconsistent {IN-HARDIRQ-W} -> {HARDIRQ-ON-W} usage." in lines and "  <Interrupt>" in lines
    known.usage = LockUsage.IN_HARDIRQ
    behind = made.lock_classes[B]
    behind.usage, known.after, behind.usage_site[1] = LockUsage.HARDIRQ_ON, 1 << B, SECOND
    lines = lockdep_report(made, "irq-lock-inversion")
    assert lines[1] == "[ INFO: HARDIRQ-safe -> HARDIRQ-unsafe lock order detected ]"
    assert "a HARDIRQ-irq-safe lock: (zone->lock), taken in an interrupt at rmqueue_bulk:lock" in lines


def test_a_lock_taken_twice() -> None:
    made = machine().machine
    known = made.lock_classes[A]
    known.after, known.held_site[A], known.after_site[A] = 1 << A, FIRST, SECOND
    lines = lockdep_report(made, "recursive-lock")
    assert "trying to acquire lock: (zone->lock), at: shrink_inactive_list:lock" in lines
