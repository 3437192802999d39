"""``locks``: who holds what since when, who waits for it, and in which orders locks have been taken."""

from __future__ import annotations

from collections.abc import Iterator

from cpuemu.kernel.wait_holders import MUTEXES
from cpuemu.layout import LOCK_CLASSES, CpuState, Lock, LockUsage
from cpuemu.report.crash.reading import Reading


def locks(reading: Reading, words: list[str]) -> Iterator[str]:
    """``locks [-o]``: those held, and who waits for them; ``-o``: the orders seen too."""
    held = [lock for lock in reading.machine.locks if lock.word]
    yield f"locks held: {len(held) or 'none'}"
    for lock in held:
        waited = ", waited for" if lock.word >> 31 & 1 else ""
        yield f"  {name_of(lock)}: held by {_owner(reading, lock)}{waited} (word {lock.word:#x})"
    for cpu in reading.machine.cpus:
        if 0 < (waited_for := cpu.lock_wait) <= len(reading.machine.locks):
            yield (f"  {name_of(reading.machine.locks[waited_for - 1])}: cpu {cpu.index} "
                   f"({reading.image.comm(cpu.current)}) spins for it in {reading.image.site(cpu.lock_wait_site)}")
    if "-o" in words:
        yield from orders(reading)


def name_of(lock: Lock) -> str:
    return lock.name or f"lock {lock.index}"


def held_by_cpu(reading: Reading, number: int) -> list[Lock]:
    """Spinlocks whose word names a CPU, oldest first."""
    found = [lock for lock in reading.machine.locks if lock.index not in MUTEXES and lock.word & 0xFFFF == number + 1]
    return sorted(found, key=lambda each: each.since_ns)


def held_by_task(reading: Reading, number: int) -> list[Lock]:
    """Mutexes whose word names a task, oldest first."""
    found = [lock for lock in reading.machine.locks if lock.index in MUTEXES and mutex_owner(lock) == number]
    return sorted(found, key=lambda each: each.since_ns)


def locks_of_the_dead(reading: Reading) -> list[Lock]:
    """Spinlocks of CPUs whose process died."""
    return [lock for cpu in reading.machine.cpus if cpu.state == CpuState.DEAD
            for lock in held_by_cpu(reading, cpu.index)]


def mutex_owner(lock: Lock) -> int:
    """The task that a mutex' word names, -1 if none."""
    return int((lock.word & 0xFFFF_FFFF & ~(1 << 31)) - 1)


def _owner(reading: Reading, lock: Lock) -> str:
    """Who the word names, and what the owner has written beside it."""
    owner = (lock.word & 0xFFFF) - 1
    mutex = lock.index in MUTEXES
    who = reading.image.comm(owner) if mutex else f"cpu {owner} gen {lock.word >> 16 & 0x7FFF}"
    if not lock.holder:  # between the word and the rest lie a few instructions
        return f"{who}, just taken"
    task = "" if mutex else f" ({reading.image.comm(lock.holder - 1)})"
    return f"{who}{task} since {reading.at(lock.since_ns)}, taken in {reading.image.site(lock.site)}"


def orders(reading: Reading) -> Iterator[str]:
    """Which kinds of locks were taken under which, and where both were first seen (lockdep's classes)."""
    seen = [(outer, inner) for outer in reading.machine.lock_classes for inner in range(len(LOCK_CLASSES))
            if outer.after >> inner & 1 and outer.index < len(LOCK_CLASSES)]
    yield f"lock orders seen: {len(seen) or 'none'}"
    site = reading.image.site
    for outer, inner in seen:
        yield (f"  {LOCK_CLASSES[outer.index]} (taken in {site(outer.held_site[inner])}) -> {LOCK_CLASSES[inner]} "
               f"(taken in {site(outer.after_site[inner])})")
    for each in reading.machine.lock_classes:
        usage = [name for bit, name in ((LockUsage.IN_HARDIRQ, "in interrupts"), (LockUsage.HARDIRQ_ON,
                                                                                 "with interrupts on"))
                 if each.usage & bit]
        if usage and each.index < len(LOCK_CLASSES):
            yield f"  {LOCK_CLASSES[each.index]} is taken {' and '.join(usage)}"
