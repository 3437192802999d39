"""How a finding is written: by the emulated kernel, or by the watchdog from outside.

Invariant:     an entry is complete when its ``done`` is 1; the table is never reset.
Writers:       whoever takes the next number, atomically.
Steps:         none.
Not modelled:  Linux prints; here a value in RAM is judged later.
"""

from __future__ import annotations

from cpuemu.core import Ram, now
from cpuemu.kernel.oracles import Rule
from cpuemu.layout import NOBODY, NR_FINDINGS, Finding, Header, Machine, MachineState, Severity


def write_finding(ram: Ram, machine: Machine, rule: Rule, message: str, cpu: int = NOBODY,
                  task: int = NOBODY, stack: str = "", known: str = "") -> int:
    """Its number.  A fatal one freezes the rings and stops the machine: the caller wakes everybody."""
    header = machine.header
    number = ram.add(header.addr(Header.nr_findings), 1) - 1
    if number < NR_FINDINGS:
        finding = machine.findings[number]
        finding.severity, finding.cpu, finding.task, finding.time_ns = rule.severity, cpu, task, now()
        finding.rule = f"{rule.name} (known: {known})" if known else rule.name
        finding.message, finding.stack = message, stack
        ram.xchg(finding.addr(Finding.done), 1)
    if rule.severity >= Severity.FATAL:
        header.frozen = 1
        header.state = MachineState.FAILED
        ram.fence()
    return number
