"""A CPU's sheet: what its registers would say, what it holds, what waits for it, and its stack."""

from __future__ import annotations

from collections.abc import Iterator

from cpuemu.events import REASONS
from cpuemu.layout import NOBODY, Cpu, CpuState, Mask, Program, Task
from cpuemu.report.crash.locks import held_by_cpu, held_by_task, name_of
from cpuemu.report.crash.reading import Reading, named, walk
from cpuemu.report.crash.tasks import stack_of

SHOWN_TASKS = 6


def sheets(reading: Reading) -> Iterator[str]:
    for cpu in reading.machine.cpus:
        yield from sheet(reading, cpu)


def sheet(reading: Reading, cpu: Cpu) -> Iterator[str]:
    """Heading and labelled lines; of a CPU without a process, the heading alone."""
    masks = [name for name, mask in (("online", Mask.ONLINE), ("active", Mask.ACTIVE))
             if reading.machine.cpumasks[mask].bits[cpu.index // 64] >> cpu.index % 64 & 1]
    host = ", stopped by the host" if cpu.host_stopped else ""
    yield (f"cpu {cpu.index}: {named(CpuState, cpu.state)}, {' and '.join(masks) or 'neither online nor active'}, "
           f"generation {cpu.generation}, process {cpu.pid}{host}")
    if cpu.last_words:
        yield f"  last words  {cpu.last_words}"
    if cpu.state in (CpuState.ABSENT, CpuState.GONE, CpuState.PARKED):
        return
    task = reading.graph.task(cpu.current)
    if task is None:
        yield f"  task        {cpu.current}, which is none (damaged)"
        return
    yield f"  task        {task.comm} (pid {reading.image.pid(task.index)}), {_mode(cpu, task)}"
    yield (f"  registers   irqs {'off' if cpu.irqs_off else 'on'}, interrupt depth {cpu.hardirq}, preempt_count "
           f"{task.preempt_count}, need_resched {cpu.need_resched}, {'asleep' if cpu.sleeping else 'awake'}")
    yield f"  last point  {reading.image.site(cpu.point_site)}, {cpu.heart:,} points passed"
    yield from _interrupts(reading, cpu)
    for lock in [*held_by_cpu(reading, cpu.index), *held_by_task(reading, task.index)]:
        yield (f"  holds       {name_of(lock)} since {reading.at(lock.since_ns)} ({reading.ago(lock.since_ns)}), taken "
               f"in {reading.image.site(lock.site)}")
    yield from _queue(reading, cpu)
    stack = stack_of(reading, task)
    if stack.frames:
        yield f"  stack       {' < '.join(stack.frames)}"
    yield f"              [{stack.note}]"


def _mode(cpu: Cpu, task: Task) -> str:
    if cpu.user:
        return "user mode"
    if task.program in (Program.KTHREAD, Program.IDLE):
        return "idle" if task.program == Program.IDLE else "kernel thread"
    return "inside the kernel" if task.in_kernel else "between user mode and the kernel"


def _interrupts(reading: Reading, cpu: Cpu) -> Iterator[str]:
    """Raised and not taken; taken and not ended."""
    for what, words in (("pending", cpu.pending), ("in service", cpu.inservice)):
        for vector, word in enumerate(words):
            if word:
                source = reading.graph.source((word & 0xFFFF) - 1)
                frames = reading.graph.in_hand(cpu)
                hand = "" if what == "in service" else (
                    f", {frames} frames in hand" if frames else ", its frame is not in hand")
                yield (f"  {what:<11} {REASONS[vector]} from {source}, ticket {word >> 16}, raised "
                       f"{reading.ago(cpu.raised_ns[vector])} ago{hand}")


def _queue(reading: Reading, cpu: Cpu) -> Iterator[str]:
    tasks = reading.machine.tasks
    queued, end = walk(cpu.rq_head, lambda number: tasks[number].rq_next, NOBODY, len(tasks))
    names = [reading.image.comm(number) for number in queued]
    stopper = reading.graph.task(cpu.stop_task)
    if stopper is not None and stopper.on_rq and stopper.index != cpu.current:
        names.insert(0, stopper.comm)
    if names or end:
        more = f" and {len(names) - SHOWN_TASKS} more" if len(names) > SHOWN_TASKS else ""
        yield f"  runnable    {', '.join(names[:SHOWN_TASKS])}{more}{end}"
