"""The machine as its RAM shows it: CPUs, memory, locks, call queues, masks, hotplug, and who waits for whom."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from cpuemu.faults import FAULTS
from cpuemu.kernel.hung_task import explain
from cpuemu.kernel.page_audit import audit
from cpuemu.kernel.wait_holders import MUTEXES
from cpuemu.layout import (
    KEEPING,
    NOBODY,
    NR_FINDINGS,
    OOM_MOMENTS,
    CallFunctionData,
    Cpu,
    CpuState,
    Csd,
    Lock,
    MachineState,
    Mask,
    Severity,
    StopState,
    TaskState,
    Vector,
    Wmark,
    name_in,
    process_name,
)
from cpuemu.report.image import Image

SHOWN_MOMENTS = 8
"""Of the allocations about to OOM, so many are shown, the last ones."""


def state_text(image: Image) -> Iterator[str]:
    """Line by line.  Nothing in RAM is believed: a number that names nothing is shown as a number."""
    sections = (_summary, _findings, _masks, _cpus, _zones, _locks, _calls, _hotplug, _tasks, _waits, _oom_moments,
                _pages)
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
    known = {machine.findings[index].message for index in range(NR_FINDINGS)}
    for finding in image.verdict.get("findings") or []:
        if isinstance(finding, dict) and finding.get("message") not in known:
            yield f"finding {finding.get('rule')}: {finding.get('message')}"


def _masks(image: Image) -> Iterator[str]:
    for mask in Mask:
        words = image.machine.cpumasks[mask].bits
        bits = [cpu for cpu in range(image.machine.dims.cpus) if words[cpu // 64] >> cpu % 64 & 1]
        yield f"{f'cpu_{mask.name.lower()}_mask':<18} {ranges(bits)}"


def ranges(numbers: list[int]) -> str:
    """0-3,7"""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in parts) or "(none)"


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


def _zones(image: Image) -> Iterator[str]:
    machine = image.machine
    for zone in machine.zones:
        pcps = [machine.pcp(cpu, zone.index) for cpu in range(machine.dims.cpus)]
        yield (f"zone {zone.name}: managed {zone.managed}, free {zone.free_pages} "
               f"({sum(pcp.free_diff for pcp in pcps):+d} in differentials), min {zone.wmark[Wmark.MIN]} "
               f"low {zone.wmark[Wmark.LOW]} high {zone.wmark[Wmark.HIGH]}, file {zone.nr_file}"
               + (", all unreclaimable" if zone.all_unreclaimable else ""))
        yield f"  free blocks by order: {' '.join(str(count) for count in zone.nr_free)}"
        yield (f"  on pcp lists by CPU:  {' '.join(str(pcp.count) for pcp in pcps)}"
               f"  (batch {pcps[0].batch}, high {pcps[0].high})")


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


# --- who holds what ----------------------------------------------------------------------------------------


def _locks(image: Image) -> Iterator[str]:
    held = [lock for lock in image.machine.locks if lock.word]
    yield f"locks held: {len(held) or 'none'}"
    for lock in held:
        waited = ", waited for" if lock.word >> 31 & 1 else ""
        yield f"  {lock.name or f'lock {lock.index}'}: held by {_owner(image, lock)}{waited} (word {lock.word:#x})"
    for cpu in image.machine.cpus:
        if 0 < (waited_for := cpu.lock_wait) <= len(image.machine.locks):
            name = image.machine.locks[waited_for - 1].name or f"lock {waited_for - 1}"
            where = image.site(cpu.lock_wait_site)
            yield f"  {name}: cpu {cpu.index} ({image.comm(cpu.current)}) spins for it in {where}"


def _owner(image: Image, lock: Lock) -> str:
    """Who the word names, and what the owner has written beside it."""
    owner = (lock.word & 0xFFFF) - 1
    who = image.comm(owner) if lock.index in MUTEXES else f"cpu {owner} gen {lock.word >> 16 & 0x7FFF}"
    if not lock.holder:  # between the word and the rest lie a few instructions
        return f"{who}, just taken"
    task = "" if lock.index in MUTEXES else f" ({image.comm(lock.holder - 1)})"
    since = max(0, lock.since_ns - image.machine.header.boot_ns) / 1e9
    return f"{who}{task} since {since:.6f}, taken in {image.site(lock.site)}"


def _calls(image: Image) -> Iterator[str]:
    """call_function.queue in the order in which an interrupt walks it, blocks in use beside it, the single queues."""
    machine, head = image.machine, image.machine.dims.cpus
    if not machine.header.boot_ns:
        return
    queued, end = _walk(machine.call_function.next, [block.next for block in machine.cfds], head)
    yield f"call_function.queue: {f'{len(queued)} blocks' if queued else 'empty'}{end}"
    yield from (f"  {_block(image, machine.cfds[index])}" for index in queued)
    yield from (f"not on the queue: {_block(image, block)}" for block in machine.cfds
                if (block.flags or block.refs) and block.index not in queued)
    following, seen = [csd.next for csd in machine.csds], set[int]()
    for queue in machine.single_queues:
        csds, end = _walk(queue.head, following, NOBODY)
        if csds or end:
            yield f"call_single_queue of cpu {queue.index}: {len(csds)} calls{end}"
            yield from (f"  {_csd(image, machine.csds[index])}" for index in csds)
            seen.update(csds)
    if not seen:
        yield "call_single_queue: no call on any cpu"
    yield from (f"not on a queue: {_csd(image, csd)}" for csd in machine.csds if csd.flags and csd.index not in seen)


def _walk(first: int, following: Sequence[int], head: int) -> tuple[list[int], str]:
    """The elements of a list in RAM, and what is wrong with its end: it may be torn, or lead nowhere."""
    found: list[int] = []
    while first != head:
        if not 0 <= first < len(following):
            return found, f", then {first}, which is no element"
        if first in found:
            return found, f", then {first} again"
        found.append(first)
        first = following[first]
    return found, ""


def _block(image: Image, block: CallFunctionData) -> str:
    mask = sum(word << 64 * index for index, word in enumerate(block.cpumask))
    cpus = [cpu for cpu in range(image.machine.dims.cpus) if mask >> cpu & 1]
    return (f"call_function_data of cpu {block.index}: {image.function(block.func)}, refs {block.refs}, "
            f"cpumask {ranges(cpus)}, {'locked' if block.flags else 'unlocked'}")


def _csd(image: Image, csd: Csd) -> str:
    return (f"csd {csd.index}: {image.function(csd.func)} from cpu {csd.source} to cpu {csd.target}, "
            f"{'locked' if csd.flags else 'unlocked'}")


def _hotplug(image: Image) -> Iterator[str]:
    hotplug, barrier = image.machine.hotplug, image.machine.stop_machine
    if not hotplug.busy:
        return
    answered = hotplug.answer == hotplug.request & 0xFFFFFFFF
    yield (f"hotplug: cpu {hotplug.cpu} {'coming online' if hotplug.up else 'going offline'}, row "
           f"{hotplug.request >> 32 & 0xFF} {'answered' if answered else 'not answered yet'}")
    missing = f", {barrier.thread_ack} of {barrier.num_threads} acknowledgements missing"
    yield (f"  stop_machine {name_in(StopState, barrier.state)}{missing if barrier.state else ''}; "
           f"cpu_hotplug.refcount {hotplug.refcount}")


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
