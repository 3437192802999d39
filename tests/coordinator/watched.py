"""A hand-made machine, its watchdog and the host's /proc, as tests want them; ``host`` and ``watched`` in conftest."""

from __future__ import annotations

import pytest

from cpuemu.coordinator import host_time
from cpuemu.coordinator.thresholds import Thresholds
from cpuemu.coordinator.watchdog import SECOND, Watchdog
from cpuemu.core import Ram
from cpuemu.layout import (
    LINE_END,
    CallFunctionData,
    Finding,
    MachineState,
    Op,
)
from cpuemu.sites import site
from tests.handmade import T0, Handmade, machine

LOOK = SECOND // 10
CSD_LOCK_WAIT = site("csd_lock_wait")
STORM = 70


class Host:
    """/proc, as a test wants it: the process of CPU n has pid n + 1."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.states: dict[int, str] = {}
        self.times: dict[int, tuple[int, int]] = {}
        self.running: set[int] = set()
        self.ran = 0
        self.busy_threads: set[int] = set()
        monkeypatch.setattr(host_time, "process_state", lambda pid: self.states.get(pid - 1, "S"))
        monkeypatch.setattr(host_time, "run_times", self._run_times)
        monkeypatch.setattr(host_time, "others_asleep", lambda pid: pid - 1 not in self.busy_threads)

    def runs(self, cpu: int) -> None:
        """Its process has a core, and uses it."""
        self.states[cpu] = "R"
        self.running.add(cpu)

    def _run_times(self, pid: int) -> tuple[int, int]:
        self.ran += LOOK
        return (self.ran, 0) if pid - 1 in self.running else self.times.get(pid - 1, (0, 0))


class Watched:
    """A machine, its watchdog, and the time."""

    def __init__(self, limits: Thresholds | None = None) -> None:
        self.made: Handmade = machine()
        self.machine = self.made.machine
        for cpu in range(4):
            self.made.task(STORM + cpu, f"storm/{cpu}", cpu)
        self.machine.header.coordinator_line = LINE_END
        self.dog = Watchdog(self.machine, Ram(self.made.memory), lambda cpu: cpu + 1, limits)
        self.now = T0
        self.notes: list[str] = []

    def look(self, seconds: float, beat: tuple[int, ...] = ()) -> Watched:
        """Look ten times a second; the CPUs in ``beat`` pass points meanwhile."""
        end = self.now + int(seconds * SECOND)
        while self.now < end:
            self.now += LOOK
            for cpu in beat:
                self.machine.cpus[cpu].heart += 1
            self.notes = self.dog.look(self.now)
        return self

    @property
    def finding(self) -> Finding | None:
        return self.machine.findings[0] if self.machine.findings[0].done else None

    def waits_for_call(self, cpu: int, target: int) -> None:
        """``storm/cpu`` waits for cpu ``target`` to run its function."""
        block = self.machine.cfds[cpu]
        block.flags, block.func, block.refs, block.queued_ns = 1, 1, 1, self.now
        block.cpumask[0] = 1 << target
        self.made.run(cpu, STORM + cpu).preempt_count = 1
        word = block.addr(CallFunctionData.flags)
        self.made.wait(STORM + cpu, word, Op.MASK_CLEAR, 1, CSD_LOCK_WAIT, since=self.now)
        self.machine.cpus[cpu].sleeping = 1


def expect(watched: Watched, rule: str, *parts: str) -> Finding:
    finding = watched.finding
    assert finding is not None and watched.dog.fatal
    assert finding.rule == rule
    for part in parts:
        assert part in finding.message, (part, finding.message)
    assert watched.machine.header.state == MachineState.FAILED and watched.machine.header.frozen
    return finding
