"""One CPU of a bench, told what to do: the leaves in the order in which the emulated kernel calls them.

In this process, or in one of its own that shares the RAM file: the commands and their answers are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import multiprocess

from cpuemu.arch.ram import open_ram
from cpuemu.core import _core, _stepped
from cpuemu.layout import MigrateType, lru_lock, zone_lock
from cpuemu.sites import site

HERE = site("test:hands")
BATCH, HIGH = 5, 14
FORMS: dict[str, ModuleType] = {"fast": _core, "stepped": _stepped}


class Hands:
    """CPU ``number`` with leaves of one form, in this process."""

    def __init__(self, directory: Path, form: str, number: int) -> None:
        self.image = open_ram(directory)
        self.me = self.image.machine.cpus[number]
        self.number = number
        # The module's own classes: the stepped form has a Ram and a Core of its own.
        self.ram: Any = FORMS[form].Ram(self.image.mapping)
        self.core: Any = FORMS[form].Core(self.ram, None, (0, 0), number, 1)

    def do(self, name: str, *arguments: Any) -> Any:
        return getattr(self, name)(*arguments)

    def alloc(self, order: int, kind: int, cold: bool, task: int) -> int:
        """The first page, or -1."""
        if order:
            pfn = self._locked(lambda: self.core.rmqueue(0, order, kind))
        else:
            pfn = self._irqs_off(lambda: self.core.pcp_alloc(0, kind, cold))
            if pfn == -1:
                self.refill(kind, BATCH, cold)
                pfn = self._irqs_off(lambda: self.core.pcp_alloc(0, kind, cold))
        if pfn != -1:
            self.core.prep_new_page(pfn, order, kind, 0, task)
        return int(pfn)

    def free(self, pfn: int, order: int, cold: bool) -> None:
        kind = self.core.free_prepare(pfn, order)
        if order or kind == MigrateType.ISOLATE:
            self._locked(lambda: self.core.free_one_page(pfn, order, kind))
            return
        if kind >= MigrateType.PCPTYPES:
            kind = MigrateType.MOVABLE
        if self._irqs_off(lambda: self.core.pcp_free(pfn, kind, cold)) >= HIGH:
            self.bulk(self.number, BATCH)

    def refill(self, kind: int, wanted: int, cold: bool) -> int:
        return int(self._locked(lambda: self.core.rmqueue_bulk(0, kind, wanted, cold)))

    def bulk(self, owner: int, wanted: int) -> None:
        """Pages of a CPU's lists, its own or a dead one's, to the free lists."""
        self._locked(lambda: self._bulk(owner, wanted))

    def _bulk(self, owner: int, wanted: int) -> None:
        self.image.machine.pcp(owner, 0).count -= self.core.free_pcppages_bulk(owner, 0, wanted)

    def split(self, pfn: int, order: int) -> None:
        self.core.split_page(pfn, order)

    def to_lru(self, pfn: int) -> None:
        self._locked(lambda: self.core.lru_add(pfn), lru_lock(0))

    def off_lru(self, wanted: int) -> list[int]:
        return list(self._locked(lambda: self.core.lru_isolate(0, wanted), lru_lock(0)))

    def fold(self, owner: int) -> None:
        self.core.fold_zone_diffs(owner)

    def watermark_ok(self, order: int, mark: int, flags: int) -> bool:
        return bool(self.core.zone_watermark_ok(0, order, mark, 0, flags))

    def snapshot(self) -> int:
        return int(self.core.zone_page_state_snapshot(0))

    def _locked(self, action: Callable[[], Any], lock: int | None = None) -> Any:
        number = zone_lock(0) if lock is None else lock
        return self._irqs_off(lambda: self._holding(number, action))

    def _holding(self, lock: int, action: Callable[[], Any]) -> Any:
        assert self.core.spin_trylock(lock, HERE)
        try:
            return action()
        finally:
            self.core.spin_unlock(lock)

    def _irqs_off(self, action: Callable[[], Any]) -> Any:
        self.me.irqs_off = 1
        try:
            return action()
        finally:
            self.me.irqs_off = 0


class RemoteHands:
    """The same in another process, which lives longer than one machine: ``open`` gives it the next one."""

    def __init__(self, form: str, number: int) -> None:
        context = multiprocess.get_context("fork")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, form, number), daemon=True)
        self._process.start()
        theirs.close()

    def open(self, directory: Path) -> None:
        self.do("open", str(directory))

    def do(self, name: str, *arguments: Any) -> Any:
        self._pipe.send((name, arguments))
        answer = self._pipe.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        # A word, not the end of the pipe: the processes forked later hold our end open.
        self._pipe.send(None)
        self._process.join(10)


def _serve(pipe: Any, form: str, number: int) -> None:
    hands: Hands | None = None
    while (command := pipe.recv()) is not None:
        name, arguments = command
        try:
            if name == "open":
                hands = Hands(Path(*arguments), form, number)
                pipe.send(None)
            else:
                assert hands is not None
                pipe.send(hands.do(name, *arguments))
        except Exception as error:
            pipe.send(AssertionError(f"cpu {number}, {name}{arguments}: {type(error).__name__}: {error}"))
