"""One offline or online, walked row by row (the table is kernel/cpu_hotplug.py's).

A row is the kernel's (asked of the control task by a word and an interrupt to CPU 0) or the hands' own: start a
process, take one out.  A row that fails sends the walk back through the ``undo`` of the rows before it.  Nothing here
blocks: ``advance`` is called whenever the coordinator's doorbell rings.
"""

from __future__ import annotations

import enum
from typing import Protocol

from cpuemu.kernel.cpu_hotplug import DOWN, START_PROCESS, TAKE_PROCESS, UP, Row
from cpuemu.kernel.hotplug_rows import row_code
from cpuemu.layout import CpuState, Machine


class Hands(Protocol):
    """What the coordinator can do to processes and to the interrupt controller."""

    def start_process(self, cpu: int) -> None:
        """The CPU's next life, in its parked process or in a new one; its state is STARTING from now on."""

    def platform_interrupt(self, cpu: int) -> None:
        """Raise the platform vector: a word that the control task waits for has changed."""

    def expect_exit(self, cpu: int) -> None:
        """This CPU's process may now leave in order."""

    def process_gone(self, cpu: int) -> bool:
        """Whether its exit has been reaped."""


class Step(enum.Enum):
    NEXT = "choose the next row"
    KERNEL = "the control task runs a row"
    PROCESS = "a process starts or leaves"


class Operation:
    """One CPU going (``up`` False) or coming.  ``result``: 0, or the errno of the row that failed, negative."""

    def __init__(self, machine: Machine, hands: Hands, cpu: int, up: bool) -> None:
        self.machine, self.hands, self.cpu, self.up = machine, hands, cpu, up
        self.rows = UP if up else DOWN
        self.position, self.undoing, self.result = 0, False, 0
        self.step = Step.NEXT
        self.started_ns = self.finished_ns = 0
        self._sequence = 0

    @property
    def row(self) -> Row | None:
        """The row under way."""
        return self.rows[self.position] if 0 <= self.position < len(self.rows) else None

    @property
    def row_name(self) -> str:
        row = self.row
        return ("undo " if self.undoing else "") + (row.name if row else "done")

    def place(self) -> tuple[int, ...]:
        """Where the walk is."""
        return self.position, self.undoing, list(Step).index(self.step)

    def advance(self, now_ns: int) -> bool:
        """Go as far as possible; True when the operation is over."""
        return any(self.go_on(now_ns) for _ in iter(self.ready, False))

    def ready(self) -> bool:
        """Whether it can go on: no row is under way, or the one that is has ended."""
        return self.step is Step.NEXT or self._ended()

    def go_on(self, now_ns: int) -> bool:
        """End the row under way and begin the next that has something to do; True when the operation is over.

        Context: it is ready.
        """
        hotplug = self.machine.hotplug
        if not self.started_ns:
            self.started_ns = now_ns
            hotplug.cpu, hotplug.up, hotplug.busy = self.cpu, self.up, 1
        if self.step is not Step.NEXT:
            self._end()
        while self.row is not None and not self._begin():
            pass
        if self.row is None and not self.finished_ns:
            self.finished_ns = now_ns
            hotplug.busy = 0
        return self.row is None

    def _begin(self) -> bool:
        """Start the row at ``position``; False when there is nothing to do for it."""
        row = self.rows[self.position]
        action = row.undo if self.undoing else row.run
        if action is None and (self.undoing or row.name not in (START_PROCESS, TAKE_PROCESS)):
            self.position += -1 if self.undoing else 1
            return False
        if action is None:
            self._hand(row)
            self.step = Step.PROCESS
        else:
            self._ask(row_code(self.up, self.undoing, self.position))
            self.step = Step.KERNEL
        return True

    def _ask(self, code: int) -> None:
        hotplug = self.machine.hotplug
        self._sequence = (hotplug.request + 1) & 0xFFFF_FFFF
        hotplug.request = code << 32 | self._sequence
        self.hands.platform_interrupt(0)

    def _hand(self, row: Row) -> None:
        if row.name == TAKE_PROCESS:
            self.hands.expect_exit(self.cpu)
        elif self.machine.cpus[self.cpu].state not in (CpuState.STARTING, CpuState.READY):
            self.hands.start_process(self.cpu)

    def _end(self) -> None:
        hotplug = self.machine.hotplug
        if self.step is Step.KERNEL and hotplug.result and not self.undoing:
            self.result, self.undoing = hotplug.result, True
        self.step = Step.NEXT
        self.position += -1 if self.undoing else 1

    def _ended(self) -> bool:
        if self.step is Step.KERNEL:
            return bool(self.machine.hotplug.answer == self._sequence)
        state = self.machine.cpus[self.cpu].state
        if self.rows[self.position].name == START_PROCESS:
            return state == CpuState.READY
        return state == CpuState.PARKED or (state == CpuState.GONE and self.hands.process_gone(self.cpu))
