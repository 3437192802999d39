"""The machine as its RAM shows it: CPUs, memory, locks, call queues, masks, hotplug, and who waits for whom."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from cpuemu.faults import FAULTS
from cpuemu.kernel.hung_task import explain
from cpuemu.kernel.lockdep_report import lockdep_report
from cpuemu.kernel.page_audit import audit
from cpuemu.layout import (
    KEEPING,
    NR_FINDINGS,
    OOM_MOMENTS,
    Cpu,
    CpuState,
    MachineState,
    Severity,
    TaskState,
    Vector,
    name_in,
    process_name,
)
from cpuemu.report.crash import calls, locks, memory, plugging
from cpuemu.report.crash.commands import Run
from cpuemu.report.crash.reading import Reading
from cpuemu.report.image import Image
from cpuemu.report.next_steps import again, trace_dump_of

SHOWN_MOMENTS = 8
"""Of the allocations about to OOM, so many are shown, the last ones."""


def state_text(image: Image) -> Iterator[str]:
    """Line by line.  Nothing in RAM is believed: a number that names nothing is shown as a number."""
    reading = Reading(image)

    def command(run: Run) -> Callable[[Image], Iterator[str]]:
        return lambda _: run(reading, [])

    sections = (_summary, _findings_and_commands, command(plugging.cpumask), _cpus, command(memory.zone),
                command(locks.locks), command(calls.csd), command(plugging.operation_and_barrier), _tasks, _waits,
                _oom_moments, _pages)
    for section in sections:
        lines = list(section(image))
        if lines:
            yield from (*lines, "")


# --- the machine as a whole --------------------------------------------------------------------------------


def _summary(image: Image) -> Iterator[str]:
    header = image.machine.header
    yield (f"machine {image.state_name()}, {image.machine.dims.cpus} CPUs, {header.tasks_done} of {header.nr_workload} "
           f"tasks ended{', rings frozen' if header.frozen else ''}")
    if 0 < header.dead_process <= len(image.machine.processes):
        yield f"the process of {process_name(image.machine.processes[header.dead_process - 1])} died"
    if not image.verdict:
        yield "no verdict: the machine runs, or nobody lived to give one"
    else:
        yield f"verdict {image.verdict.get('verdict')}" + (f" ({who})" if (who := image.verdict.get("who")) else "")
        yield from (f"  {note}" for note in image.verdict.get("notes") or [])
    injected = [f"{sum(cpu.faults[each.fault] for cpu in image.machine.cpus)} {each.name}" for each in FAULTS
                if image.machine.faults[each.fault].rate]
    if injected:
        yield f"faults injected: {', '.join(injected)}"
    if image.configuration:
        yield "configuration"
        yield from (f"  {name:<14} {_value(value)}" for name, value in image.configuration.items()
                    if value not in (None, False, "", [], {}))


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{number} {name}" for name, number in value.items())
    return str(value)


def _findings_and_commands(image: Image) -> Iterator[str]:
    found = list(_findings(image))
    yield from found
    if found:
        yield f"  more:  {trace_dump_of(image, '--why')}"
        yield f"  again: {again(image)}"


def _findings(image: Image) -> Iterator[str]:
    """From RAM: complete entries only; the verdict has more when the launcher lived to give one."""
    machine = image.machine
    for entry in (machine.findings[index] for index in range(min(machine.header.nr_findings, NR_FINDINGS))):
        if entry.done:
            at = max(0, entry.time_ns - machine.header.boot_ns) / 1e9
            yield f"finding {entry.rule} ({name_in(Severity, entry.severity).lower()}) at {at:.6f}: {entry.message}"
            if entry.stack:
                yield f"  stack: {entry.stack}"
            yield from (f"  stack of {line}" for line in entry.stacks.splitlines())
            yield from (f"  held: {line}" for line in entry.locks.splitlines())
            yield from (f"  {line}" for line in lockdep_report(machine, entry.rule))
    known = {machine.findings[index].message for index in range(NR_FINDINGS)}
    for finding in image.verdict.get("findings") or []:
        if isinstance(finding, dict) and finding.get("message") not in known:
            yield f"finding {finding.get('rule')}: {finding.get('message')}"


# --- CPUs --------------------------------------------------------------------------------------------------


def _cpus(image: Image) -> Iterator[str]:
    yield "CPU state    gen     pid current          irqs depth resched queued   pcp host, ms  last point"
    for cpu in image.machine.cpus:
        pcp = sum(image.machine.pcp(cpu.index, zone).count for zone in range(image.machine.dims.zones))
        taken = f"{cpu.stopped_ns // 1_000_000}+{cpu.starved_ns // 1_000_000}"
        yield (f"{cpu.index:>3} {name_in(CpuState, cpu.state):<8} {cpu.generation:>3} {cpu.pid:>7} "
               f"{image.comm(cpu.current):<16} {'off' if cpu.irqs_off else 'on':<4} {cpu.hardirq:>5} "
               f"{cpu.need_resched:>7} {cpu.nr_running:>6} {pcp:>5} {taken:>8}  {_place(image, cpu)}")
        yield from (f"    {line}" for line in _processes(image, cpu))
        yield from (f"    {line}" for line in _interrupts(image, cpu))
        if cpu.last_words:
            yield f"    last words: {cpu.last_words}"


def _processes(image: Image, cpu: Cpu) -> Iterator[str]:
    """Those beside its own that keep tasks of it (arch/lending.py)."""
    for process in image.machine.processes:
        if process.state in KEEPING and process.serves == cpu.index:
            tasks = [image.comm(task.index) for task in image.machine.tasks
                     if task.in_kernel and task.process == process.index and task.cpu == cpu.index]
            runs = ", which it runs now" if cpu.runner == process.index else ""
            yield f"process {process.pid}, {process_name(process)}{runs}: keeps {', '.join(tasks) or 'no task'}"


def _place(image: Image, cpu: Cpu) -> str:
    mode = " (user mode)" if cpu.user else ""
    asleep = " (asleep)" if cpu.sleeping else ""
    stopped = " (stopped by the host)" if cpu.host_stopped else ""
    return image.site(cpu.point_site) + mode + asleep + stopped


def _interrupts(image: Image, cpu: Cpu) -> Iterator[str]:
    """Raised and not taken; taken and not ended."""
    for what, words in (("pending", cpu.pending), ("in service", cpu.inservice)):
        for vector, word in enumerate(words):
            if word:
                source = (word & 0xFFFF) - 1
                sender = f"cpu {source}" if source < image.machine.dims.cpus else "the coordinator"
                yield f"{what}: {Vector(vector).name.lower()} from {sender}, ticket {word >> 16}"


# --- memory ------------------------------------------------------------------------------------------------


def _oom_moments(image: Image) -> Iterator[str]:
    """The last allocations that were about to OOM, and what a drain of other CPUs' lists would have done."""
    machine = image.machine
    begun = min(machine.drains.nr_moments, OOM_MOMENTS)
    if machine.drains.nr_moments:
        yield f"allocations about to OOM: {machine.drains.nr_moments}"
    for entry in (machine.oom_moments[number] for number in range(max(0, begun - SHOWN_MOMENTS), begun)):
        if entry.done:
            at = max(0, entry.time_ns - machine.header.boot_ns) / 1e9
            killed = f"kills {image.comm(entry.victim - 1)}" if entry.victim else "an earlier victim is on its way out"
            saved = f", a drain of all lists {'saves' if entry.saved else 'does not save'} it" * (not entry.order)
            yield (f"  {at:.6f} cpu {entry.cpu} {image.comm(entry.task)}, order {entry.order}: {entry.missing} pages "
                   f"missing in zone {entry.zone}; {entry.others} on other CPUs' lists, {entry.own} on its own{saved}; "
                   f"{killed}")


