"""``csd``: calls from CPU to CPU: the global queue of v3.2 as an interrupt walks it, the single queues, the rest."""

from __future__ import annotations

from collections.abc import Iterator

from cpuemu.layout import NOBODY, CallFunctionData, Csd
from cpuemu.report.crash.reading import Reading, walk


def csd(reading: Reading, words: list[str]) -> Iterator[str]:
    """``csd``"""
    machine, head = reading.machine, reading.machine.dims.cpus
    if not machine.header.boot_ns:
        yield "no call: the machine was never on"
        return
    queued, end = walk(machine.call_function.next, [block.next for block in machine.cfds], head, head)
    yield f"call_function.queue: {f'{len(queued)} blocks' if queued else 'empty'}{end}"
    yield from (f"  {_block(reading, machine.cfds[index])}" for index in queued)
    yield from (f"not on the queue: {_block(reading, block)}" for block in machine.cfds
                if (block.flags or block.refs) and block.index not in queued)
    following, seen = [each.next for each in machine.csds], set[int]()
    for queue in machine.single_queues:
        csds, end = walk(queue.head, following, NOBODY, len(following))
        if csds or end:
            yield f"call_single_queue of cpu {queue.index}: {len(csds)} calls{end}"
            yield from (f"  {_csd(reading, machine.csds[index])}" for index in csds)
            seen.update(csds)
    if not seen:
        yield "call_single_queue: no call on any cpu"
    yield from (f"not on a queue: {_csd(reading, each)}" for each in machine.csds
                if each.flags and each.index not in seen)


def _block(reading: Reading, block: CallFunctionData) -> str:
    return (f"call_function_data of cpu {block.index}: {reading.image.function(block.func)}, refs {block.refs}, "
            f"cpumask {reading.cpus(block.cpumask)}, {'locked' if block.flags else 'unlocked'}")


def _csd(reading: Reading, each: Csd) -> str:
    return (f"csd {each.index}: {reading.image.function(each.func)} from cpu {each.source} to cpu {each.target}, "
            f"{'locked' if each.flags else 'unlocked'}")
