"""A compiled recording in one small file: msgpack, compressed.

The one that ships is made by tools/pack_recording.py.
"""

from __future__ import annotations

import zlib
from importlib import resources
from pathlib import Path

import msgpack

from cpuemu.workloads.base import InputError, Workload
from cpuemu.workloads.replay import from_plain, plain

MAGIC = b"cpuemu-replay-2\n"


def dump(workload: Workload) -> bytes:
    return MAGIC + zlib.compress(msgpack.packb(plain(workload)), 9)


def undump(data: bytes, name: str) -> Workload:
    """Raises InputError on anything that ``dump`` did not write."""
    if not data.startswith(MAGIC):
        raise InputError(f"{name}: not a packed recording of this version of cpuemu")
    try:
        return from_plain(msgpack.unpackb(zlib.decompress(data[len(MAGIC) :])))
    except (zlib.error, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{name}: the packed recording is damaged ({error})") from None


def load_packaged(name: str) -> Workload:
    """A recording that ships with cpuemu."""
    return undump(resources.files("cpuemu.workloads").joinpath("recordings", f"{name}.replay").read_bytes(), name)


def load_file(path: Path) -> Workload:
    try:
        return undump(path.read_bytes(), str(path))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); name another file") from None
