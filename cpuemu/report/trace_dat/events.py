"""Each event as the reader of a trace.dat knows it: where its fields are, how it is printed; and records packed so."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from cpuemu.events import BY_ID, NR_KINDS, Event, Flag
from cpuemu.layout import NOBODY, NR_SITES
from cpuemu.report.fields import FIELDS, Args, Field, Kind
from cpuemu.report.image import Image
from cpuemu.report.records import Record
from cpuemu.report.text import names_of
from cpuemu.report.trace_dat.print_formats import print_format

FIRST_ID = 300
"""Of the events' ids: below are those of ftrace itself."""
SITES, FUNCTIONS, WORDS = 0xFFFFFFFF81000000, 0xFFFFFFFF82000000, 0xFFFF888000000000
"""Addresses that places, functions and words are given, for the symbol table."""
LARGEST = (1 << 46) - 1
SYMBOL_SIZE, NR_FUNCTIONS = 16, 256
MOST_SHOWN = 511
"""The highest target of an interrupt: an entry has at most 28 words."""
COMMON = struct.Struct("<HBBi")
SYSTEMS = {
    "mm_page": "kmem", "ipi": "ipi", "csd": "csd", "cpuhp": "cpuhp", "sched": "sched", "mm_vmscan": "vmscan",
    "mm_compaction": "compaction", "mark_victim": "oom",
}
"""The kernel's groups by the beginnings of names; all others are cpuemu's."""


@dataclass(frozen=True)
class CType:
    """How a kind of number lies in an event."""

    declaration: str
    code: str
    signed: bool = False

    @property
    def size(self) -> int:
        return struct.calcsize(self.code)

    @property
    def align(self) -> int:
        return 1 if self.code.endswith("s") else self.size


UINT, ULONG = CType("unsigned int {}", "I"), CType("unsigned long {}", "Q")
INT, POINTER, TEXT = CType("int {}", "i", True), CType("void * {}", "Q"), CType("char {}[16]", "16s")
MASK = CType("__data_loc unsigned long[] {}", "I")
C_TYPES: dict[Kind, CType] = {
    Kind.NUMBER: UINT, Kind.WIDE: ULONG, Kind.SIGNED: INT, Kind.FLAG: UINT, Kind.PFN: ULONG, Kind.GFP: ULONG,
    Kind.SITE: POINTER, Kind.FUNCTION: POINTER, Kind.WORD: POINTER, Kind.COMM: TEXT, Kind.PID: INT, Kind.VECTOR: UINT,
    Kind.TASK_STATE: UINT, Kind.STOP_STATE: UINT, Kind.MODE: UINT, Kind.COMPACT_STATUS: UINT, Kind.FAULT: UINT,
}


@dataclass
class Packed:
    """An event's fields in their places; ``pack`` makes them of a record's arguments."""

    format: str
    pack: Callable[[Args], bytes]


