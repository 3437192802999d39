"""The compiled leaves: atomics, lock words, lists and buddy operations, the ring write, the batch loop.

Each leaf is one critical section.  ``_stepped`` is the same source with a step before each store.
"""

from cpuemu.core._core import (
    CAN_REWIND,
    Backtrace,
    BadPage,
    Core,
    DoubleAlloc,
    DoubleFree,
    LeafError,
    ListCorruption,
    Ram,
    Turns,
    bucket,
    now,
    rewind,
    rewind_here,
    slots_of,
)

__all__ = ["CAN_REWIND", "Backtrace", "BadPage", "Core", "DoubleAlloc", "DoubleFree", "LeafError", "ListCorruption",
           "Ram", "Turns", "bucket", "now", "rewind", "rewind_here", "slots_of"]
