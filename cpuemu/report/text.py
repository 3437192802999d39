"""Records as ftrace text: trace_pipe's layout, the kernel's event names and fields, so that existing scripts work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cache

from cpuemu.events import BY_ID, Flag, Names
from cpuemu.kernel.wait_records import Look
from cpuemu.layout import Gfp, Program
from cpuemu.report.image import Image
from cpuemu.report.records import Record, ring_states

HEADER = """\
# tracer: nop
#
# entries-in-buffer/entries-written: {kept}/{written}   #P:{cpus}
#
#                                _-----=> irqs-off
#                               / _----=> need-resched
#                              | / _---=> hardirq/softirq
#                              || / _--=> preempt-depth
#                              ||| / _-=> migrate-disable
#                              |||| /     delay
#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION
#              | |         |   |||||     |         |"""

GFP_NAMES = (
    ("GFP_KERNEL", Gfp.WAIT | Gfp.IO | Gfp.FS), ("GFP_NOFS", Gfp.WAIT | Gfp.IO), ("GFP_ATOMIC", Gfp.HIGH),
    ("GFP_NOIO", Gfp.WAIT), ("GFP_DMA", Gfp.DMA), ("GFP_DMA32", Gfp.DMA32), ("GFP_IO", Gfp.IO), ("GFP_FS", Gfp.FS),
    ("GFP_COLD", Gfp.COLD), ("GFP_NOWARN", Gfp.NOWARN), ("GFP_REPEAT", Gfp.REPEAT), ("GFP_NOFAIL", Gfp.NOFAIL),
    ("GFP_NORETRY", Gfp.NORETRY), ("GFP_NOMEMALLOC", Gfp.NOMEMALLOC), ("GFP_NO_KSWAPD", Gfp.NO_KSWAPD),
    ("GFP_NO_OOM", Gfp.NO_OOM),
)
"""As v3.2 prints them: the longest combination first."""


@cache
def gfp_text(flags: int) -> str:
    """``GFP_KERNEL|GFP_NORETRY``; no flag at all is GFP_NOWAIT."""
    names = []
    left = flags
    for name, bits in GFP_NAMES:
        if left & bits == bits:
            names.append(name)
            left &= ~bits
    if left:
        names.append(f"{left:#x}")
    return "|".join(names) or "GFP_NOWAIT"


def names_of(image: Image) -> Names:
    """Ids of this run as text.  A task's name is read once: a dump says the same name for it all through."""
    return Names(site=cache(image.site), function=cache(image.function), comm=cache(image.comm), gfp=gfp_text,
                 pid=cache(image.pid), word=cache(Look(image.machine, 0).word_name))


@cache
def flags_text(flags: int) -> str:
    depth = flags >> 4
    return "".join((
        "d" if flags & Flag.IRQS_OFF else ".", "N" if flags & Flag.NEED_RESCHED else ".",
        "h" if flags & Flag.HARDIRQ else ".", f"{depth:x}" if depth else ".", ".",
    ))


def heading(image: Image) -> Iterator[str]:
    """trace_pipe's header, and what was overwritten.  Records that --trace all has in files are not lost."""
    states = ring_states(image)
    written = sum(each.written for each in states)
    lost: Counter[int] = Counter()
    for each in states:
        lost.update(each.overwritten)
    yield HEADER.format(kept=written - lost.total(), written=written, cpus=image.machine.dims.cpus)
    if lost:
        names = (f"{count} {BY_ID[event].name if event in BY_ID else f'event_{event}'}"
                 for event, count in sorted(lost.items()))
        yield f"# overwritten in the rings: {', '.join(names)}"


def lines(found: Iterable[Record], image: Image) -> Iterator[str]:
    """A line for each record."""
    return map(line_of(image), found)


def line_of(image: Image) -> Callable[[Record], str]:
    """How a record is told; an event that this version does not know is shown with its numbers.

    The clock starts at power-on, as a kernel's does: a trace, --since and a finding speak of the same second.
    """
    names = names_of(image)
    power_on = image.machine.header.boot_ns

    @cache
    def who(task: int, cpu: int, flags: int) -> str:
        idle = task < image.machine.dims.tasks and image.machine.tasks[task].program == Program.IDLE
        shown = "<idle>" if idle else names.comm(task)
        return f"{shown:>16}-{names.pid(task):<7} [{cpu:03d}] {flags_text(flags)} "

    def line(record: Record) -> str:
        time_ns, cpu, _, _, event, flags, task, args = record
        kind = BY_ID.get(event)
        seconds, rest = divmod(max(0, time_ns - power_on), 1_000_000_000)
        where = f"{who(task, cpu, flags)}{seconds:5d}.{rest // 1000:06d}:"
        if kind is None:
            return f"{where} event_{event}: {' '.join(map(str, args))}"
        try:
            return f"{where} {kind.name}: {kind.text(*args, names)}"
        except (IndexError, ValueError):
            # A ring may hold anything when its writer was of another mind, or its page was never written back.
            return f"{where} {kind.name}: (damaged: {' '.join(map(str, args))})"

    return line
