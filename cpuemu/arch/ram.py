"""The machine's RAM and rings: two files in the run directory, mapped shared by every process.

They survive a kill -9 of everything: they are the dump.  Blocks are reserved with posix_fallocate, because a
write to a mapped page that a full disk cannot back is a SIGBUS.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from dataclasses import dataclass
from pathlib import Path

from cpuemu.core import Ram
from cpuemu.events import Ring, RingHeader, ring_file_size, ring_header
from cpuemu.layout import MAGIC, NR_CPUS, REGIONS, TAG, Dimensions, Machine, dimensions_of, nr_heads, place_machine
from cpuemu.schema import View

RAM_NAME = "ram"
RINGS_NAME = "rings"
DEFAULT_RING_SIZES = (16384, 32768)
"""Records in each CPU's ring of page events and of everything else: 0.5 and 1 MiB."""


@dataclass
class RamFile:
    """An open image: the mapping, its accessor, its regions."""

    mapping: mmap.mmap
    ram: Ram
    machine: Machine

    def close(self) -> None:
        # Views and accessors may outlive us; the mapping then goes with the process.
        with contextlib.suppress(BufferError):
            self.mapping.close()


@dataclass
class RingFile:
    """The open ring file."""

    mapping: mmap.mmap
    sizes: tuple[int, int]
    cpus: int


def create_ram(directory: Path, dims: Dimensions) -> RamFile:
    """Make the RAM of a new machine.  Raises OSError where the disk is too full for it."""
    placed, size = place_machine(dims)
    image = _attach(_create(directory / RAM_NAME, size), dims)
    header = image.machine.header
    header.magic, header.tag, header.ram_size = MAGIC, TAG, size
    header.nr_cpus, header.nr_pages, header.nr_zones = dims.cpus, dims.pages, dims.zones
    header.nr_tasks, header.nr_slots, header.nr_streams, header.nr_ops = dims.tasks, dims.slots, dims.streams, dims.ops
    header.nr_heads = nr_heads(dims.cpus, dims.zones)
    for number, region in enumerate(REGIONS):
        header.bases[number] = placed[region.name].base
    return image


def open_ram(directory: Path) -> RamFile:
    """Map the RAM of an existing machine, writable."""
    mapping = _map(directory / RAM_NAME)
    first = Machine(Ram(mapping), Dimensions(1, 0, 1, 0)).header
    if first.magic != MAGIC or first.tag != TAG:
        raise ValueError(f"{directory / RAM_NAME} is not an image of this version of cpuemu")
    return _attach(mapping, dimensions_of(first))


def create_rings(directory: Path, cpus: int, sizes: tuple[int, int] = DEFAULT_RING_SIZES) -> RingFile:
    """Make the trace rings of all possible CPUs.  Sizes are powers of two.  Raises OSError on a full disk."""
    mapping = _create(directory / RINGS_NAME, ring_file_size(cpus, sizes))
    accessor = Ram(mapping)
    for cpu in range(cpus):
        for ring in (Ring.PAGES, Ring.SLOW):
            header = RingHeader(accessor, ring_header(cpu, ring))
            header.size, header.cpu = sizes[ring], cpu
    return RingFile(mapping, sizes, cpus)


def open_rings(directory: Path) -> RingFile:
    """Map the rings of an existing machine, writable."""
    mapping = _map(directory / RINGS_NAME)
    accessor = Ram(mapping)
    pages, slow = (RingHeader(accessor, ring_header(0, ring)).size for ring in (Ring.PAGES, Ring.SLOW))
    sizes = (pages, slow)
    cpus = next(cpus for cpus in range(1, NR_CPUS + 1) if ring_file_size(cpus, sizes) == len(mapping))
    return RingFile(mapping, sizes, cpus)


def ring_view(rings: RingFile, cpu: int, ring: Ring) -> RingHeader:
    return RingHeader(Ram(rings.mapping), ring_header(cpu, ring))


def _create(path: Path, size: int) -> mmap.mmap:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, size)
        return mmap.mmap(descriptor, size)
    finally:
        os.close(descriptor)


def _map(path: Path) -> mmap.mmap:
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        return mmap.mmap(descriptor, os.fstat(descriptor).st_size)
    finally:
        os.close(descriptor)


def _attach(mapping: mmap.mmap, dims: Dimensions) -> RamFile:
    ram = Ram(mapping)
    return RamFile(mapping, ram, Machine(ram, dims))


def address_of(view: View, name: str, element: int = 0) -> int:
    """The address of a word by its name."""
    return next(view.addr(word, element) for word in view.WORDS if word.name == name)
