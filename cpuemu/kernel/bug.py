"""How emulated code reports its own defect (Linux: include/asm-generic/bug.h, kernel/panic.c).

Invariant:     a finding is a value in RAM, written once and complete; nothing is printed for a healthy machine.
Writers:       ``findings`` entries by whoever takes the next number; ``done`` last.
Steps:         none.
Not modelled:  oops, panic_on_warn.

A warning is Linux's own: the machine goes on, the verdict is not ``ok``.  A fatal finding freezes the rings and
stops the machine.  A defect that the profile's release really has carries its zoo number: ``known: 13b``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from cpuemu.arch.cpu import PowerOff
from cpuemu.core import BadPage, DoubleAlloc, DoubleFree, ListCorruption
from cpuemu.events import Event
from cpuemu.kernel import oracles
from cpuemu.kernel.findings import write_finding
from cpuemu.kernel.oracles import Rule
from cpuemu.layout import Severity

if TYPE_CHECKING:
    from cpuemu.arch.cpu import Cpu

_warned: set[tuple[str, str]] = set()


def report(cpu: Cpu, rule: Rule, message: str, known: str = "", cpus: Iterable[int] = (),
           stack: str = "") -> None:
    """Write a finding.  Fatal: freeze the rings, stop the machine, and end this CPU (PowerOff).

    ``cpus``: who is concerned besides this CPU; ``stack``: when it is not the caller's.
    """
    number = write_finding(cpu.ram, cpu.machine, rule, message, cpu.number, cpu.me.current,
                           stack or cpu.backtrace(), known, cpus)
    cpu.core.trace(Event.CPUEMU_FINDING, number)
    if rule.severity >= Severity.FATAL:
        ring_all(cpu)
        raise PowerOff
    cpu.ring_coordinator()


def bad_page(cpu: Cpu, bad: BadPage) -> None:
    """A leaf has found a page, or a list of pages, that is not what it must be: the machine ends."""
    rule = next((rule for kind, rule in BAD_PAGES if isinstance(bad, kind)), oracles.BAD_PAGE)
    report(cpu, rule, f"BUG: Bad page state in process {cpu.current.comm}: {bad}", stack=cpu.backtrace_of(bad))


BAD_PAGES = ((DoubleFree, oracles.DOUBLE_FREE), (DoubleAlloc, oracles.DOUBLE_ALLOC),
             (ListCorruption, oracles.LIST_CORRUPTION))


def ring_all(cpu: Cpu) -> None:
    """Wake everybody: the machine's state has changed."""
    cpu.ram.fence()
    for number in range(cpu.machine.dims.cpus):
        cpu.ring(number)
    cpu.ring_coordinator()


def WARN_ON_ONCE(cpu: Cpu, condition: bool, rule: Rule, message: str, known: str = "",
                 cpus: Iterable[int] = ()) -> bool:
    """Report once a place and CPU; return the condition, as Linux's macro does."""
    if condition and (rule.name, message) not in _warned:
        _warned.add((rule.name, message))
        report(cpu, rule, message, known, cpus)
    return condition


def BUG_ON(cpu: Cpu, condition: bool, rule: Rule, message: str) -> None:
    """End the machine when the condition holds."""
    if condition:
        report(cpu, rule, message)

