"""A run directory, opened for reading: RAM, rings, configuration, verdict.

The machine may run, or every process of it may have been killed; its files are the same.  Nothing here takes a
lock, writes, or believes a number before it is checked: a file that is missing, cut short, or of another version
becomes one sentence (ImageError for RAM, an entry of ``problems`` for the rest).
"""

from __future__ import annotations

import mmap
import os
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cpuemu.kernel.call_functions import function_name
from cpuemu.layout import (
    MAGIC,
    MAX_NR_ZONES,
    MAX_PAGES,
    NR_CPUS,
    NR_SITES,
    REGIONS,
    TAG,
    Dimensions,
    Header,
    Machine,
    MachineState,
    Task,
    dimensions_of,
    place_machine,
)

if TYPE_CHECKING:
    from typing_extensions import Buffer

RAM_NAME = "ram"
RINGS_NAME = "rings"
CONFIG_NAME = "machine.msgpack"
VERDICT_NAME = "verdict.msgpack"

MAX_TASKS = 1 << 16
MAX_SLOTS = 1 << 28

_FORMATS = {1: struct.Struct("<B"), 2: struct.Struct("<H"), 4: struct.Struct("<I"), 8: struct.Struct("<Q")}


class ImageError(Exception):
    """The run directory cannot be read; the message is one sentence for the user."""


class BufferMemory:
    """schema.Memory in plain Python over bytes or a mapping: enough to read an image, no atomics."""

    def __init__(self, buffer: Buffer) -> None:
        self.view = memoryview(buffer)
        self.size = len(self.view)

    def load(self, offset: int, size: int) -> int:
        if not 0 <= offset <= self.size - size:
            raise IndexError(f"RAM+{offset:#x} is outside of the image")
        return int(_FORMATS[size].unpack_from(self.view, offset)[0])

    def store(self, offset: int, size: int, value: int) -> None:
        if not 0 <= offset <= self.size - size:
            raise IndexError(f"RAM+{offset:#x} is outside of the image")
        _FORMATS[size].pack_into(self.view, offset, value & (1 << size * 8) - 1)
