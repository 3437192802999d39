"""A policy of the user's own: ``--policy FILE.py:CLASS``, a class with ``drain(self, cpu, order)``."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

from cpuemu.errors import UserError
from cpuemu.policies.base import Policy

MODULE = "cpuemu_user_policy"


def user_policy(spec: str) -> type[Policy]:
    """The class.  Raises UserError on a file or class that is not there, or is no policy."""
    path, colon, name = spec.rpartition(":")
    if not colon or not name.isidentifier():
        raise UserError(f"--policy {spec}: name the class too, as in my_patch.py:MyDrain")
    chosen = getattr(_module(Path(path), spec), name, None)
    if not isinstance(chosen, type) or not callable(getattr(chosen, "drain", None)):
        raise UserError(f"--policy {spec}: {path} has no class {name} with a method drain(self, cpu, order)")
    return chosen


def _module(path: Path, spec: str) -> ModuleType:
    if not path.is_file():
        raise UserError(f"--policy {spec}: there is no file {path}")
    found = importlib.util.spec_from_file_location(MODULE, path)
    if found is None or found.loader is None:
        raise UserError(f"--policy {spec}: {path} is no Python file")
    module = importlib.util.module_from_spec(found)
    try:
        found.loader.exec_module(module)
    except Exception as error:
        raise UserError(f"--policy {spec}: {path} cannot be imported: {type(error).__name__}: {error}") from error
    return module
