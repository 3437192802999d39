"""What the kernel stacks of a process hold, as one number: the half of a CPU's state that does not stand in RAM.

Invariant:     the same number at the same place of the same process: its stacks would go on in the same way, given the
               same RAM.
Writers:       none.
Steps:         none.
Not modelled:  what other objects than values and the kernel's own records keep to themselves.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import is_dataclass
from hashlib import blake2b
from types import FrameType
from typing import TYPE_CHECKING, Any

from cpuemu.schema import View

if TYPE_CHECKING:
    from cpuemu.arch.cpu import Cpu

MACHINE = ("cpuemu.arch.", "cpuemu.core.")
"""Modules whose functions stand between those of the kernel, and do the same whatever they have in hand."""
BELOW = ("workers.", "cpuemu.explore.")
"""Modules of who started the kernel."""


def fingerprint(cpu: Cpu) -> int:
    """Of the stack that asks, and of those of all tasks that are inside the kernel in this process."""
    asleep = ((task, stack.gr_frame) for task, stack in sorted(cpu.stacks.items()))
    stacks = [(cpu.number, list(_frames(sys._getframe(1)))), *((task, list(_frames(frame))) for task, frame in asleep)]
    return int.from_bytes(blake2b(repr(stacks).encode(), digest_size=8).digest(), "little")


def _frames(frame: FrameType | None) -> Iterator[tuple[str, int, list[Any]]]:
    """Function, place in it, and variables, newest first: of the kernel, of a policy or a workload of the user's."""
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.startswith(BELOW):
            return
        if not module.startswith(MACHINE):
            yield frame.f_code.co_qualname, frame.f_lasti, [_value(each) for each in frame.f_locals.values()]
        frame = frame.f_back


def _value(found: object) -> Any:
    """What decides how code goes on with it."""
    if found is None or isinstance(found, (int, str, bytes, float)):
        return found
    if isinstance(found, (list, tuple)):
        return [_value(each) for each in found]
    if isinstance(found, View):
        return found.base
    if is_dataclass(found) and type(found).__module__.startswith("cpuemu.kernel."):
        return [_value(each) for each in vars(found).values()]
    return type(found).__name__
