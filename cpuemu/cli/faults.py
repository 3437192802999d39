"""``--fault NAME[:ARGUMENT]``: from words to the plan in RAM."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cpuemu.errors import UserError
from cpuemu.faults import BY_NAME, CERTAIN, FAULTS, NOTIFIERS, Argument, Fault, FaultType
from cpuemu.layout import Machine

Plan = Mapping[Fault, tuple[int, int]]
"""Rate in a million, and argument, of each fault that was asked for (layout.FaultPlan)."""


def usage() -> str:
    """Every fault with its argument, for the help."""
    return ", ".join(f"{each.name}:{each.argument.value}" if each.default is None
                     else f"{each.name}[:{each.argument.value}]" for each in FAULTS)


def planned(texts: Iterable[str], cpus: int) -> Plan:
    """What ``texts`` ask for on a machine of so many CPUs.  Raises UserError."""
    plan: dict[Fault, tuple[int, int]] = {}
    for text in texts:
        name, colon, rest = text.partition(":")
        kind = BY_NAME.get(name)
        if kind is None:
            raise UserError(f"--fault {text}: no such fault; give one of {usage()}")
        if kind.fault in plan:
            raise UserError(f"--fault {text}: {name} is asked for twice; give it once")
        plan[kind.fault] = _one(text, kind, rest if colon else None, cpus)
    return plan


def _one(text: str, kind: FaultType, given: str | None, cpus: int) -> tuple[int, int]:
    if kind.argument is Argument.NOTIFIER:
        return kind.rate, _notifiers(text, given)
    number = _number(text, kind, given)
    if kind.argument is Argument.CPU:
        if number >= cpus:
            raise UserError(f"--fault {text}: this machine has CPUs 0 to {cpus - 1}")
        return kind.rate, int(number)
    if kind.argument is Argument.RATE:
        return max(1, round(number * CERTAIN)), 0
    return kind.rate, max(1, round(number * (1 if kind.argument is Argument.MICROSECONDS else 1_000_000)))


def _number(text: str, kind: FaultType, given: str | None) -> float:
    """The argument; a rate or a time is above 0, a CPU is a whole number."""
    whole = kind.argument is Argument.CPU
    try:
        number = kind.default if given is None else float(int(given) if whole else float(given))
    except ValueError:
        number = None
    if number is None or not (number >= 0 if whole else number > 0) or not number <= kind.most:
        limits = {Argument.CPU: "the number of a CPU", Argument.RATE: "a share of all occasions, above 0 and up to 1",
                  Argument.MICROSECONDS: f"microseconds, above 0 and up to {kind.most:g}",
                  Argument.SECONDS: f"seconds, above 0 and up to {kind.most:g}"}
        example = 1 if whole else kind.default
        raise UserError(f"--fault {text}: give {limits[kind.argument]}, as in {kind.name}:{example:g}")
    return number


def _notifiers(text: str, given: str | None) -> int:
    if given is None:
        return (1 << len(NOTIFIERS)) - 1
    if given not in NOTIFIERS:
        raise UserError(f"--fault {text}: no notifier that may fail; give {' or '.join(NOTIFIERS)}")
    return 1 << NOTIFIERS.index(given)


def write_plan(machine: Machine, plan: Plan, seed: int) -> None:
    """The plan, and each CPU's random stream, into RAM.  Context: before power-on."""
    for fault, (rate, argument) in plan.items():
        machine.faults[fault].rate, machine.faults[fault].argument = rate, argument
    for cpu in machine.cpus:
        cpu.fault_rng = seed * 1_000_003 + cpu.index
