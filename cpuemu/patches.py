"""Kernel patches: a unified diff against cpuemu/kernel or cpuemu/policies, applied while its files are imported.

A process runs one kernel from its first import on, as a machine runs the kernel that it has booted: ``apply`` comes
before, and every process forked later has the same.  A hunk is found by its lines, wherever they stand now, and they
must stand there exactly once: a patch that no longer fits is refused, never guessed at.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

from cpuemu.errors import UserError

ROOT = Path(__file__).parent.parent
PATCHED = ("cpuemu/kernel/", "cpuemu/policies/")

_applied: list[str] = []


@dataclass(frozen=True)
class Change:
    """One file as it is, and as the patch makes it.  ``path``: as in ``cpuemu/kernel/smp.py``."""

    path: str
    before: str
    after: str

    @property
    def module(self) -> str:
        return self.path.removesuffix(".py").replace("/", ".")

    def diff(self, backwards: bool = False) -> str:
        """As a unified diff, or as the one that takes it back."""
        first, second = (self.after, self.before) if backwards else (self.before, self.after)
        return "".join(difflib.unified_diff(first.splitlines(True), second.splitlines(True),
                                            f"a/{self.path}", f"b/{self.path}"))


def read(path: Path) -> str:
    """A patch file.  Raises UserError."""
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise UserError(f"--patch {path}: cannot be read ({why}); give a unified diff, as git diff prints it") from None


def changes(text: str, name: str = "--patch") -> list[Change]:
    """What a patch makes of each file that it names.  Raises UserError: ``name`` says whose patch it is."""
    from unidiff.errors import UnidiffParseError
    from unidiff.patch import PatchSet

    try:
        files = list(PatchSet(text))
    except UnidiffParseError as error:
        raise UserError(f"{name}: not a unified diff ({error}); give one as git diff prints it") from None
    if not files:
        raise UserError(f"{name}: there is no change in it; give a unified diff as git diff prints it")
    return [_change(file.path, [(_lines(hunk.source), _lines(hunk.target)) for hunk in file], name) for file in files]


def _lines(lines: Sequence[str]) -> str:
    return "".join(line[1:] for line in lines if line[0] in " +-")


def _change(path: str, hunks: Sequence[tuple[str, str]], name: str) -> Change:
    if not path.startswith(PATCHED) or not path.endswith(".py") or ".." in path:
        raise UserError(f"{name}: {path} is no file of the emulated kernel; what can be patched is in "
                        f"{' and '.join(PATCHED)}")
    try:
        before = after = (ROOT / path).read_text()
    except OSError as error:
        raise UserError(f"{name}: {path} cannot be read ({error.strerror}); this cpuemu has no such file") from None
    for number, (old, new) in enumerate(hunks, 1):
        # From the beginning of a line, so that no hunk begins inside one.
        found = ("\n" + after).count("\n" + old)
        if found != 1:
            where = "nowhere" if not found else f"{found} times"
            raise UserError(f"{name}: the old lines of hunk {number} stand {where} in {path}: it is for another "
                            "cpuemu, or needs more lines around it")
        after = ("\n" + after).replace("\n" + old, "\n" + new)[1:]
    return Change(path, before, after)


def apply(text: str, name: str = "--patch") -> None:
    """From here on, the kernel that is imported is the patched one.

    Raises UserError where the patch does not fit, AssertionError when one of its files was imported before.
    """
    found = changes(text, name)
    late = [change.module for change in found if change.module in sys.modules]
    assert not late, f"{', '.join(late)}: imported before the patch came"
    sys.meta_path.insert(0, _Finder({change.module: change for change in found}))
    _applied.append(text)


def applied() -> str:
    """Hash of the patches that this process runs with, empty without one."""
    return hashlib.sha256("\n".join(_applied).encode()).hexdigest()[:12] if _applied else ""


def changed_lines(text: str) -> int:
    """How many lines a diff takes out and puts in."""
    return sum(line.startswith(("+", "-")) and not line.startswith(("+++", "---")) for line in text.splitlines())


class _Finder:
    """Finds the modules that are patched, before anybody else does."""

    def __init__(self, patched: Mapping[str, Change]) -> None:
        self.patched = patched

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        change = self.patched.get(name)
        if change is None:
            return None
        place = str(ROOT / change.path)
        return importlib.util.spec_from_file_location(name, place, loader=_Loader(name, place, change.after))


class _Loader(SourceFileLoader):
    """A source file whose text is another one; no bytecode is read or left."""

    def __init__(self, name: str, path: str, text: str) -> None:
        super().__init__(name, path)
        self.text = text

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.text.encode(), self.path)
