"""What every sub-command needs: the image, its time, and numbers that are not believed.

Nothing is written and no lock is taken.  Whatever RAM says may be damaged, or change under us: a number is no index
before it is checked, a list has an end even where its links have none, and what cannot be becomes a sentence.
"""

from __future__ import annotations

import enum
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from cpuemu.kernel.hung_task import Edge, edges, find_cycle
from cpuemu.kernel.wait_graph import WaitGraph
from cpuemu.kernel.wait_records import latest_ns
from cpuemu.layout import Task, TaskState, name_in
from cpuemu.report.image import Image
from cpuemu.report.living import processes_alive

MOST_YEARS_NS = 10 * 365 * 86_400 * 10**9
"""Times later than this after power-on are damaged."""


class UsageError(Exception):
    """A sub-command was asked for what there is not; the message is one sentence for the user."""


@dataclass
class Reading:
    """One look at a machine.  ``alive``: host processes that have its RAM mapped now."""

    image: Image

    def __post_init__(self) -> None:
        self.machine = self.image.machine
        self.alive = processes_alive(self.image)
        self.now_ns = time.monotonic_ns() if self.alive else latest_ns(self.machine)
        self.damage: list[str] = []

    @cached_property
    def graph(self) -> WaitGraph:
        return WaitGraph(self.machine, self.now_ns)

    @cached_property
    def edges(self) -> list[Edge]:
        """Every wait of the machine."""
        return edges(self.machine, self.now_ns)

    @cached_property
    def cycle(self) -> list[Edge]:
        """The deadlock, if there is one."""
        return find_cycle(self.edges)

    # --- times ---------------------------------------------------------------------------------------------

    def at(self, moment_ns: int) -> str:
        """A moment as traces have it: seconds since power-on."""
        since = moment_ns - self.machine.header.boot_ns
        return f"{max(0, since) / 1e9:.6f}" if since < MOST_YEARS_NS else "a time that cannot be (damaged)"

    def ago(self, moment_ns: int) -> str:
        return self.graph.ago(moment_ns)

    # --- who -----------------------------------------------------------------------------------------------

    def cpus(self, mask: Iterable[int]) -> str:
        """The CPUs of a mask that exist, as ranges."""
        return ranges(self.graph.bits(mask))

    def tasks(self) -> Iterator[Task]:
        return (task for task in self.machine.tasks if task.state != TaskState.UNUSED)


def ranges(numbers: Iterable[int]) -> str:
    """0-3,7"""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in parts) or "(none)"


def named(kind: type[enum.IntEnum], value: int) -> str:
    """The name of a value found in RAM; of one that has none, that it cannot be."""
    return name_in(kind, value) if value in list(kind) else f"{value}, which is no {kind.__name__}"


def walk(first: int, following: Callable[[int], int] | Sequence[int], head: int, limit: int) -> tuple[list[int], str]:
    """The elements of a list in RAM, and what is wrong with its end: it may be torn, or lead nowhere."""
    after = following if callable(following) else following.__getitem__
    found: list[int] = []
    seen = set[int]()
    while first != head:
        if not 0 <= first < limit:
            return found, f", then {first}, which is no element"
        if first in seen:
            return found, f", then {first} again"
        found.append(first)
        seen.add(first)
        first = after(first)
    return found, ""


def guarded(lines: Callable[[], Iterator[str]], what: str) -> Iterator[str]:
    """The lines of a section; where RAM is so damaged that it cannot be read on, a sentence instead of the rest."""
    try:
        yield from lines()
    except (IndexError, ValueError, OverflowError, KeyError, struct.error) as error:
        yield f"{what} cannot be read on: RAM is damaged there ({error})"
