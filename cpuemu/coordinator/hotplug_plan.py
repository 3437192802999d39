"""Which CPU goes or comes next, and when: as recorded, at random, one after the other, or never."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from cpuemu.errors import UserError
from cpuemu.layout import LINE_END, Machine, Mask

SECOND = 1_000_000_000


class Event(Protocol):
    """A hotplug line of a recording (workloads.base.HotplugEvent)."""

    @property
    def line(self) -> int: ...
    @property
    def cpu(self) -> int: ...
    @property
    def up(self) -> bool: ...


@dataclass(frozen=True)
class Change:
    """What is to be done."""

    cpu: int
    up: bool


class Plan(Protocol):
    """Asked whenever no operation is under way."""

    def due(self, now_ns: int) -> Change | None:
        """What is to be done now."""

    def finished(self, now_ns: int) -> bool:
        """An operation is over; whether words that tasks wait for were changed (then everybody is rung)."""

    def over(self) -> bool:
        """Nothing more will come."""

    def wake_ns(self) -> int:
        """When to ask again at the latest, 0: at the next doorbell."""


def online(machine: Machine, cpu: int) -> bool:
    return bool(machine.cpumasks[Mask.ONLINE].bits[cpu // 64] >> cpu % 64 & 1)


def possible(machine: Machine, change: Change) -> bool:
    """Whether it changes anything, and leaves a CPU: the boot CPU stays, as on x86."""
    count = sum(bits.bit_count() for bits in machine.cpumasks[Mask.ONLINE].bits)
    return change.cpu < machine.dims.cpus and online(machine, change.cpu) != change.up and (change.up or count > 1)


class NoHotplug:
    """Nothing goes, nothing comes."""

    def due(self, now_ns: int) -> Change | None:
        return None

    def finished(self, now_ns: int) -> bool:
        return False

    def over(self) -> bool:
        return True

    def wake_ns(self) -> int:
        return 0


class Recorded:
    """At line L of the recording: when every stream has done its lines before L, and not before."""

    def __init__(self, machine: Machine, events: Sequence[Event]) -> None:
        self.machine, self.events, self.next = machine, events, 0
        self._announce()

    def _announce(self) -> None:
        self.machine.header.coordinator_line = LINE_END if self.over() else self.events[self.next].line

    def due(self, now_ns: int) -> Change | None:
        if self.over():
            return None
        event = self.events[self.next]
        if any(stream.next_line < event.line for stream in self.machine.streams):
            return None
        return Change(event.cpu, event.up)

    def finished(self, now_ns: int) -> bool:
        self.next += 1
        self._announce()
        return True

    def over(self) -> bool:
        return self.next >= len(self.events)

    def wake_ns(self) -> int:
        return 0


class Random:
    """A CPU other than 0 goes or comes, at random, ``period`` seconds apart on average."""

    def __init__(self, machine: Machine, seed: int, period_s: float) -> None:
        self.machine, self.period_ns = machine, period_s * SECOND
        self.random = random.Random(seed)
        self.at = 0

    def due(self, now_ns: int) -> Change | None:
        if self.machine.dims.cpus < 2:
            return None
        if not self.at:
            self._draw(now_ns)
        if now_ns < self.at:
            return None
        cpu = self.random.randrange(1, self.machine.dims.cpus)
        return Change(cpu, not online(self.machine, cpu))

    def _draw(self, now_ns: int) -> None:
        self.at = now_ns + int(self.random.expovariate(1.0) * self.period_ns)

    def finished(self, now_ns: int) -> bool:
        self._draw(now_ns)
        return False

    def over(self) -> bool:
        return True  # there is always another one: the workload's end ends it

    def wake_ns(self) -> int:
        return self.at


class Listed:
    """The CPUs of a list go and come back, one after the other, again and again."""

    GAP_NS = 20_000_000

    def __init__(self, machine: Machine, cpus: Sequence[int]) -> None:
        self.machine = machine
        self.changes = [Change(cpu, up) for cpu in cpus for up in (False, True)]
        self.next, self.at = 0, 0

    def due(self, now_ns: int) -> Change | None:
        return self.changes[self.next % len(self.changes)] if now_ns >= self.at else None

    def finished(self, now_ns: int) -> bool:
        self.next += 1
        self.at = now_ns + self.GAP_NS
        return False

    def over(self) -> bool:
        return self.next >= len(self.changes)  # once round at least

    def wake_ns(self) -> int:
        return self.at


DEFAULT_PERIOD_S = 0.1


def plan_for(spec: str, machine: Machine, events: Sequence[Event], seed: int) -> Plan:
    """The plan that ``--hotplug`` asks for.  Raises UserError on what cannot be done."""
    if spec == "none":
        return NoHotplug()
    if spec == "recorded":
        return Recorded(machine, events) if events else NoHotplug()
    name, _, rest = spec.partition(":")
    if name == "random":
        return Random(machine, seed, _period(spec, rest))
    return Listed(machine, listed(spec, machine.dims.cpus))


def _period(spec: str, text: str) -> float:
    try:
        period = float(text) if text else DEFAULT_PERIOD_S
    except ValueError:
        period = 0.0
    if not 0.001 <= period <= 3600:
        raise UserError(f"--hotplug {spec}: {text!r} is not a time between operations; give 0.001 to 3600 seconds, "
                        "as in random:0.5")
    return period


def listed(spec: str, cpus: int) -> list[int]:
    """The CPUs of "N,M,…"."""
    try:
        numbers = [int(part) for part in spec.split(",")]
    except ValueError:
        raise UserError(f"--hotplug {spec}: not a plan; give recorded, none, random[:SECONDS], or CPU numbers "
                        "as in 1,3") from None
    for number in numbers:
        if not 0 < number < cpus:
            why = "the boot CPU cannot go" if number == 0 else f"this machine has CPUs 0 to {cpus - 1}"
            raise UserError(f"--hotplug {spec}: CPU {number} cannot be taken offline: {why}")
    return numbers
