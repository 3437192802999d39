"""Whether a run directory's machine is alive: host processes that have this very RAM mapped.

A number in RAM names a process of the host it ran on; here it may be anybody.  So nothing is asked of RAM: a process
of the machine is one whose memory map names the file, by device and inode.
"""

from __future__ import annotations

import os
from pathlib import Path

from cpuemu.report.image import Image


def processes_alive(image: Image) -> list[int]:
    """The pids of CPUs' processes, of those RAM names, that have it mapped now; none for a copy or a dead machine."""
    try:
        status = (image.directory / "ram").stat()
    except OSError:
        return []
    mark = f" {os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x} {status.st_ino} "
    pids = {process.pid for process in image.machine.processes if process.pid}
    return sorted(pid for pid in pids if _maps(pid, mark))


def _maps(pid: int, mark: str) -> bool:
    try:
        return any(mark in f"{line} " for line in Path(f"/proc/{pid}/maps").read_text().splitlines())
    except (OSError, UnicodeDecodeError):
        return False
