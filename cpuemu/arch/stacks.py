"""What stands on a process's kernel stacks, as a number: equal stacks of two schedules have the same one.

Invariant:     of the emulated kernel's state, what is not a word of RAM is here: where each stack is, its variables,
               and what each frame has in hand (a loop's iterator), as far as these objects reach.
Writers:       none.
Steps:         none.
Not modelled:  numbers of interrupt tickets: which one came first is in nobody's future (TICKETS).

What is a view of RAM, or has its state there, counts by its name and place.  An object that is not known here is an
error, never left out.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import PurePath
from types import BuiltinMethodType, CellType, CodeType, FrameType, FunctionType, GeneratorType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

from greenlet import greenlet, settrace

from cpuemu.arch.apic import Apic
from cpuemu.arch.bytecode import UnknownObject, look_ahead, state_at
from cpuemu.core import Core, Ram, slots_of
from cpuemu.layout import Machine
from cpuemu.schema import Array, View, Word, Words

if TYPE_CHECKING:
    from cpuemu.arch.cpu import Cpu

TICKETS = frozenset({
    ("_step", "ticket"), ("_deliver", "ticket"), ("_await", "tickets"), ("take", "ticket"),
    ("_enter_interrupt", "ticket"), ("_preempted", "before"), ("post", "ticket"),
})
"""Functions and variables that number what happened, and decide nothing: tickets, points passed."""
NAMED = frozenset({
    "cpuemu.arch.cpu.Cpu", "cpuemu.arch.cpu.Traps", "cpuemu.arch.controlled.ControlledGate",
    "cpuemu.arch.controlled.Clock", "cpuemu.arch.baton.Baton", "cpuemu.arch.ram.RamFile",
    "cpuemu.scenarios.base.Scenario",
})
"""Classes whose objects hold nothing but RAM, what never changes, and what is the host's."""
def mark(cpu: Cpu) -> int:
    """Of all stacks of this process, which is at a point, and of what the CPU keeps beside RAM: 64 bits."""
    found: list[str] = [f"{cpu.number} {cpu.borrowed} {cpu.apic.life_taken};"]
    _stack(sys._getframe(1), found)
    for task, stack in sorted(cpu.stacks.items()):
        found += (f"\n{task}:", _asleep(stack))
    found += ("\nhub:", _asleep(cpu.hub) if cpu.hub is not None else "")
    _object((cpu.workload, cpu.drain), found)
    return int.from_bytes(hashlib.blake2b("".join(found).encode(), digest_size=8).digest(), "little")


def _asleep(stack: greenlet) -> str:
    """Of a kernel stack that is not the one that runs here; looked at once while it sleeps."""
    text = _sleepers.get(stack)
    if text is None:
        found: list[str] = []
        if stack is not greenlet.getcurrent() and not stack.dead and stack.gr_frame is not None:
            _stack(stack.gr_frame, found)
        text = "".join(found)
        if text:
            _sleepers[stack] = text
    return text


def _switched(event: str, stacks: tuple[greenlet, greenlet]) -> None:
    _sleepers.pop(stacks[1], None)


_sleepers: dict[greenlet, str] = {}


def _stack(frame: FrameType | None, found: list[str]) -> None:
    while frame is not None and not frame.f_globals.get("__name__", "").startswith("cpuemu.explore"):
        _frame(frame, found)
        frame = frame.f_back


def _frame(frame: FrameType, found: list[str]) -> None:
    code, last = frame.f_code, frame.f_lasti
    place = _places.get((id(code), last))
    if place is None:
        place = _places[id(code), last] = _Place(code, last)
    found.append(place.name)
    slots = slots_of(frame, place.depth)
    for number in place.counts:
        _object(slots[number], found)


class _Place:
    """Of a frame at one instruction: its name, how much it has in hand, and which of its slots have a future."""

    def __init__(self, code: CodeType, last: int) -> None:
        self.code = code  # keeps its identity its own
        self.name = f"\n{code.co_filename}:{code.co_firstlineno}:{code.co_name}@{last} "
        self.depth, live = state_at(code, last)
        names = (*code.co_varnames, *(name for name in code.co_cellvars if name not in code.co_varnames),
                 *code.co_freevars)
        self.counts = [number for number in range(len(names) + self.depth)
                       if number >= len(names) or (live >> number & 1 and (code.co_name, names[number]) not in TICKETS)]


_places: dict[tuple[int, int], _Place] = {}


