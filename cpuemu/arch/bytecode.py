"""What a frame of Python's holds at an instruction: how much it has in hand, and which variables have a future.

Of CPython 3.11, 3.12 and 3.13, whose instructions these are.
"""

from __future__ import annotations

import dis
import sys
from collections.abc import Sequence
from types import CodeType
from typing import Any

PUSHED = {
    "FOR_ITER": 1, "SEND": 1, "YIELD_VALUE": 1, "CALL": 1, "CALL_FUNCTION_EX": 1, "PRECALL": 1, "BINARY_OP": 1,
    "BINARY_SUBSCR": 1, "COMPARE_OP": 1, "CONTAINS_OP": 1, "UNARY_NOT": 1, "UNARY_NEGATIVE": 1, "UNARY_INVERT": 1,
    "GET_ITER": 1, "LOAD_ATTR": 1, "LOAD_METHOD": 2, "BEFORE_WITH": 2, "WITH_EXCEPT_START": 1, "FORMAT_VALUE": 1,
    "STORE_SUBSCR": 0, "STORE_ATTR": 0, "DELETE_SUBSCR": 0, "LIST_EXTEND": 0, "SET_UPDATE": 0, "DICT_UPDATE": 0,
    "DICT_MERGE": 0, "CALL_INTRINSIC_1": 1, "RESUME": 0, "POP_TOP": 0, "IMPORT_NAME": 1, "CALL_KW": 1, "TO_BOOL": 1,
    "FORMAT_SIMPLE": 1, "FORMAT_WITH_SPEC": 1, "CONVERT_VALUE": 1,
}
"""What an instruction that runs other code of Python's leaves on its frame's stack, when that code is done."""


class UnknownObject(Exception):
    """Something stands on a stack of which it is not known what it holds."""


class Instruction:
    """``depth``: how much its frame has in hand while it runs other code of Python's.  ``live``: the variables that are
    read after it and not written before that, a bit a slot; cells always are.
    """

    def __init__(self, name: str, reads: int, writes: int) -> None:
        self.name, self.reads, self.writes = name, reads, writes
        self.depth = self.live = 0
        self.next: list[int] = []


def state_at(code: CodeType, last: int) -> tuple[int, int]:
    """Depth and live variables while the instruction at ``last`` runs other code."""
    instructions = _codes.get(id(code))
    if instructions is None:
        instructions = _codes[id(code)] = instructions_of(code)
    while last not in instructions:  # its caches stand behind an instruction
        last -= 2
    found = instructions[last]
    if found.name not in PUSHED:
        raise UnknownObject(f"{code.co_name}: what {found.name} has in hand while other code runs")
    return found.depth, found.live


def instructions_of(code: CodeType) -> dict[int, Instruction]:
    """Those that can be come to, by their places."""
    raw, following = _instructions(code)
    found: dict[int, Instruction] = {}
    handlers: Sequence[Any] = dis.Bytecode(code).exception_entries if code.co_exceptiontable else ()  # type: ignore[attr-defined]
    ahead = [(0, 0), *((entry.target, entry.depth + entry.lasti + 1) for entry in handlers)]
    while ahead:
        offset, depth = ahead.pop()
        offset = _behind_prefixes(raw, offset)
        if offset in found:
            continue
        operation, argument = raw[offset]
        name, given = dis.opname[operation], argument if operation >= dis.HAVE_ARGUMENT else None
        here = found[offset] = Instruction(name, *_variables(name, argument))
        after = depth + dis.stack_effect(operation, given, jump=False)
        here.depth = after - _pushed(name, argument)
        if operation in dis.hasjrel:
            target = _behind_prefixes(raw, following[offset] + (-2 if "BACKWARD" in name else 2) * argument)
            here.next.append(target)
            ahead.append((target, depth + dis.stack_effect(operation, given, jump=True)))
        if name not in ENDS:
            here.next.append(_behind_prefixes(raw, following[offset]))
            ahead.append((here.next[-1], after))
    for entry in handlers:
        target = _behind_prefixes(raw, entry.target)
        for offset, here in found.items():
            if entry.start <= offset < entry.end:
                here.next.append(target)
    _find_live(code, found)
    return found


def _find_live(code: CodeType, found: dict[int, Instruction]) -> None:
    """Backwards, until nothing is added any more."""
    cells = sum(1 << number for number in range(code.co_nlocals + len(code.co_cellvars) + len(code.co_freevars))
                if number >= code.co_nlocals or code.co_varnames[number] in code.co_cellvars)
    backwards = [found[offset] for offset in sorted(found, reverse=True)]
    changed = True
    while changed:
        changed = False
        for here in backwards:
            live = cells
            for offset in here.next:
                other = found[offset]
                live |= other.reads | other.live & ~other.writes
            changed = changed or live != here.live
            here.live = live


def _pushed(name: str, argument: int) -> int:
    """What it leaves on the stack that is not there yet while it runs other code, or is asleep."""
    if name == "LOAD_ATTR" and METHODS_BY_ATTR and argument & 1:
        return 2
    if name == "RESUME" and ASLEEP_AT_RESUME and argument & AFTER_YIELD:
        return 1
    return PUSHED.get(name, 0)


def _variables(name: str, argument: int) -> tuple[int, int]:
    """Which an operation reads, and which it writes; since 3.13 some are two in one."""
    first, second = 1 << (argument >> 4), 1 << (argument & 15)
    if name == "LOAD_FAST_LOAD_FAST":
        return first | second, 0
    if name == "STORE_FAST_STORE_FAST":
        return 0, first | second
    if name == "STORE_FAST_LOAD_FAST":
        return second & ~first, first
    return (1 << argument if name in READS else 0), (1 << argument if name in WRITES else 0)


def _behind_prefixes(raw: dict[int, tuple[int, int]], offset: int) -> int:
    """The instruction that begins at an offset."""
    while offset not in raw:
        offset += 2
    return offset


def _instructions(code: CodeType) -> tuple[dict[int, tuple[int, int]], dict[int, int]]:
    """Operation and argument of each instruction, by its place; and the place behind it and its caches."""
    raw, found, following = code.co_code, {}, {}
    argument, last = 0, 0
    for offset in range(0, len(raw), 2):
        if raw[offset] == CACHE:
            following[last] = offset + 2
            continue
        argument = argument << 8 | raw[offset + 1]
        if raw[offset] == dis.EXTENDED_ARG:
            continue
        found[offset], following[offset], last, argument = (raw[offset], argument), offset + 2, offset, 0
    return found, following


ENDS = ("RETURN_VALUE", "RETURN_CONST", "RAISE_VARARGS", "RERAISE", "JUMP_FORWARD", "JUMP_BACKWARD",
        "JUMP_BACKWARD_NO_INTERRUPT")
"""Behind these nothing follows."""
CACHE = dis.opmap["CACHE"]
METHODS_BY_ATTR = sys.version_info >= (3, 12)
ASLEEP_AT_RESUME = sys.version_info >= (3, 13)
"""A generator that has yielded is at the instruction that goes on, and what it is sent is not on its stack yet."""
AFTER_YIELD = 3
READS = frozenset({"LOAD_FAST", "LOAD_FAST_CHECK", "LOAD_FAST_AND_CLEAR", "DELETE_FAST"})
WRITES = frozenset({"STORE_FAST"})
_codes: dict[int, dict[int, Instruction]] = {}


def look_ahead(code: CodeType) -> None:
    """Know this code, and what is made in it, before anybody asks."""
    _codes[id(code)] = instructions_of(code)
    for part in code.co_consts:
        if isinstance(part, CodeType):
            look_ahead(part)
