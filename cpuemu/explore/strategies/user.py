"""A strategy of the user's own: ``--strategy my.py:MyStrategy``, a class with ``choose(self, enabled)``.

``begin(self, actors, random)`` and ``executed(self, event, enabled)`` may be left out.  Each schedule has an object of
its own.  A mistake of the file's is told as such, with its line.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

from cpuemu.errors import UserError
from cpuemu.explore.strategies.base import Event

MODULE = "cpuemu_user_strategy"
EXAMPLE = "my.py:MyStrategy"


class UserStrategy:
    """The user's object, whose mistakes raise UserError and nothing else.

    Raises UserError on a file or class that is not there, or is no strategy.
    """

    def __init__(self, spec: str) -> None:
        file, colon, name = spec.rpartition(":")
        if not colon or not name.isidentifier():
            raise UserError(f"--strategy {spec}: say which class of the file it is, as in {EXAMPLE}")
        self.name, self.path, self.strategy = spec, Path(file), name
        made = getattr(self._module(), name, None)
        if not inspect.isclass(made):
            raise UserError(f"--strategy {spec}: {file} has no class {name}")
        if not callable(getattr(made, "choose", None)):
            raise UserError(f"--strategy {spec}: class {name} has no method choose(self, enabled)")
        self.user: Any = self._guarded("__init__", made)

    def __reduce__(self) -> tuple[type[UserStrategy], tuple[str]]:
        """Made anew where it is sent: it has run no schedule yet."""
        return UserStrategy, (self.name,)

    def _module(self) -> ModuleType:
        if not self.path.is_file():
            raise UserError(f"--strategy {self.name}: there is no file {self.path}")
        found = importlib.util.spec_from_file_location(MODULE, self.path)
        if found is None or found.loader is None:
            raise UserError(f"--strategy {self.name}: {self.path} is no Python file")
        module = importlib.util.module_from_spec(found)
        sys.modules[MODULE] = module  # dataclasses look their module up
        beside, writes = str(self.path.resolve().parent), sys.dont_write_bytecode
        if beside not in sys.path:
            sys.path.append(beside)
        sys.dont_write_bytecode = True
        try:
            found.loader.exec_module(module)
        except (Exception, SystemExit) as error:
            raise UserError(f"--strategy {self.name}: {self.path} cannot be loaded: {self._told(error)}") from None
        finally:
            sys.dont_write_bytecode = writes
        return module

    def _guarded(self, what: str, method: Any, *arguments: Any) -> Any:
        try:
            return method(*arguments)
        except Exception as error:
            raise UserError(f"--strategy {self.name}: {self.strategy}.{what} failed: {self._told(error)}") from None

    def _told(self, error: BaseException) -> str:
        """An exception in one line, with the line of the user's file where it came from."""
        if isinstance(error, SyntaxError) and error.lineno:
            return f"line {error.lineno}: {type(error).__name__}: {error.msg}"
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if Path(frame.filename) == self.path]
        said = " ".join(str(error).split())
        return (f"line {lines[-1]}: " if lines else "") + type(error).__name__ + (f": {said}" if said else "")

    def begin(self, actors: int, random: Random) -> None:
        if hasattr(self.user, "begin"):
            self._guarded("begin", self.user.begin, actors, random)

    def choose(self, enabled: Sequence[Event]) -> Event:
        chosen: Event = self._guarded("choose", self.user.choose, list(enabled))
        for event in enabled:
            if event is chosen:
                return event
        line = inspect.getsourcelines(self.user.choose)[1]
        able = ", ".join(str(event.actor) for event in enabled)
        raise UserError(f"--strategy {self.name}: {self.strategy}.choose, line {line}, returned {chosen!r}, which is "
                        f"none of the events that it was given (of actors {able})")

    def executed(self, event: Event, enabled: Sequence[Event]) -> None:
        if hasattr(self.user, "executed"):
            self._guarded("executed", self.user.executed, event, list(enabled))
