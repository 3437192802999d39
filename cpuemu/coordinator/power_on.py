"""What a machine needs before its first process: the run directory with RAM and rings, a private socket directory.

Disk space is reserved here: a run that starts does not end in a SIGBUS.  Sockets live in a short directory of their
own, because the path of a Unix socket ends at 107 bytes; its name tells whose it is, so that the next launch can
remove what a killed launcher left.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack

from cpuemu.arch.ram import DEFAULT_RING_SIZES, RAM_NAME, RINGS_NAME, RamFile, create_ram, create_rings
from cpuemu.coordinator.processes import raise_file_limit
from cpuemu.errors import UserError
from cpuemu.layout import Dimensions, nr_processes, place_machine

PREFIX = "cpuemu-"
STDERR = "stderr.log"
CONFIGURATION = "machine.msgpack"
LONGEST_SOCKET = "/255.4294967295"
SOCKET_PATH_LIMIT = 107
REMOTE_FILE_SYSTEMS = frozenset({
    "9p", "afs", "beegfs", "ceph", "cifs", "fuse.glusterfs", "fuse.sshfs", "fuse.vmhgfs-fuse", "gpfs", "lustre", "nfs",
    "nfs4", "smb3", "vboxsf", "virtiofs",
})
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass
class RunDirectory:
    """Where a run leaves everything.  ``made``: directories that were not there before, innermost first.

    ``place``: where the machine runs.  Memory shared through a file needs a local file system: where ``path`` is on
    none, a private directory holds the machine, and ``bring_home`` moves it.
    """

    path: Path
    made: tuple[Path, ...]
    place: Path

    def discard(self) -> None:
        """Nothing was started: remove what was put here, and the directories made for it."""
        for name in (RAM_NAME, RINGS_NAME, CONFIGURATION, STDERR):
            (self.place / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # somebody else put something there meanwhile
            for directory in (*([self.place] if self.place != self.path else []), *self.made):
                directory.rmdir()

    def bring_home(self) -> str:
        """Move what a private place holds; a sentence about it, empty when there is nothing to say."""
        place = self.place
        if place == self.path:
            return ""
        try:
            for file in sorted(place.iterdir()):
                shutil.move(file, self.path / file.name)
            place.rmdir()
        except OSError as error:
            return f"the run could not be moved to {self.path} ({error.strerror}): what is missing there is in {place}"
        self.place = self.path
        return f"{self.path} is not on a local file system: the machine ran in {place} and was moved at its end"


def run_directory(asked: str | None) -> RunDirectory:
    """Make the run directory; without a name: one of its own under ./cpuemu-runs.  Raises UserError."""
    path = Path(asked) if asked else Path("cpuemu-runs") / time.strftime(f"%Y%m%d-%H%M%S-{os.getpid()}")
    try:
        path = path.absolute()
        made = tuple(each for each in (path, *path.parents) if not each.exists())
        path.mkdir(parents=True, exist_ok=True)
        run_dir = RunDirectory(path.resolve(), made, path.resolve())
        if any(path.iterdir()):
            raise UserError(f"--run-dir {path}: the directory is not empty; name another one, or remove it first")
        if not os.access(path, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        if is_remote(run_dir.path):
            run_dir.place = Path(tempfile.mkdtemp(prefix="cpuemu-run-"))
        return run_dir
    except OSError as error:
        raise UserError(f"--run-dir {path}: cannot be written to ({error.strerror}); name another one") from None


def is_remote(path: Path) -> bool:
    """Whether a directory is on a network's or a host's file system: shared mappings do not hold there."""
    return file_system(path) in REMOTE_FILE_SYSTEMS


def file_system(path: Path) -> str:
    """The type of the file system that a path is on, as mountinfo names it."""
    found = (0, "")
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        mount, _, rest = line.partition(" - ")
        point = mount.split()[4].encode().decode("unicode_escape")
        if path.is_relative_to(point) and len(point) >= found[0]:
            found = (len(point), rest.split()[0])
    return found[1]


def create_machine(run_dir: Path, dims: Dimensions) -> RamFile:
    """RAM and rings, reserved on disk.  Raises UserError where they do not fit."""
    try:
        image = create_ram(run_dir, dims)
        create_rings(run_dir, dims.cpus, DEFAULT_RING_SIZES)
    except OSError as error:
        need = place_machine(dims)[1] + (sum(DEFAULT_RING_SIZES) * dims.cpus << 5) >> 20
        raise _no_room(run_dir, error, f"the machine needs {need} MiB there for its RAM and its trace rings") from None
    return image


def save_configuration(run_dir: Path, configuration: dict[str, Any]) -> None:
    """machine.msgpack: every option, for whoever reads the run later.  Raises UserError."""
    try:
        (run_dir / CONFIGURATION).write_bytes(msgpack.packb(configuration))
    except OSError as error:
        raise _no_room(run_dir, error, "the machine's configuration does not fit") from None


def _no_room(run_dir: Path, error: OSError, need: str) -> UserError:
    if error.errno in NO_SPACE:
        return UserError(f"--run-dir {run_dir}: no space left; {need}; free some, or name another file system")
    return UserError(f"--run-dir {run_dir}: cannot be written to ({error.strerror}); name another directory")


def check_file_limit(cpus: int) -> None:
    """Every process holds all doorbells and, when all pairs have talked, a socket to every other CPU."""
    need, limit = 3 * cpus + nr_processes(cpus) + 64, raise_file_limit()
    if limit < need:
        raise UserError(f"--cpus {cpus}: needs {need} open files a process, the limit here is {limit}; "
                        "raise it (ulimit -Hn), or take fewer CPUs")


# --- sockets -----------------------------------------------------------------------------------------------


def socket_directory() -> Path:
    """A private directory (0700), its owner in its name: process, its start, its pid namespace.  Raises UserError."""
    parents = [Path(tempfile.gettempdir()), Path("/tmp")]
    try:
        parent = next(each for each in parents if _short_enough(each) and os.access(each, os.W_OK | os.X_OK))
        remove_stale(parent)
        return Path(tempfile.mkdtemp(prefix=PREFIX + _owner(os.getpid()) + "-", dir=parent))
    except StopIteration:
        raise UserError(f"TMPDIR {parents[0]}: too long for the path of a socket; name a shorter one") from None
    except OSError as error:
        raise UserError(f"TMPDIR {parents[0]}: no directory for sockets can be made there ({error.strerror}); "
                        "name another one") from None


def _short_enough(parent: Path) -> bool:
    return len(os.fsencode(parent / PREFIX)) + len(_owner(os.getpid())) + 9 + len(LONGEST_SOCKET) <= SOCKET_PATH_LIMIT


def remove_sockets(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)


def remove_stale(parent: Path) -> None:
    """Remove the socket directories of launchers that are dead (killed: they could not do it)."""
    for path in parent.glob(PREFIX + "*-*-*-*"):
        pid, started, namespace = path.name.removeprefix(PREFIX).split("-")[:3]
        with contextlib.suppress(OSError):  # not ours, or removed by somebody else just now
            here = namespace == _owner(os.getpid()).rpartition("-")[2]
            if here and path.stat().st_uid == os.getuid() and _owner(pid) != f"{pid}-{started}-{namespace}":
                remove_sockets(path)


def _owner(pid: int | str) -> str:
    """Who a process is: a pid alone may be used again, and means another one in another namespace."""
    try:
        started = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    except OSError:
        started = "gone"
    return f"{pid}-{started}-{Path('/proc/self/ns/pid').stat().st_ino}"
