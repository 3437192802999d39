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
    Program,
    Task,
    dimensions_of,
    name_in,
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

    def load_bytes(self, offset: int, size: int) -> bytes:
        if not 0 <= offset <= self.size - size:
            raise IndexError(f"RAM+{offset:#x} is outside of the image")
        return bytes(self.view[offset : offset + size])

    def store_bytes(self, offset: int, data: bytes) -> None:
        if not 0 <= offset <= self.size - len(data):
            raise IndexError(f"RAM+{offset:#x} is outside of the image")
        self.view[offset : offset + len(data)] = data


@dataclass
class Image:
    """An opened run directory.  ``problems``: what could not be read, one sentence each."""

    directory: Path
    memory: BufferMemory
    machine: Machine
    rings: BufferMemory | None
    configuration: dict[str, Any] = field(default_factory=dict)
    verdict: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def site(self, number: int) -> str:
        name = self.machine.sites[number].name if 0 <= number < NR_SITES else ""
        return name or f"site {number}"

    def comm(self, number: int) -> str:
        if not 0 <= number < self.machine.dims.tasks:
            return "?"
        task: Task = self.machine.tasks[number]
        return task.comm or f"task {number}"

    def pid(self, number: int) -> int:
        """As Linux counts: every idle task is 0; the others have their number in the task table."""
        idle = 0 <= number < self.machine.dims.tasks and self.machine.tasks[number].program == Program.IDLE
        return 0 if idle else number

    def function(self, number: int) -> str:
        return function_name(number)

    def state_name(self) -> str:
        return name_in(MachineState, self.machine.header.state)


def open_image(directory: Path) -> Image:
    """Open a run directory for reading.  Raises ImageError where there is no readable RAM in it."""
    if not directory.is_dir():
        raise ImageError(f"{directory}: no such directory; give a run directory, as cpuemu launch prints it")
    problems: list[str] = []
    memory = _map(directory / RAM_NAME)
    machine = Machine(memory, _dimensions(memory, directory))
    if machine.size > memory.size:
        raise ImageError(f"{directory / RAM_NAME}: cut short: {memory.size} bytes of {machine.size}")
    rings: BufferMemory | None = None
    try:
        rings = _map(directory / RINGS_NAME)
    except ImageError as error:
        problems.append(str(error))
    image = Image(directory, memory, machine, rings, problems=problems)
    image.configuration = _unpack(directory / CONFIG_NAME, problems)
    if (directory / VERDICT_NAME).exists():
        image.verdict = _unpack(directory / VERDICT_NAME, problems)
    return image


def _map(path: Path) -> BufferMemory:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise ImageError(f"{path}: {error.strerror}; is {path.parent} a run directory?") from None
    try:
        size = os.fstat(descriptor).st_size
        if not size:
            raise ImageError(f"{path}: empty")
        return BufferMemory(mmap.mmap(descriptor, size, prot=mmap.PROT_READ))
    finally:
        os.close(descriptor)


def _dimensions(memory: BufferMemory, directory: Path) -> Dimensions:
    """The header's numbers, believed only when they can be true."""
    path = directory / RAM_NAME
    if memory.size < Header.SIZE:
        raise ImageError(f"{path}: too short to be an image")
    header = Header(memory, 0)
    if header.magic != MAGIC:
        raise ImageError(f"{path}: not the RAM of a machine")
    if header.tag != TAG:
        raise ImageError(f"{path}: written by another version of cpuemu; read it with that one")
    dims = dimensions_of(header)
    limits = ((dims.cpus, 1, NR_CPUS), (dims.pages, 0, MAX_PAGES), (dims.zones, 1, MAX_NR_ZONES),
              (dims.tasks, 1, MAX_TASKS), (dims.slots, 0, MAX_SLOTS), (dims.ops, 0, MAX_SLOTS))
    if any(not low <= value <= high for value, low, high in limits):
        raise ImageError(f"{path}: the header is damaged (its dimensions cannot be)")
    placed, _ = place_machine(dims)
    if any(header.bases[number] != placed[region.name].base for number, region in enumerate(REGIONS)):
        raise ImageError(f"{path}: the header is damaged (its regions are not where they must be)")
    return dims


def _unpack(path: Path, problems: list[str]) -> dict[str, Any]:
    import msgpack

    try:
        content = msgpack.unpackb(path.read_bytes())
        if isinstance(content, dict):
            return content
        problems.append(f"{path}: damaged")
    except (OSError, ValueError) as error:
        problems.append(f"{path}: {error}")
    return {}