class Events:
    """All events, and the words that were seen, for the symbol table."""

    def __init__(self, image: Image) -> None:
        self.image, self.names = image, names_of(image)
        self.words: set[int] = set()
        self.values: dict[Kind, Callable[[int], int | bytes]] = {
            Kind.PFN: lambda pfn: pfn if pfn != NOBODY else (1 << 64) - 1,
            Kind.SITE: lambda number: SITES + min(number, NR_SITES) * SYMBOL_SIZE,
            Kind.FUNCTION: lambda number: FUNCTIONS + min(number, NR_FUNCTIONS) * SYMBOL_SIZE,
            Kind.WORD: self._word, Kind.COMM: lambda task: self.names.comm(task).encode()[:15],
            Kind.PID: lambda task: self.names.pid(task) & 0x7FFFFFFF, Kind.TASK_STATE: lambda state: min(state, 5),
            Kind.STOP_STATE: lambda state: min(state, 4), Kind.MODE: bool,
        }
        self.events = {int(event): self._packed(event) for event in FIELDS}
        self.heads: dict[tuple[int, int, int], bytes] = {}

    def payload(self, record: Record) -> bytes:
        """The whole event, in words."""
        key = record.event, record.flags, record.task
        head = self.heads.get(key)
        if head is None:
            head = self.heads[key] = self._head(*key)
        known = self.events.get(record.event)
        return head + (known.pack(record.args) if known else struct.pack("<4I", *record.args))

    def _head(self, event: int, flags: int, task: int) -> bytes:
        """Flags as the kernel numbers them."""
        bits = (flags & Flag.IRQS_OFF) | bool(flags & Flag.NEED_RESCHED) << 2 | bool(flags & Flag.HARDIRQ) << 3
        return COMMON.pack(FIRST_ID + event, bits, flags >> 4, self.names.pid(task))

    def _word(self, address: int) -> int:
        address &= LARGEST  # a ring may hold anything
        self.words.add(address)
        return WORDS + address

    def symbols(self) -> dict[int, str]:
        """Every address that an event may hold; none is left out: it would be taken for a part of the one before."""
        sites = {SITES + number * SYMBOL_SIZE: self.names.site(number) for number in range(NR_SITES + 1)}
        functions = {FUNCTIONS + number * SYMBOL_SIZE: self.names.function(number)
                     for number in range(NR_FUNCTIONS + 1)}
        words = {WORDS + word: self.names.word(word) for word in self.words}
        return {address: name.replace(" ", "_") for address, name in (sites | functions | words).items()}

    # --- one event -----------------------------------------------------------------------------------------

    def _packed(self, event: Event) -> Packed:
        fields = [(field, C_TYPES[field.kind]) for field in FIELDS[event]]
        lines, codes, place = [], "<", COMMON.size
        if event == Event.IPI_RAISE:
            fields.insert(0, (Field("target_cpus", Kind.NUMBER, lambda args: 0), MASK))
        for field, ctype in fields:
            gap = -place % ctype.align
            codes += f"{gap}x{ctype.code}" if gap else ctype.code
            lines.append(_line(field.name, ctype, place + gap))
            place += gap + ctype.size
        gap = -place % 4
        layout = struct.Struct(f"{codes}{gap}x")
        getters = [(field.of, self.values.get(field.kind)) for field, _ in fields]

        def pack(args: Args) -> bytes:
            return layout.pack(*[value(of(args)) if value else of(args) for of, value in getters])

        if event == Event.IPI_RAISE:
            return Packed(_format(event, lines), _with_mask(pack, place + gap))
        return Packed(_format(event, lines), pack)

    def formats(self) -> dict[str, list[str]]:
        """The format files, by the group of events they belong to; one for each that this version does not know."""
        found: dict[str, list[str]] = {}
        for number in range(1, NR_KINDS):
            known = self.events.get(number)
            group = _system(BY_ID[number].name) if known else "cpuemu"
            found.setdefault(group, []).append(known.format if known else _unknown(number))
        return found


def _with_mask(pack: Callable[[Args], bytes], end: int) -> Callable[[Args], bytes]:
    """The target as a bitmap behind the fixed fields, and where it is in the first of them."""

    def packed(args: Args) -> bytes:
        target = min(args[0], MOST_SHOWN)  # a ring may hold anything
        size = 4 * max(2, target // 32 + 1)
        return struct.pack("<I", end | size << 16) + pack(args)[4:] + (1 << target).to_bytes(size, "little")

    return packed


def _line(name: str, ctype: CType, place: int) -> str:
    return (f"\tfield:{ctype.declaration.format(name)};\toffset:{place};\tsize:{ctype.size};"
            f"\tsigned:{int(ctype.signed)};\n")


def _file(number: int, name: str, lines: list[str], text: str) -> str:
    common = (("common_type", CType("unsigned short {}", "H"), 0), ("common_flags", CType("unsigned char {}", "B"), 2),
              ("common_preempt_count", CType("unsigned char {}", "B"), 3), ("common_pid", INT, 4))
    return (f"name: {name}\nID: {FIRST_ID + number}\nformat:\n{''.join(_line(*each) for each in common)}\n"
            f"{''.join(lines)}\nprint fmt: {text}\n")


def _format(event: Event, lines: list[str]) -> str:
    return _file(int(event), BY_ID[event].name, lines, print_format(event))


def _unknown(number: int) -> str:
    names = "abcd"
    lines = [_line(name, UINT, COMMON.size + 4 * at) for at, name in enumerate(names)]
    return _file(number, f"event_{number}", lines, f'"%u %u %u %u", {", ".join(f"REC->{name}" for name in names)}')


def _system(name: str) -> str:
    return next((system for beginning, system in SYSTEMS.items() if name.startswith(beginning)), "cpuemu")
