"""Builds what is compiled: the core, whose C structs and Cython declarations are made from the one declaration in
layout.py; and schema.py, with the types of schema.pxd."""

from __future__ import annotations

import re
import sys
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
CORE = ROOT / "cpuemu" / "core"


@cache
def declaration() -> tuple[Any, Any, Any, Any]:
    """The modules schema, schema_c, layout, events, from their sources.

    schema.py is compiled itself, and what lies there compiled may be of an older text.
    """
    sys.path.insert(0, str(ROOT))
    spec = spec_from_file_location("cpuemu.schema", ROOT / "cpuemu" / "schema.py")
    assert spec is not None and spec.loader is not None
    sys.modules["cpuemu.schema"] = schema = module_from_spec(spec)
    spec.loader.exec_module(schema)
    from cpuemu import events, layout, schema_c

    return schema, schema_c, layout, events


def steps() -> str:
    """Cython: the labels of all stores of the leaves, as their sources have them."""
    sources = "".join(path.read_text() for path in sorted(CORE.glob("*.pxi")) if path.name != "layout.pxi")
    labels = sorted(set(re.findall(r'\bputi?\d+\(.+, "([^"]+)"\)', sources)))
    return "\nSTEPS = (\n" + "".join(f'    "{label}",\n' for label in labels) + ")\n"


def generate() -> None:
    """Write cpuemu/core/layout.h and layout.pxi, when they differ from what the declaration says."""
    schema, schema_c, layout, events = declaration()
    regions = (*layout.REGIONS, schema.Region("rings", events.RingHeader, "1", "heads of the trace rings"),
               schema.Region("actors", layout.Actor, "1", "actors of a controlled schedule"))
    constants = (*layout.CONSTANTS, events.Event, layout.ActorState)
    for name, text in (
        ("layout.h", schema_c.c_header(regions, constants, layout.DEFINES) + events.RING_MACROS),
        ("layout.pxi", schema_c.cython_declarations(regions, constants, layout.DEFINES) + events.RING_DECLARATIONS
         + steps()),
    ):
        path = CORE / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


class Build(build_ext):
    """Generates first; a declaration that changed rebuilds."""

    def finalize_options(self) -> None:
        generate()
        super().finalize_options()


DEPENDS = [str(path) for path in (*sorted(CORE.glob("*.pxi")), CORE / "machine.h", CORE / "rewind.h", CORE / "layout.h",
                                  ROOT / "cpuemu" / "schema.pxd")]
ARGS = ["-O2", "-std=gnu11", "-Wno-unused-function", "-Wno-unused-variable"]

generate()
setup(
    cmdclass={"build_ext": Build},
    ext_modules=[
        Extension("cpuemu.schema", ["cpuemu/schema.py"], depends=["cpuemu/schema.pxd"], extra_compile_args=ARGS),
        Extension("cpuemu.core._core", ["cpuemu/core/_core.pyx"], depends=DEPENDS, extra_compile_args=ARGS),
        Extension("cpuemu.core._stepped", ["cpuemu/core/_stepped.pyx"], depends=DEPENDS,
                  extra_compile_args=ARGS, define_macros=[("STEPPED", "1")]),
    ],
)
