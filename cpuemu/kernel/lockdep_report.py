"""What lockdep knows, in the shape in which Linux prints it (kernel/lockdep.c, v3.2).

Invariant:     reads RAM only: lockdep's first report is its last, so what stands there is what it was about.
Writers:       none.
Steps:         none.
Not modelled:  the state letters in braces, stacks of each acquisition: the site of the first one stands for both.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from cpuemu.kernel.lock_graph import cycle, reach
from cpuemu.layout import LOCK_CLASSES, LockUsage, Machine
from cpuemu.sites import site_name

BOTH = LockUsage.IN_HARDIRQ | LockUsage.HARDIRQ_ON
RULE = "-" * 55
BAR = "=" * 55
CPUS = ("       CPU0                    CPU1", "       ----                    ----")


def lockdep_report(machine: Machine, rule: str) -> list[str]:
    """Lines for a finding of lockdep's; nothing for any other rule, or where RAM does not have it."""
    shapes = {"lock-order": _circular, "recursive-lock": _recursive, "irq-unsafe-lock": _inconsistent,
              "irq-lock-inversion": _inversion}
    shape = shapes.get(rule)
    return list(shape(machine)) if shape else []


def _heading(machine: Machine, text: str) -> Iterator[str]:
    yield from (BAR, f"[ INFO: {text} ]", RULE)


def _circular(machine: Machine) -> Iterator[str]:
    chain = cycle(machine)
    if not chain:
        return
    yield from _heading(machine, "possible circular locking dependency detected")
    yield "the existing dependency chain (in reverse order) is:"
    for depth, (first, second) in reversed(list(enumerate(pairwise(chain)))):
        known = machine.lock_classes[first]
        yield (f"-> #{depth} ({LOCK_CLASSES[second]}): taken at {site_name(machine, known.after_site[second])}, "
               f"under ({LOCK_CLASSES[first]}), taken at {site_name(machine, known.held_site[second])}")
    yield from _unsafe(LOCK_CLASSES[chain[0]], LOCK_CLASSES[chain[1]])


def _unsafe(first: str, second: str) -> Iterator[str]:
    """What the two CPUs would have to do."""
    yield from (" Possible unsafe locking scenario:", *CPUS, f"  lock({first});",
                f"                               lock({second});",
                f"                               lock({first});", f"  lock({second});", " *** DEADLOCK ***")


def _recursive(machine: Machine) -> Iterator[str]:
    for each in machine.lock_classes:
        if each.after >> each.index & 1:
            name = LOCK_CLASSES[each.index]
            yield from _heading(machine, "possible recursive locking detected")
            yield f"trying to acquire lock: ({name}), at: {site_name(machine, each.after_site[each.index])}"
            yield "but task is already holding lock:"
            yield f" ({name}), at: {site_name(machine, each.held_site[each.index])}"
            yield from (" Possible unsafe locking scenario:", "       CPU0", "       ----", f"  lock({name});",
                        f"  lock({name});", " *** DEADLOCK ***")
            return


def _inconsistent(machine: Machine) -> Iterator[str]:
    for each in machine.lock_classes:
        if each.usage & BOTH == BOTH:
            name = LOCK_CLASSES[each.index]
            inside, outside = (site_name(machine, each.usage_site[at]) for at in range(2))
            yield from _heading(machine, "inconsistent lock state")
            yield "inconsistent {IN-HARDIRQ-W} -> {HARDIRQ-ON-W} usage."
            yield f"({name}): in an interrupt at {inside}, with interrupts on at {outside}"
            yield from (" Possible unsafe locking scenario:", "       CPU0", "       ----", f"  lock({name});",
                        "  <Interrupt>", f"    lock({name});", " *** DEADLOCK ***")
            return


def _inversion(machine: Machine) -> Iterator[str]:
    classes = machine.lock_classes
    for safe in classes:
        if not safe.usage & LockUsage.IN_HARDIRQ:
            continue
        for behind in reach(machine, safe.index)[1:]:
            unsafe = classes[behind]
            if unsafe.usage & LockUsage.HARDIRQ_ON:
                first, second = LOCK_CLASSES[safe.index], LOCK_CLASSES[unsafe.index]
                yield from _heading(machine, "HARDIRQ-safe -> HARDIRQ-unsafe lock order detected")
                yield f"a HARDIRQ-irq-safe lock: ({first}), taken in an interrupt at {_used(machine, safe.index, 0)}"
                yield f"to a HARDIRQ-irq-unsafe lock: ({second}), with interrupts on at " + _used(machine, behind, 1)
                yield from (" Possible interrupt unsafe locking scenario:", *CPUS, f"  lock({second});",
                            "                               local_irq_disable();",
                            f"                               lock({first});",
                            f"                               lock({second});", "  <Interrupt>", f"    lock({first});",
                            " *** DEADLOCK ***")
                return


def _used(machine: Machine, number: int, at: int) -> str:
    return site_name(machine, machine.lock_classes[number].usage_site[at])
