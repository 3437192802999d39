"""What the figures were taken on, and with what."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

import zmq

from benchmarks.measure import Missing
from cpuemu import __version__


def facts() -> dict[str, str]:
    """The head of the table."""
    return {
        "cpuemu": __version__,
        "processor": f"{os.cpu_count()} × {_processor()}",
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "libzmq": f"{zmq.zmq_version()} (pyzmq {zmq.__version__})",
        "compiler": _compiler(),
        "load": " ".join(f"{each:.1f}" for each in os.getloadavg()),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("model name", "Model")):
            return line.partition(":")[2].strip()
    return platform.machine()


def _compiler() -> str:
    try:
        said = subprocess.run(["cc", "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return "none"
    return said.splitlines()[0]


def libzmq() -> Path:
    """The shared library that pyzmq has loaded into this process: the counterpart uses the very same."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        path = line.split(maxsplit=5)[5:]
        if path and Path(path[0]).name.startswith("libzmq") and ".so" in path[0]:
            return Path(path[0])
    raise Missing("libzmq: pyzmq was built with libzmq inside, there is no shared library that C could load")
