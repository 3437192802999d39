"""Which machines are alive here: host processes that have a machine's RAM mapped.

A number in RAM names a process of the host it ran on; here it may be anybody.  So nothing is asked of RAM alone: a
process of a machine is one whose memory map names the file, by device and inode.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from cpuemu.report.image import RAM_NAME, Image, ImageError


def processes_alive(image: Image) -> list[int]:
    """The pids of CPUs' processes, of those RAM names, that have it mapped now; none for a copy or a dead machine."""
    try:
        status = (image.directory / RAM_NAME).stat()
    except OSError:
        return []
    here = (f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}", str(status.st_ino))
    pids = {process.pid for process in image.machine.processes if process.pid}
    return sorted(pid for pid in pids if any((device, inode) == here for device, inode, _ in _maps(pid)))


def run_directory_of(pid: int) -> Path:
    """The run directory of the machine that a process belongs to.  Raises ImageError."""
    for _, _, path in _maps(pid):
        if path.name == RAM_NAME and (path.parent / "rings").exists():
            return path.parent
    raise ImageError(f"--pid {pid}: no process of a machine that runs here; ps shows them as cpuemu cpu N")


def run_directory_alive() -> Path:
    """That of the one machine that runs here.  Raises ImageError where there is none, or more than one."""
    found = sorted(machines_alive())
    if not found:
        raise ImageError("no machine of yours runs here")
    if len(found) > 1:
        raise ImageError(f"{len(found)} machines run here; give one of {', '.join(map(str, found))}")
    return found[0]


def machines_alive() -> set[Path]:
    """The run directories of all machines that run here and are ours to look at."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _title(entry).startswith("cpuemu cpu "):
            try:
                found.add(run_directory_of(int(entry.name)))
            except ImageError:
                continue
    return found


def _title(process: Path) -> str:
    try:
        return (process / "cmdline").read_bytes().decode(errors="replace")
    except OSError:  # it has ended, or is not ours
        return ""


def _maps(pid: int) -> Iterator[tuple[str, str, Path]]:
    """Device, inode and path of each mapped file of a process; nothing of one that is gone, or not ours."""
    try:
        lines = Path(f"/proc/{pid}/maps").read_text(errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        fields = line.split(None, 5)
        if len(fields) == 6:
            yield fields[3], fields[4], Path(fields[5])
