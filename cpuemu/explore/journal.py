"""The journal of an exploration: one line a schedule, written when it is over, in the order of their numbers.

A journal says enough to count everything again, so whoever goes on with it ends where an exploration without a break
would have ended.  Its first line says what is explored, and with what code: other code could give other results, and is
refused.  A last line that was cut short is of a schedule that will be run again.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cpuemu
from cpuemu.errors import UserError
from cpuemu.explore.species import Access, Pair

FORMAT = 1
NAME = "journal"
PARTS = ("arch", "coordinator", "core", "explore", "kernel", "policies", "scenarios", "workloads")
"""Packages of cpuemu that what comes out depends on; so do its own files and workers/."""


@dataclass
class Entry:
    """What is kept of a schedule.  ``pairs``, ``accesses``: only those that no schedule before had (a walk: all)."""

    strategy: str
    seed: int
    verdict: str
    signature: str
    steps: int
    decisions: int
    deliveries: int
    trace: str
    orders: str
    handovers: str
    pairs: list[Pair] = field(default_factory=list)
    accesses: list[Access] = field(default_factory=list)
    search: Any = None

    @property
    def bad(self) -> bool:
        return self.verdict != "ok"


class Journal:
    """In ``directory``, of what ``header`` says; made when there is none.  Raises UserError."""

    def __init__(self, directory: Path, header: dict[str, Any]) -> None:
        self.path = directory / NAME
        self.entries: list[Entry] = []
        self.kept = 0
        """Entries of earlier runs."""
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self.file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
            self._lock()
            self._read({"format": FORMAT, **header})
        except OSError as error:
            raise UserError(f"{self.path}: {error.strerror}; name another directory with --save") from None

    def _lock(self) -> None:
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{self.path.parent}: another cpuemu explore is at work there; wait for it, or name "
                            "another directory with --save") from None

    def _read(self, header: dict[str, Any]) -> None:
        whole, _, torn = self.path.read_bytes().rpartition(b"\n")
        lines = whole.split(b"\n") if whole else []
        if torn:
            os.truncate(self.file, len(whole) + bool(whole))
        if not lines:
            self._write(header)
            return
        number = 1
        try:
            self._check(json.loads(lines[0]), header)
            for number, line in enumerate(lines[1:], 2):  # noqa: B007
                self.entries.append(_entry(json.loads(line)))
        except (ValueError, TypeError, KeyError):
            raise UserError(f"{self.path}: line {number} is none of a journal of cpuemu explore; name another "
                            "directory with --save") from None
        self.kept = len(self.entries)

    def _check(self, there: dict[str, Any], here: dict[str, Any]) -> None:
        if there.get("code") != here.get("code"):
            raise UserError(f"{self.path.parent}: explored with other code of cpuemu or of the scenario's files; name "
                            "another directory with --save")
        for key in sorted(there.keys() | here.keys()):
            if there.get(key) != here.get(key):
                raise UserError(f"{self.path.parent}: holds another exploration ({key}: {_short(there.get(key))} "
                                f"there, {_short(here.get(key))} here); name another directory with --save")

    def append(self, entry: Entry) -> None:
        """Raises UserError when there is no room."""
        self._write(vars(entry))
        self.entries.append(entry)

    def _write(self, content: dict[str, Any]) -> None:
        line = json.dumps(content, separators=(",", ":")).encode() + b"\n"
        try:
            written = os.write(self.file, line)
        except OSError as error:
            self._full(error.strerror or str(error))
        if written < len(line):
            self._full("no space left")

    def _full(self, reason: str) -> None:
        raise UserError(f"{self.path}: cannot be written ({reason}); {len(self.entries)} schedules and what they found "
                        "are kept there: make room, and the same command goes on")

    def save(self, name: str, number: int, content: bytes) -> None:
        """Keep what a search knows after ``number`` schedules, beside what it knew one before.  Raises UserError."""
        path = self.path.parent / f"{name}-{number % 2}"
        try:
            path.write_bytes(number.to_bytes(8, "little") + content)
        except OSError as error:
            self._full(error.strerror or str(error))

    def saved(self, name: str, number: int) -> bytes:
        """What was known after ``number`` schedules.  Raises UserError."""
        path = self.path.parent / f"{name}-{number % 2}"
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}): this search cannot go on; name another "
                            "directory with --save") from None
        if content[:8] != number.to_bytes(8, "little"):
            raise UserError(f"{path}: is not that of schedule {number}: this search cannot go on; name another "
                            "directory with --save")
        return content[8:]

    def close(self) -> None:
        os.close(self.file)


def _entry(line: dict[str, Any]) -> Entry:
    return Entry(**{**line, "pairs": [(first, second) for first, second in line["pairs"]],
                    "accesses": [Access(*each) for each in line["accesses"]]})


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


def code(files: Iterable[Path] = ()) -> str:
    """A number of all code that what comes out depends on, ``files`` of the user's among it.  Raises UserError."""
    root = Path(cpuemu.__file__).parent
    found = [path for part in PARTS for path in (root / part).rglob("*") if path.suffix in (".py", ".so")]
    found += [*root.glob("*.py"), *root.parent.glob("workers/*.py")]
    digest = hashlib.sha256()
    for path in [*sorted(found), *files]:
        try:
            digest.update(path.name.encode() + path.read_bytes())
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}); a schedule needs its program") from None
    return digest.hexdigest()[:12]
