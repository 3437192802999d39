"""A host that has too little for us: busy loops beside the machine, as many a core as asked for."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

LOOP = "import ctypes\nctypes.CDLL(None).prctl(1, 9)\nwhile True: pass"
"""It ends with whoever started it (PR_SET_PDEATHSIG)."""


@contextlib.contextmanager
def busy_loops(a_core: int) -> Iterator[int]:
    """Processes that compute for ever, at normal priority; their number."""
    count = a_core * len(os.sched_getaffinity(0))
    loops = [subprocess.Popen([sys.executable, "-c", LOOP]) for _ in range(count)]
    try:
        yield count
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()
