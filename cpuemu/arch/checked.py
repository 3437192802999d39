"""Checked mode: every store and every atomic operation of kernel code is held against the declaration of its word.

Invariant:     a word is changed only by whom layout.py names as its writer; a word that no lock protects is changed
               only by an atomic operation, on the word that the CPU's last point declared.
Writers:       none: this looks at what others write.
Steps:         none.
Not modelled:  reads; the compiled leaves, which assert their locks themselves (core/locks.pxi).

It makes the promise of ``point(site, word, kind)`` true: whoever decides at a point knows what is written next.  A
violation is a defect of the emulator, never of the emulated machine: an exception, not a finding.
"""

from __future__ import annotations

import bisect
from typing import Any

from cpuemu.arch.writers import RULES, Rule, Write, Writer, outside
from cpuemu.core import Ram
from cpuemu.layout import Dimensions, Machine, MachineState, name_of
from cpuemu.schema import Address, View, Word
from cpuemu.sites import site_name


class UndeclaredAccess(AssertionError):
    """A word was written by somebody, or at a place, that its declaration does not allow."""


class CheckedRam(Ram):
    """RAM that refuses a write which the declaration does not allow.  Reads are as ever."""

    writer: Writer | None = None
    """Whose process this is; without one nothing is checked."""

    def watch(self, machine: Machine, number: int, process: int) -> None:
        """Check from now on what CPU ``number`` writes.  ``machine``: a view of the same RAM that is not checked."""
        self._regions = sorted(machine.placed.values(), key=lambda placed: placed.base)
        self._bases = [placed.base for placed in self._regions]
        self._words = [_words(placed.region.struct) for placed in self._regions]
        self._writes: dict[tuple[Address, bool], tuple[Write, Rule]] = {}
        """Each that has been looked up: the same words are written again and again."""
        self.writer = Writer(machine, number, process)

    def become(self, number: int) -> None:
        """This process runs another CPU from now on."""
        assert self.writer is not None
        self.writer.become(number)

    # --- what is checked -----------------------------------------------------------------------------------

    def store(self, offset: int, size: int, value: int) -> None:
        self._check(offset << 2 | size.bit_length() - 1, atomic=False)
        super().store(offset, size, value)

    def store_bytes(self, offset: int, data: bytes) -> None:
        self._check(offset << 2, atomic=False)
        super().store_bytes(offset, data)

    def write(self, address: Address, value: int) -> None:
        self._check(address, atomic=False)
        super().write(address, value)

    def cmpxchg(self, address: Address, old: int, new: int) -> bool:
        self._check(address, atomic=True)
        return super().cmpxchg(address, old, new)

    def xchg(self, address: Address, value: int) -> int:
        self._check(address, atomic=True)
        return super().xchg(address, value)

    def add(self, address: Address, delta: int) -> int:
        self._check(address, atomic=True)
        return super().add(address, delta)

    def set_bits(self, address: Address, bits: int) -> int:
        self._check(address, atomic=True)
        return super().set_bits(address, bits)

    def clear_bits(self, address: Address, bits: int) -> int:
        self._check(address, atomic=True)
        return super().clear_bits(address, bits)

    def _check(self, address: Address, atomic: bool) -> None:
        who = self.writer
        if who is None:
            return
        known = self._writes.get((address, atomic))
        write, rule = self._looked_up(address, atomic) if known is None else known
        if rule(who, write) or who.machine.header.state > MachineState.STOPPING:
            return
        me = who.me
        task = who.machine.tasks[me.current]
        declared = name_of(who.machine, me.point_word) if me.point_word else "no word"
        raise UndeclaredAccess(
            f"cpu {who.number} ({task.comm}) {'changes' if atomic else 'stores'} {name_of(who.machine, address)}, "
            f"whose writer is: {write.word.writer}; its last point is {site_name(who.machine, me.point_site)}, "
            f"which declared {declared}")

    def _looked_up(self, address: Address, atomic: bool) -> tuple[Write, Rule]:
        offset = address >> 2
        number = bisect.bisect_right(self._bases, offset) - 1
        region = self._regions[number].region
        element, inside = divmod(offset - self._bases[number], region.struct.SIZE)
        found = self._words[number].get(inside)
        if found is None:
            raise UndeclaredAccess(f"RAM+{offset:#x} is no declared word ({region.name}[{element}])")
        write = Write(address, region.name, element, *found, atomic)
        known = self._writes[address, atomic] = write, RULES.get(write.word.writer, outside)
        return known


def _words(struct: type[View]) -> dict[int, tuple[Word, int]]:
    """Where each word of a struct begins, and each element of its arrays: the word, and which element."""
    return {word.offset + part * word.size: (word, part) for word in struct.WORDS for part in range(word.count)}


def checked_machine(buffer: Any, dims: Dimensions, number: int, process: int) -> tuple[CheckedRam, Machine]:
    """RAM and its regions as CPU ``number``, in its process, sees them in checked mode."""
    ram = CheckedRam(buffer)
    machine = Machine(ram, dims)
    ram.watch(Machine(Ram(buffer), dims), number, process)
    return ram, machine
