"""The declaration once more, in C and in Cython: what setup.py builds the compiled core with."""

from __future__ import annotations

import enum
from collections.abc import Mapping

from cpuemu.schema import Region, View


def c_header(regions: tuple[Region, ...], constants: tuple[type[enum.IntEnum], ...], defines: Mapping[str, int]) -> str:
    """The same declaration as C structs and macros, offsets asserted: what the compiled core is built with."""
    lines = ["/* Generated from cpuemu/layout.py by setup.py; not edited by hand. */", "#pragma once",
             "#include <stddef.h>", "#include <stdint.h>", ""]
    for name, value in defines.items():
        lines.append(f"#define {name} {value}ULL" if value >= 1 << 31 else f"#define {name} {value}")
    for constant in constants:
        lines += [f"#define {constant.__name__.upper()}_{name} {int(member)}"
                  for name, member in constant.__members__.items()]
    seen: set[type[View]] = set()
    for number, region in enumerate(regions):
        lines.append(f"#define REGION_{region.name.upper()} {number}")
        struct = region.struct
        if struct in seen:
            continue
        seen.add(struct)
        lines += _c_struct(struct)
    return "\n".join(lines) + "\n"


def c_name(struct: type[View]) -> str:
    return "em_" + "".join("_" + c.lower() if c.isupper() else c for c in struct.__name__).lstrip("_")


def _c_struct(struct: type[View]) -> list[str]:
    name = c_name(struct)
    lines = [f"struct {name} {{"]
    end = 0
    for word in struct.WORDS:
        if word.offset > end:
            lines.append(f"    uint8_t _pad{end}[{word.offset - end}];")
        ctype = f"{'int' if word.signed else 'uint'}{word.size * 8}_t"
        suffix = f"[{word.count}]" if word.count > 1 else ""
        lines.append(f"    {ctype} {word.name}{suffix};")
        end = word.offset + word.size * word.count
    if end < struct.SIZE:
        lines.append(f"    uint8_t _pad{end}[{struct.SIZE - end}];")
    lines.append("};")
    lines.append(f"typedef struct {name} {name};")
    lines.append(f'_Static_assert(sizeof({name}) == {struct.SIZE}, "{name}");')
    lines += [f'_Static_assert(offsetof({name}, {word.name}) == {word.offset}, "{name}.{word.name}");'
              for word in struct.WORDS]
    return lines


def cython_declarations(regions: tuple[Region, ...], constants: tuple[type[enum.IntEnum], ...],
                        defines: Mapping[str, int]) -> str:
    """The same again for Cython: what ``core`` includes."""
    types = ", ".join(f"{sign}int{bits}_t" for sign in ("", "u") for bits in (8, 16, 32, 64))
    lines = ["# Generated from cpuemu/layout.py by setup.py; not edited by hand.", f"from libc.stdint cimport {types}",
             'cdef extern from "layout.h" nogil:']
    lines += [f"    const long long {name}" for name in defines]
    for constant in constants:
        lines += [f"    const int {constant.__name__.upper()}_{name}" for name in constant.__members__]
    lines += [f"    const int REGION_{region.name.upper()}" for region in regions]
    for struct in dict.fromkeys(region.struct for region in regions):
        lines.append(f"    ctypedef struct {c_name(struct)}:")
        for word in struct.WORDS:
            ctype = f"{'int' if word.signed else 'uint'}{word.size * 8}_t"
            lines.append(f"        {ctype} {word.name}" + (f"[{word.count}]" if word.count > 1 else ""))
    return "\n".join(lines) + "\n"
