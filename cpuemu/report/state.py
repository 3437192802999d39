"""The machine as its RAM shows it: CPUs, memory, locks, call queues, masks, hotplug, and who waits for whom."""

from __future__ import annotations

from collections.abc import Iterator

from cpuemu.kernel.hung_task import explain
from cpuemu.kernel.page_audit import audit
from cpuemu.layout import NOBODY, Cpu, CpuState, Machine, Mask, StopState, TaskState, name_in
from cpuemu.report.image import Image


def state_text(image: Image) -> Iterator[str]:
    """Line by line.  Nothing in RAM is believed: a number that names nothing is shown as a number."""
    machine, header = image.machine, image.machine.header
    yield f"machine {image.state_name()}, {machine.dims.cpus} CPUs, {header.tasks_done} of {header.nr_workload} tasks ended"
    if image.verdict:
        yield f"verdict {image.verdict.get('verdict')}"
        for finding in image.verdict.get("findings", []):
            yield f"  finding {finding.get('rule')}: {finding.get('message')}"
    options = {name: value for name, value in image.configuration.items() if value not in (None, False, "", [])}
    yield "options " + ", ".join(f"{name} {value}" for name, value in options.items())
    yield ""
    yield from _masks(machine)
    yield ""
    yield from _cpus(image)
    yield ""
    yield from _zones(machine)
    yield ""
    yield from _locks(image)
    yield from _calls(image)
    yield from _hotplug(machine)
    yield ""
    yield from _tasks(image)
    yield ""
    waits = explain(machine)
    yield "who waits for whom:" if waits else "nobody waits for anybody"
    yield from (f"  {sentence}" for sentence in waits)
    pages = audit(machine, image.memory.view)
    yield ""
    yield (f"pages: {pages.managed} managed = {pages.buddy} buddy + {pages.pcp} pcp + {pages.allocated} allocated"
           + (f" + {pages.lost} nowhere" if pages.lost else ""))
    yield from (f"  {sentence}" for sentence in [*pages.findings, *pages.notes])


def _bits(machine: Machine, mask: Mask) -> list[int]:
    words = machine.cpumasks[mask].bits
    return [cpu for cpu in range(machine.dims.cpus) if words[cpu // 64] >> cpu % 64 & 1]


def _masks(machine: Machine) -> Iterator[str]:
    for mask in Mask:
        yield f"cpu_{mask.name.lower()}_mask {_ranges(_bits(machine, mask))}"


def _ranges(numbers: list[int]) -> str:
    """0-3,7"""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in parts) or "(none)"


def _cpus(image: Image) -> Iterator[str]:
    yield "CPU  state     gen pid      current          irqs depth resched run pcp    pending           last point"
    for cpu in image.machine.cpus:
        state = name_in(CpuState, cpu.state)
        pcp = sum(image.machine.pcp(cpu.index, zone).count for zone in range(image.machine.dims.zones))
        yield (f"{cpu.index:>3}  {state:<9} {cpu.generation:>3} {cpu.pid:<8} {image.comm(cpu.current):<16} "
               f"{'off ' if cpu.irqs_off else 'on  '} {cpu.hardirq:>5} {cpu.need_resched:>7} {cpu.nr_running:>3} {pcp:>6} "
               f"{_pending(cpu):<17} {image.site(cpu.point_site)}{' (user mode)' if cpu.user else ''}"
               f"{' (asleep)' if cpu.sleeping else ''}")
        if cpu.last_words:
            yield f"     last words: {cpu.last_words}"


def _pending(cpu: Cpu) -> str:
    shown = [f"{vector}:{word >> 16}<{(word & 0xFFFF) - 1}" for vector, word in enumerate(cpu.pending) if word]
    return " ".join(shown) or "-"


def _zones(machine: Machine) -> Iterator[str]:
    for zone in machine.zones:
        diffs = sum(machine.pcp(cpu, zone.index).free_diff for cpu in range(machine.dims.cpus))
        pcp = [machine.pcp(cpu, zone.index).count for cpu in range(machine.dims.cpus)]
        yield (f"zone {zone.name}: managed {zone.managed}, free {zone.free_pages} ({diffs:+d} in differentials), min "
               f"{zone.wmark[0]} low {zone.wmark[1]} high {zone.wmark[2]}, file {zone.nr_file}")
        yield f"  free blocks by order: {' '.join(str(count) for count in zone.nr_free)}"
        yield f"  on pcp lists by CPU:  {' '.join(str(count) for count in pcp)}"


def _locks(image: Image) -> Iterator[str]:
    held = [lock for lock in image.machine.locks if lock.word]
    yield f"locks held: {len(held)}"
    for lock in held:
        yield (f"  {lock.name}: word {lock.word:#x}, held by {image.comm(lock.holder - 1)}, taken in {image.site(lock.site)}")


def _calls(image: Image) -> Iterator[str]:
    machine = image.machine
    for block in machine.cfds:
        if block.flags or block.refs:
            mask = sum(word << 64 * index for index, word in enumerate(block.cpumask))
            cpus = [cpu for cpu in range(machine.dims.cpus) if mask >> cpu & 1]
            yield (f"call_function_data of cpu {block.index}: {image.function(block.func)}, refs {block.refs}, "
                   f"cpumask {_ranges(cpus)}, {'locked' if block.flags else 'unlocked'}")
    for csd in machine.csds:
        if csd.flags:
            yield (f"csd {csd.index}: {image.function(csd.func)} from cpu {csd.source} to cpu {csd.target}, locked")
    for queue in machine.single_queues:
        if queue.head != NOBODY and machine.header.boot_ns:
            yield f"call_single_queue of cpu {queue.index}: first csd {queue.head}"


def _hotplug(machine: Machine) -> Iterator[str]:
    hotplug, barrier = machine.hotplug, machine.stop_machine
    if hotplug.busy:
        state = name_in(StopState, barrier.state)
        yield (f"hotplug: cpu {hotplug.cpu} {'coming online' if hotplug.up else 'going offline'}, row {hotplug.request >> 32 & 0xFF}, "
               f"{'answered' if hotplug.answer == hotplug.request & 0xFFFFFFFF else 'not answered yet'}; stop_machine {state}, "
               f"{barrier.thread_ack} acknowledgements missing")


def _tasks(image: Image) -> Iterator[str]:
    yield "task                 state           cpu rss      position   stack at the last sleep, newest first"
    for task in image.machine.tasks:
        if task.state == TaskState.UNUSED:
            continue
        state = name_in(TaskState, task.state)
        yield f"{task.index:>4} {task.comm:<15} {state:<15} {task.cpu:>3} {task.rss:<8} {task.position:<10} {task.stack}"
