"""How a finding is written: by the emulated kernel, or by the watchdog from outside.

Invariant:     an entry is complete when its ``done`` is 1; the table is never reset.
Writers:       whoever takes the next number, atomically.
Steps:         none.
Not modelled:  Linux prints; here a value in RAM is judged later.

What else is known at that moment goes in with it: the locks that those concerned hold, where their code stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cpuemu.core import Ram, now
from cpuemu.kernel.oracles import Rule
from cpuemu.kernel.wait_holders import MUTEXES
from cpuemu.layout import FINDING_TASKS, NOBODY, NR_FINDINGS, Finding, Header, Machine, MachineState, Severity
from cpuemu.sites import site_name


def write_finding(ram: Ram, machine: Machine, rule: Rule, message: str, cpu: int = NOBODY, task: int = NOBODY,
                  stack: str = "", known: str = "", cpus: Iterable[int] = (), tasks: Iterable[int] = ()) -> int:
    """Its number.  A fatal one freezes the rings and stops the machine: the caller wakes everybody.

    ``cpu``, ``task``, ``stack``: where it was found; ``cpus``, ``tasks``: who else is concerned.
    """
    header = machine.header
    number = NR_FINDINGS if header.silent else ram.add(header.addr(Header.nr_findings), 1) - 1
    if number < NR_FINDINGS:
        finding = machine.findings[number]
        finding.severity, finding.cpu, finding.task, finding.time_ns = rule.severity, cpu, task, now()
        finding.rule = f"{rule.name} (known: {known})" if known else rule.name
        finding.message, finding.stack = message, stack
        _concerned(machine, finding, _existing((cpu, *cpus), machine.dims.cpus),
                   _existing((task, *tasks), machine.dims.tasks))
        ram.xchg(finding.addr(Finding.done), 1)
    if rule.severity >= Severity.FATAL:
        header.frozen = 1
        header.state = MachineState.FAILED
        ram.fence()
    return number


def _existing(numbers: Iterable[int], limit: int) -> list[int]:
    return [each for each in dict.fromkeys(numbers) if each < limit]


def _concerned(machine: Machine, finding: Finding, cpus: list[int], tasks: list[int]) -> None:
    for number in cpus:
        finding.cpus[number // 64] |= 1 << number % 64
    for at in range(FINDING_TASKS):
        finding.tasks[at] = tasks[at] if at < len(tasks) else NOBODY
    finding.locks = "\n".join(locks_held(machine, cpus, tasks))
    finding.stacks = "\n".join(f"{machine.tasks[each].comm}: {where_it_stands(machine, each)}"
                               for each in tasks[:FINDING_TASKS] if each != finding.task)


def locks_held(machine: Machine, cpus: list[int], tasks: list[int]) -> Iterator[str]:
    """Locks whose word names one of these CPUs (a spinlock) or tasks (a mutex), oldest first."""
    for lock in sorted((each for each in machine.locks if each.word), key=lambda each: each.since_ns):
        task = lock.holder - 1
        if lock.index in MUTEXES and task in tasks:
            yield f"{lock.name}: {machine.tasks[task].comm}, taken in {site_name(machine, lock.site)}"
        elif lock.index not in MUTEXES and (owner := (lock.word & 0xFFFF) - 1) in cpus:
            comm = machine.tasks[task].comm if 0 <= task < machine.dims.tasks else "?"
            yield f"{lock.name}: cpu {owner} ({comm}), taken in {site_name(machine, lock.site)}"


def where_it_stands(machine: Machine, number: int) -> str:
    """A task's kernel functions where it waits; of one that runs on, the last point of its CPU."""
    task = machine.tasks[number]
    cpu = machine.cpus[task.cpu] if task.cpu < machine.dims.cpus else None
    if cpu is None or task.nterms or cpu.current != number or cpu.lock_wait:
        return task.stack
    return f"running, last seen at {site_name(machine, cpu.point_site)}"
