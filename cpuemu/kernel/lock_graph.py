"""The graph of lock classes, as lockdep has come to know it: which was taken while which was held.

Invariant:     reads RAM only: it serves the check of a running machine and the report of a dead one.
Writers:       none.
Steps:         none.
Not modelled:  -
"""

from __future__ import annotations

from cpuemu.layout import LOCK_CLASSES, Machine


def after(machine: Machine, number: int) -> list[int]:
    bits = machine.lock_classes[number].after
    return [each for each in range(len(LOCK_CLASSES)) if bits >> each & 1]


def before(machine: Machine, number: int) -> list[int]:
    return [each for each in range(len(LOCK_CLASSES)) if machine.lock_classes[each].after >> number & 1]


def reach(machine: Machine, start: int, backwards: bool = False) -> list[int]:
    """Every class behind (before) this one, itself included."""
    step = before if backwards else after
    found = [start]
    for each in found:
        found += [other for other in step(machine, each) if other not in found]
    return found


def way(machine: Machine, start: int, end: int) -> list[int]:
    """The shortest chain of classes from one to another; empty when there is none."""
    ways = [[start]]
    seen = {start}
    for chain in ways:
        if chain[-1] == end:
            return chain
        for other in after(machine, chain[-1]):
            if other not in seen:
                seen.add(other)
                ways.append([*chain, other])
    return []


def cycle(machine: Machine) -> list[int]:
    """A shortest chain of classes that comes back to its first; empty when there is none."""
    found = [[start, *back] for start in range(len(LOCK_CLASSES)) for first in after(machine, start)
             if (back := way(machine, first, start))]
    return min(found, key=len, default=[])