def prepare() -> None:
    """Look at all code that may stand on a stack: copies of this process need not.  Notice who wakes up."""
    settrace(_switched)
    for name, module in list(sys.modules.items()):
        if name.startswith(("cpuemu.arch", "cpuemu.kernel", "cpuemu.policies", "cpuemu.workloads", "workers")):
            for held in vars(module).values():
                for part in (held, *(vars(held).values() if isinstance(held, type) else ())):
                    if isinstance(part, FunctionType) and part.__module__ == name:
                        look_ahead(part.__code__)


# --- objects -------------------------------------------------------------------------------------------------


def _object(held: Any, found: list[str]) -> None:
    look = _looks.get(type(held))
    if look is None:
        look = _looks[type(held)] = _look(held)
    look(held, found)


def _look(held: Any) -> Callable[[Any, list[str]], None]:
    """How objects of this one's class are looked at."""
    for kind, look in _KINDS:
        if isinstance(held, kind):
            return look
    if f"{type(held).__module__}.{type(held).__qualname__}" in NAMED:
        return _name
    if is_dataclass(held):
        return _fields
    if type(held).__name__ in _ITERATORS:
        return _iterator
    if hasattr(held, "__dict__"):
        return _attributes
    raise UnknownObject(f"a {type(held).__module__}.{type(held).__qualname__}")


def _value(held: Any, found: list[str]) -> None:
    found.append(f"{held!r},")


def _number(held: Any, found: list[str]) -> None:
    found.append(f"{int(held)},")


def _items(held: Any, found: list[str]) -> None:
    found.append(f"{type(held).__name__}(")
    for each in held:
        _object(each, found)
    found.append(")")


def _set(held: Any, found: list[str]) -> None:
    parts = []
    for each in held:
        part: list[str] = []
        _object(each, part)
        parts.append("".join(part))
    found.append("{" + "".join(sorted(parts)) + "}")


def _dict(held: Any, found: list[str]) -> None:
    found.append("{")
    for key, value in held.items():
        _object(key, found)
        _object(value, found)
    found.append("}")


def _view(held: Any, found: list[str]) -> None:
    found.append(f"{type(held).__name__}+{held.base},")


def _array(held: Any, found: list[str]) -> None:
    found.append(f"{held.struct.__name__}s+{held.base},")


def _name(held: Any, found: list[str]) -> None:
    found.append(f"{type(held).__name__},")


def _named(held: Any, found: list[str]) -> None:
    found.append(f"{held.__qualname__},")


def _function(held: Any, found: list[str]) -> None:
    code = held.__code__
    found.append(f"{held.__module__}.{held.__qualname__}:{code.co_firstlineno}(")
    for cell in held.__closure__ or ():
        _object(cell, found)
    found.append(")")


def _method(held: Any, found: list[str]) -> None:
    found.append(f"{held.__name__} of ")
    _object(held.__self__, found)


def _cell(held: Any, found: list[str]) -> None:
    try:
        content = held.cell_contents
    except ValueError:
        found.append("-,")
    else:
        _object(content, found)


def _generator(held: Any, found: list[str]) -> None:
    found.append("generator")
    if held.gi_frame is not None:
        _frame(held.gi_frame, found)


def _iterator(held: Any, found: list[str]) -> None:
    found.append(type(held).__name__)
    _object(held.__reduce__(), found)


def _attributes(held: Any, found: list[str]) -> None:
    found.append(f"{type(held).__name__}(")
    for name, value in sorted(vars(held).items()):
        found.append(f"{name}=")
        _object(value, found)
    found.append(")")


def _fields(held: Any, found: list[str]) -> None:
    found.append(f"{type(held).__name__}(")
    for each in fields(held):
        _object(getattr(held, each.name), found)
    found.append(")")


def _error(held: BaseException, found: list[str]) -> None:
    found.append(type(held).__name__)
    _object(held.args, found)


_ITERATORS = ("list_iterator", "tuple_iterator", "range_iterator", "enumerate", "zip", "map", "filter", "reversed",
              "list_reverseiterator", "dict_keyiterator", "dict_valueiterator", "dict_itemiterator", "chain", "islice")
"""Their ``__reduce__`` says what is left of them."""
_KINDS: list[tuple[Any, Callable[[Any, list[str]], None]]] = [
    ((bool, str, bytes, float, type(None), range, slice, PurePath), _value),
    (int, _number),  # members of enumerations, too
    ((tuple, list), _items),
    ((set, frozenset), _set),
    (dict, _dict),
    ((View, Words), _view),
    (Array, _array),
    ((Ram, Core, Machine, Apic, greenlet), _name),
    ((type, Word), _named),
    (FunctionType, _function),
    ((MethodType, BuiltinMethodType), _method),
    (ModuleType, _name),
    (CellType, _cell),
    (GeneratorType, _generator),
    (BaseException, _error),
]
_looks: dict[type, Callable[[Any, list[str]], None]] = {}

