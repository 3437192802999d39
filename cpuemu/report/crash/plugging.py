"""``cpumask``, ``hotplug`` and ``stop``: CPUs that go and come, and the barrier that everybody stands in meanwhile."""

from __future__ import annotations

from collections.abc import Iterator

from cpuemu.kernel.hotplug_rows import row_under_way
from cpuemu.kernel.wait_holders import missing_acks, participants, stop_state
from cpuemu.layout import NOBODY, CpuState, Mask
from cpuemu.report.crash.reading import Reading, named, walk


def cpumask(reading: Reading, words: list[str]) -> Iterator[str]:
    """``cpumask``"""
    for mask in Mask:
        yield f"{f'cpu_{mask.name.lower()}_mask':<18} {reading.cpus(reading.machine.cpumasks[mask].bits)}"


def hotplug(reading: Reading, words: list[str]) -> Iterator[str]:
    """``hotplug``: the operation under way, the hotplug lock's words, and each CPU's state"""
    yield from operation(reading)
    plug = reading.machine.hotplug
    writer = reading.image.comm(plug.active_writer - 1) if plug.active_writer else "none"
    readers = [f"{task.comm} ({task.online_refs})" for task in reading.tasks() if task.online_refs]
    yield (f"cpu_hotplug: active_writer {writer}, refcount {plug.refcount}, inside get_online_cpus: "
           f"{', '.join(readers) or 'nobody'}")
    for cpu in reading.machine.cpus:
        bits = reading.machine.cpumasks
        masks = [name for name, mask in (("online", Mask.ONLINE), ("active", Mask.ACTIVE), ("callout", Mask.CALLOUT))
                 if bits[mask].bits[cpu.index // 64] >> cpu.index % 64 & 1]
        yield (f"  cpu {cpu.index}: process {named(CpuState, cpu.state)}, generation {cpu.generation}, "
               f"{', '.join(masks) or 'in no mask'}")


def operation(reading: Reading) -> Iterator[str]:
    plug = reading.machine.hotplug
    if not plug.busy:
        yield "hotplug: no operation is under way"
        return
    answered = plug.answer == plug.request & 0xFFFFFFFF
    yield (f"hotplug: cpu {plug.cpu} {'coming online' if plug.up else 'going offline'}, row "
           f"{plug.request >> 32 & 0xFF} {'answered' if answered else 'not answered yet'} ({row_under_way(plug)})")


def operation_and_barrier(reading: Reading, words: list[str]) -> Iterator[str]:
    """Both, where an operation is under way; else nothing."""
    if reading.machine.hotplug.busy:
        yield from operation(reading)
        yield from stop(reading, [])


def stop(reading: Reading, words: list[str]) -> Iterator[str]:
    """``stop``: stop_machine's state, who has acknowledged it, and the stoppers' works"""
    machine = reading.machine
    barrier = machine.stop_machine
    if barrier.state:
        late = missing_acks(reading.graph)
        active = reading.cpus(barrier.active)
        yield (f"stop_machine {stop_state(machine)}, {barrier.thread_ack} of {barrier.num_threads} acknowledgements "
               f"missing; the function runs on cpu {active}")
        for number in participants(machine):
            task = reading.image.comm(machine.cpus[number].stop_task)
            irqs = "off" if machine.cpus[number].irqs_off else "on"
            yield (f"  cpu {number}: {task} {'has not acknowledged' if number in late else 'stands and waits'}, "
                   f"interrupts {irqs}")
    else:
        yield "stop_machine: no barrier is under way"
    following = [work.next for work in machine.stop_works]
    for stopper in machine.stoppers:
        works, end = walk(stopper.head, following, NOBODY, len(following))
        if works or end:
            yield f"  stopper of cpu {stopper.index}: {len(works)} works not begun{end}"
