"""cpuemu in a process of its own: the very one that runs here, whatever stands in the working directory."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from subprocess import CompletedProcess

HERE = str(Path(__file__).resolve().parent.parent)


def run_itself(words: Sequence[str], timeout: float | None = None, **environment: str) -> CompletedProcess[str]:
    """Run a command of cpuemu's: its status, and what it printed.

    ``timeout``: seconds, after which subprocess.TimeoutExpired is raised.
    """
    path = os.pathsep.join([*filter(None, sys.path), HERE])
    # -P: else the working directory comes first, and in a clone its sources, never built, would hide what is installed.
    return subprocess.run([sys.executable, "-P", "-m", "cpuemu", *words], capture_output=True, text=True, check=False,
                          timeout=timeout, env={**os.environ, **environment, "PYTHONPATH": path})