def _pages(image: Image) -> Iterator[str]:
    pages = audit(image.machine, image.memory.view)
    yield (f"pages: {pages.managed} managed = {pages.buddy} buddy + {pages.pcp} pcp + {pages.allocated} allocated"
           + (f" + {pages.lost} nowhere" if pages.lost else ""))
    if image.machine.header.state < MachineState.OFF and (pages.findings or pages.lost):
        yield "  (the machine was not at rest: what was between two lists at that moment looks lost)"
    yield from (f"  {sentence}" for sentence in [*pages.findings, *pages.notes])


# --- tasks -------------------------------------------------------------------------------------------------


def _tasks(image: Image) -> Iterator[str]:
    yield " pid comm            state           cpu      rss   position  kernel stack at the last sleep, newest first"
    for task in image.machine.tasks:
        if task.state == TaskState.UNUSED:
            continue
        # A stack is written when its task waits: what stands there after the end is history.
        stack = "" if task.state == TaskState.DEAD else task.stack
        yield (f"{image.pid(task.index):>4} {task.comm:<15} {name_in(TaskState, task.state):<15} {task.cpu:>3} "
               f"{task.rss:>8} {task.position:>10}  {stack}").rstrip()


def _waits(image: Image) -> Iterator[str]:
    waits = explain(image.machine)
    yield "who waits for whom:" if waits else "nobody waits for anybody"
    yield from (f"  {sentence}" for sentence in waits)
