"""The C sides, compiled as the core is."""

from __future__ import annotations

import ctypes
import shlex
import subprocess
import sysconfig
from pathlib import Path

from benchmarks.measure import Missing

SOURCES = Path(__file__).resolve().parent / "c"
CORE = Path(__file__).resolve().parent.parent / "cpuemu" / "core"
FLAGS = ("-O2", "-std=gnu11")
"""Those of setup.py, behind those that Python's own build gives every extension; a test holds the two together."""


def build(source: str, output: Path, *options: str) -> Path:
    """Compile one file of ``c/``.  Raises Missing."""
    command = [*shlex.split(sysconfig.get_config_var("CC") or "cc"),
               *shlex.split(sysconfig.get_config_var("CFLAGS") or ""), *FLAGS,
               "-Wno-unused-function", "-Wno-unused-variable", f"-I{CORE}", *options, str(SOURCES / source),
               "-o", str(output), "-ldl"]
    try:
        made = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        raise Missing(f"a C compiler: {command[0]} cannot be started ({error.strerror})") from None
    if made.returncode:
        raise Missing(f"a C compiler that can make benchmarks/c/{source}: {made.stderr.strip().splitlines()[-1]}")
    return output


class Allocator:
    """c/allocator.c, loaded into this process."""

    def __init__(self, directory: Path) -> None:
        library = ctypes.CDLL(str(build("allocator.c", directory / "allocator.so", "-shared", "-fPIC")))
        for name in ("run", "pairs_by_call", "write_records"):
            function = getattr(library, name)
            function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int64]
            function.restype = ctypes.c_int64
        self.library = library
