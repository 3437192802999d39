"""What a finding carries besides its sentence: who is concerned, where their code stands, which locks they hold."""

from __future__ import annotations

import pytest

from cpuemu.coordinator.verdict import findings_of
from cpuemu.core import Ram
from cpuemu.kernel import oracles
from cpuemu.kernel.findings import write_finding
from cpuemu.layout import LOCK_CPU_HOTPLUG, NR_FINDINGS, Op, zone_lock
from cpuemu.sites import site, write_sites
from tests.handmade import CONTROL, T0, Handmade, machine

TAKEN = site("test:taken")


@pytest.fixture
def made() -> Handmade:
    made = machine()
    write_sites(made.machine)
    return made


def find(made: Handmade, cpu: int, task: int, cpus: tuple[int, ...] = (), tasks: tuple[int, ...] = ()) -> None:
    write_finding(Ram(made.memory), made.machine, oracles.DEADLOCK, "a sentence", cpu, task, "here:1", cpus=cpus,
                  tasks=tasks)


def test_who_is_concerned_and_where_they_stand(made: Handmade) -> None:
    made.task(70, "storm/0", 1)
    made.run(1, 70)
    made.task(71, "storm/1", 2)
    made.run(2, 71)
    made.wait(71, made.machine.cfds[2].base << 2 | 2, Op.NE, 0)
    made.task(72, "storm/2", 3)
    made.run(3, 72)
    made.cpus[3].point_site = TAKEN
    find(made, 1, 70, cpus=(1, 2, 3), tasks=(71, 72, 70, 1 << 31))
    finding, = findings_of(made.machine)
    assert (finding.cpu, finding.task, finding.stack) == (1, "storm/0", "here:1")
    assert (finding.cpus, finding.tasks) == ([1, 2, 3], ["storm/0", "storm/1", "storm/2"])
    assert finding.stacks == {"storm/1": "waiting_function:1 < caller:2",
                              "storm/2": "running, last seen at test:taken"}


def test_the_locks_of_those_concerned_and_of_nobody_else(made: Handmade) -> None:
    made.task(70, "storm/0", 1)
    made.lock(zone_lock(0), 1, 70, T0 + 2).site = TAKEN
    made.lock(zone_lock(1), 2, 71, T0)
    mutex = made.machine.locks[LOCK_CPU_HOTPLUG]
    mutex.word, mutex.holder, mutex.since_ns = CONTROL + 1, CONTROL + 1, T0 + 1
    find(made, 1, 70, tasks=(CONTROL,))
    finding, = findings_of(made.machine)
    assert finding.locks == ["cpu_hotplug.lock: control/0, taken in (none)",
                             "zone->lock/DMA: cpu 1 (storm/0), taken in test:taken"]


def test_a_full_table_takes_no_more(made: Handmade) -> None:
    for _ in range(NR_FINDINGS + 1):
        find(made, 1 << 31, 1 << 31)
    assert len(findings_of(made.machine)) == NR_FINDINGS
