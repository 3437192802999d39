"""What of RAM only measures: no decision of the kernel's depends on it, so two states that differ in it are one.

What is not named here is state, a new word too: then a round may go unnoticed, and nothing worse.  Times are left out
but for those at which something is due, and tickets but for whether there is one.
"""

from __future__ import annotations

from collections.abc import Mapping

from cpuemu.layout import Cpu, Header, Machine, Task
from cpuemu.schema import View, Word

REGIONS = ("histograms", "drains", "allocations", "page_operations", "oom_moments", "sites", "pairs")
WORDS: Mapping[type[View], tuple[str, ...]] = {
    Header: ("tickets",),
    Cpu: ("point_site", "point_word", "heart", "counters", "in_hand", "errand_ticket"),
    Task: ("stack",),
}
TICKETS = ("pending", "inservice")
"""Words of a CPU: a ticket above its source."""
DUE = ("timer_ns", "vmstat_ns", "deadline_ns")


def mask_of(machine: Machine, size: int) -> bytes:
    """Ones where RAM is state."""
    mask = bytearray(b"\xff" * size)
    for name, placed in machine.placed.items():
        struct = placed.region.struct
        element = bytes(struct.SIZE) if name in REGIONS else _element(struct)
        mask[placed.base:placed.base + placed.count * struct.SIZE] = element * placed.count
    return bytes(mask)


def _element(struct: type[View]) -> bytes:
    mask = bytearray(b"\xff" * struct.SIZE)
    for word in struct.WORDS:
        bits = _bits(struct, word)
        mask[word.offset:word.offset + word.size * word.count] = bits.to_bytes(word.size, "little") * word.count
    return bytes(mask)


def _bits(struct: type[View], word: Word) -> int:
    if word.name in WORDS.get(struct, ()) or (word.name.endswith("_ns") and word.name not in DUE):
        return 0
    return 0xFFFF if struct is Cpu and word.name in TICKETS else (1 << 8 * word.size) - 1
