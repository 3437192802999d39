"""Builds the compiled core: C structs and Cython declarations are made from the one declaration in layout.py."""

from __future__ import annotations

import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
CORE = ROOT / "cpuemu" / "core"


def generate() -> None:
    """Write cpuemu/core/layout.h and layout.pxi, when they differ from what the declaration says."""
    sys.path.insert(0, str(ROOT))
    from cpuemu import events, layout, schema

    regions = (*layout.REGIONS, schema.Region("rings", events.RingHeader, "1", "heads of the trace rings"),
               schema.Region("actors", layout.Actor, "1", "actors of a controlled schedule"))
    constants = (*layout.CONSTANTS, events.Event, layout.ActorState)
    for name, text in (
        ("layout.h", schema.c_header(regions, constants, layout.DEFINES) + events.RING_MACROS),
        ("layout.pxi", schema.cython_declarations(regions, constants, layout.DEFINES) + events.RING_DECLARATIONS),
    ):
        path = CORE / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


class Build(build_ext):
    """Generates first; a declaration that changed rebuilds."""

    def finalize_options(self) -> None:
        generate()
        super().finalize_options()


DEPENDS = [str(path) for path in sorted(CORE.glob("*.pxi"))] + [str(CORE / "machine.h"), str(CORE / "layout.h")]
ARGS = ["-O2", "-std=gnu11", "-Wno-unused-function", "-Wno-unused-variable"]

generate()
setup(
    cmdclass={"build_ext": Build},
    ext_modules=[
        Extension("cpuemu.core._core", ["cpuemu/core/_core.pyx"], depends=DEPENDS, extra_compile_args=ARGS),
        Extension("cpuemu.core._stepped", ["cpuemu/core/_stepped.pyx"], depends=DEPENDS,
                  extra_compile_args=ARGS, define_macros=[("STEPPED", "1")]),
    ],
)
