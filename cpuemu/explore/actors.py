"""Actors by name: their numbers depend on how many CPUs there are, their names do not.

``2`` is a CPU, ``irq1.call`` the delivery of a call interrupt to CPU 1, ``plug`` the coordinator.  Then come faults
that strike, in the order of their names: ``lost1.call`` and ``again1.call``, ``death1``, ``nomem1``, ``notifier1``.
"""

from __future__ import annotations

import re

from cpuemu.faults import DECIDED
from cpuemu.layout import Vector

PLUG = "plug"
COORDINATOR = "the coordinator"
VECTORS = {Vector.RESCHEDULE: "resched", Vector.CALL_FUNCTION: "call", Vector.CALL_FUNCTION_SINGLE: "single",
           Vector.PLATFORM: "platform", Vector.NMI: "nmi"}
_NUMBERS = {name: vector for vector, name in VECTORS.items()}
FAULTS = dict(zip(("lost", "again", "death", "nomem", "notifier"), DECIDED, strict=True))
"""Names of the actors to names of the faults; the first two strike at a vector."""
_OF_VECTOR = 2
_NAME = re.compile(rf"(\d+)|(irq|{'|'.join(FAULTS)})(\d+)(?:\.([a-z]+))?")


def actor_name(actor: int, cpus: int) -> str:
    """Of an actor of a machine with so many CPUs."""
    if actor < cpus:
        return str(actor)
    cpu, vector = divmod(actor - cpus, Vector.NR)
    if cpu < cpus:
        return f"irq{cpu}.{VECTORS[Vector(vector)]}"
    if actor == coordinator(cpus):
        return PLUG
    if actor >= actors(cpus, faults=True):
        return f"actor{actor}"
    fault, cpu, vector = fault_of(actor, cpus)
    name = next(name for name, each in FAULTS.items() if each == fault)
    return f"{name}{cpu}.{VECTORS[Vector(vector)]}" if DECIDED.index(fault) < _OF_VECTOR else f"{name}{cpu}"


def actor_named(name: str, cpus: int) -> int | None:
    """Its number; None for one that such a machine does not have."""
    if name == PLUG:
        return coordinator(cpus)
    found = _NAME.fullmatch(name)
    if found is None or (cpu := int(found[1] or found[3])) >= cpus:
        return None
    if found[1]:
        return cpu
    vector = _NUMBERS.get(found[4] or "")
    fault = FAULTS.get(found[2])
    if (vector is None) != (fault in DECIDED[_OF_VECTOR:]):
        return None
    if fault:
        return fault_actor(fault, cpu, vector or 0, cpus)
    return None if vector is None else cpus + cpu * Vector.NR + vector


def fault_actor(fault: str, cpu: int, vector: int, cpus: int) -> int:
    """The number of a fault that strikes a CPU, at a vector if it is one of interrupts."""
    kind = DECIDED.index(fault)
    first = coordinator(cpus) + 1
    if kind < _OF_VECTOR:
        return first + (kind * cpus + cpu) * Vector.NR + vector
    return first + _OF_VECTOR * cpus * Vector.NR + (kind - _OF_VECTOR) * cpus + cpu


def fault_of(actor: int, cpus: int) -> tuple[str, int, int]:
    """Fault, CPU and vector of a number; vector 0 where there is none."""
    place = actor - coordinator(cpus) - 1
    kind, rest = divmod(place, cpus * Vector.NR)
    if kind < _OF_VECTOR:
        return DECIDED[kind], *divmod(rest, Vector.NR)
    kind, cpu = divmod(place - _OF_VECTOR * cpus * Vector.NR, cpus)
    return DECIDED[_OF_VECTOR + kind], cpu, 0


def actors(cpus: int, faults: bool) -> int:
    """How many there are: numbers are below."""
    others = coordinator(cpus) + 1
    return others + cpus * (_OF_VECTOR * Vector.NR + len(DECIDED) - _OF_VECTOR) if faults else others


def coordinator(cpus: int) -> int:
    """Its number: the deliveries come before it."""
    return cpus * (1 + Vector.NR)


def is_delivery(name: str) -> bool:
    return name.startswith("irq")
