"""What a machine needs before its first process: the run directory with RAM and rings, a private socket directory.

Disk space is reserved here: a run that starts does not end in a SIGBUS.  Sockets live in a short directory of their
own, because the path of a Unix socket ends at 107 bytes; directories of owners that are dead are removed.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import time
from pathlib import Path

from cpuemu.arch.ram import DEFAULT_RING_SIZES, RamFile, create_ram, create_rings
from cpuemu.coordinator.processes import raise_file_limit
from cpuemu.errors import UserError
from cpuemu.layout import Dimensions, place_machine

PREFIX = "cpuemu-"
OWNER = "owner"
STDERR = "stderr.log"


def run_directory(asked: str | None) -> Path:
    """Make the run directory; without a name: one of its own under ./cpuemu-runs.  Raises UserError."""
    path = Path(asked) if asked else Path("cpuemu-runs") / time.strftime(f"%Y%m%d-%H%M%S-{os.getpid()}")
    try:
        path.mkdir(parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise UserError(f"run directory {path} is not empty: name another one, or remove it first")
        probe = path / ".probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(f"run directory {path} cannot be written: {error.strerror}; choose one with --run-dir") from None
    return path.resolve()


def create_machine(run_dir: Path, dims: Dimensions) -> RamFile:
    """RAM and rings, reserved on disk.  Raises UserError where they do not fit; nothing is left then."""
    try:
        image = create_ram(run_dir, dims)
        create_rings(run_dir, dims.cpus, DEFAULT_RING_SIZES)
    except OSError as error:
        for name in ("ram", "rings"):
            (run_dir / name).unlink(missing_ok=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            need = place_machine(dims)[1] >> 20
            raise UserError(
                f"run directory {run_dir}: no space for the machine's RAM ({need} MiB and its trace rings); "
                "free some, or name another file system with --run-dir"
            ) from None
        raise UserError(f"run directory {run_dir}: {error.strerror}; choose another one with --run-dir") from None
    return image


def check_file_limit(cpus: int) -> None:
    """Every CPU's process holds all doorbells and, when all pairs have talked, a socket to every other CPU."""
    need, limit = 3 * cpus + 64, raise_file_limit()
    if limit < need:
        raise UserError(f"--cpus {cpus} needs {need} open files a process, the limit here is {limit} (ulimit -Hn)")


def socket_directory() -> Path:
    """A private directory, 0700, that names its owner."""
    remove_stale(Path(tempfile.gettempdir()))
    path = Path(tempfile.mkdtemp(prefix=PREFIX))
    (path / OWNER).write_text(f"{os.getpid()} {_started(os.getpid())}\n")
    return path


def remove_sockets(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)


def remove_stale(parent: Path) -> None:
    """Remove the socket directories of launchers that are dead (killed: they could not do it)."""
    for path in parent.glob(PREFIX + "*"):
        try:
            pid, started = (path / OWNER).read_text().split()
            if path.stat().st_uid == os.getuid() and _started(int(pid)) != started:
                remove_sockets(path)
        except (OSError, ValueError):
            continue  # not ours, or being made just now


def _started(pid: int) -> str:
    """When a process started, in clock ticks since boot; empty if there is none (a pid alone may be used again)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    except OSError:
        return ""
