"""Records as ftrace text: trace_pipe's layout, the kernel's event names and fields, so that existing scripts work."""

from __future__ import annotations

from cpuemu.events import BY_ID, Flag, Names
from cpuemu.layout import Gfp
from cpuemu.report.image import Image
from cpuemu.report.records import Record

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

_GFP = (
    ("GFP_KERNEL", Gfp.WAIT | Gfp.IO | Gfp.FS), ("GFP_NOFS", Gfp.WAIT | Gfp.IO), ("GFP_ATOMIC", Gfp.HIGH),
    ("GFP_NOIO", Gfp.WAIT), ("GFP_DMA", Gfp.DMA), ("GFP_DMA32", Gfp.DMA32), ("GFP_IO", Gfp.IO), ("GFP_FS", Gfp.FS),
    ("GFP_COLD", Gfp.COLD), ("GFP_NOWARN", Gfp.NOWARN), ("GFP_REPEAT", Gfp.REPEAT), ("GFP_NOFAIL", Gfp.NOFAIL),
    ("GFP_NORETRY", Gfp.NORETRY), ("GFP_NOMEMALLOC", Gfp.NOMEMALLOC), ("GFP_NO_KSWAPD", Gfp.NO_KSWAPD),
    ("GFP_NO_OOM", Gfp.NO_OOM),
)  # fmt: skip
"""As v3.2 prints them: the longest combination first."""


def gfp_text(flags: int) -> str:
    """``GFP_KERNEL|GFP_NORETRY``; no flag at all is GFP_NOWAIT."""
    names = []
    left = flags
    for name, bits in _GFP:
        if left & bits == bits:
            names.append(name)
            left &= ~bits
    if left:
        names.append(f"{left:#x}")
    return "|".join(names) or "GFP_NOWAIT"


def names_of(image: Image) -> Names:
    return Names(site=image.site, function=image.function, comm=image.comm, gfp=gfp_text)


def flags_text(flags: int) -> str:
    depth = flags >> 4
    return "".join((
        "d" if flags & Flag.IRQS_OFF else ".", "N" if flags & Flag.NEED_RESCHED else ".",
        "h" if flags & Flag.HARDIRQ else ".", f"{depth:x}" if depth else ".", ".",
    ))  # fmt: skip


def line_of(record: Record, image: Image, names: Names) -> str:
    """One line; an event that this version does not know is shown with its numbers."""
    kind = BY_ID.get(record.event)
    name = kind.name if kind else f"event_{record.event}"
    text = kind.text(*record.args, names) if kind else " ".join(map(str, record.args))
    seconds, rest = divmod(record.time_ns, 1_000_000_000)
    return (f"{image.comm(record.task):>16}-{record.task:<7} [{record.cpu:03d}] {flags_text(record.flags)} "
            f"{seconds:6d}.{rest // 1000:06d}: {name}: {text}")
