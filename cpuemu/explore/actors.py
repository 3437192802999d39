"""Actors by name: their numbers depend on how many CPUs there are, their names do not.

``2`` is a CPU, ``irq1.call`` the delivery of a call interrupt to CPU 1, ``plug`` the coordinator.
"""

from __future__ import annotations

import re

from cpuemu.layout import Vector

PLUG = "plug"
COORDINATOR = "the coordinator"
VECTORS = {Vector.RESCHEDULE: "resched", Vector.CALL_FUNCTION: "call", Vector.CALL_FUNCTION_SINGLE: "single",
           Vector.PLATFORM: "platform", Vector.NMI: "nmi"}
_NUMBERS = {name: vector for vector, name in VECTORS.items()}
_NAME = re.compile(r"(\d+)|irq(\d+)\.([a-z]+)")


def actor_name(actor: int, cpus: int) -> str:
    """Of an actor of a machine with so many CPUs."""
    if actor < cpus:
        return str(actor)
    cpu, vector = divmod(actor - cpus, Vector.NR)
    if cpu < cpus:
        return f"irq{cpu}.{VECTORS[Vector(vector)]}"
    return PLUG if actor == coordinator(cpus) else f"actor{actor}"


def actor_named(name: str, cpus: int) -> int | None:
    """Its number; None for one that such a machine does not have."""
    if name == PLUG:
        return coordinator(cpus)
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    cpu = int(found[1] or found[2])
    if cpu >= cpus:
        return None
    if found[1]:
        return cpu
    vector = _NUMBERS.get(found[3])
    return None if vector is None else cpus + cpu * Vector.NR + vector


def coordinator(cpus: int) -> int:
    """Its number: the deliveries come before it."""
    return cpus * (1 + Vector.NR)


def is_delivery(name: str) -> bool:
    return name.startswith("irq")
