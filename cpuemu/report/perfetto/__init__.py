"""A trace for ui.perfetto.dev: real ftrace events, and a timeline of tracks, slices, counters and arrows made of them.

The messages are the perfetto package's (extra ``perfetto``): its encoder is as fast as one of our own (measured), and
it knows the numbers of all fields.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import BinaryIO

from cpuemu.report.image import Image
from cpuemu.report.perfetto.ftrace import Ftrace
from cpuemu.report.perfetto.packets import Packets
from cpuemu.report.perfetto.story import Story
from cpuemu.report.records import Record


def write(found: Iterable[Record], image: Image, out: BinaryIO) -> None:
    """The whole trace."""
    packets = Packets(out, image.machine.header.boot_ns)
    ftrace, story = Ftrace(packets, image), Story(packets, image)
    for record in found:
        ftrace.add(record)
        story.tell(record)
    ftrace.flush()
    story.end()
    packets.flush()
