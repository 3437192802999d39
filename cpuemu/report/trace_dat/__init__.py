"""A trace.dat of version 6, as trace-cmd writes it: every trace-cmd and KernelShark opens it.

Events, formats, symbols and pages of the ring buffer are described to the reader in the kernel's own way; nothing of it
knows of cpuemu.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from typing import BinaryIO

from cpuemu.report.image import Image
from cpuemu.report.records import Record
from cpuemu.report.trace_dat.events import Events
from cpuemu.report.trace_dat.header import Header
from cpuemu.report.trace_dat.pages import Pages


def write(found: Iterable[Record], image: Image, out: BinaryIO) -> None:
    """The whole file: its pages first, aside, because the header says where each CPU's are."""
    events, power_on = Events(image), image.machine.header.boot_ns
    with tempfile.TemporaryFile() as spool:
        pages = Pages(spool, image.machine.dims.cpus)
        for record in found:
            pages.add(record.cpu, max(0, record.time_ns - power_on), events.payload(record))
        pages.finish()
        Header(image, events).write(out, pages)
        pages.copy(out)
