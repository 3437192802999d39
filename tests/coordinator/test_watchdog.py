"""The watchdog on hand-made machines: what it names, how soon, and what it never blames."""

from __future__ import annotations

import pytest

from cpuemu.coordinator.thresholds import thresholds
from cpuemu.coordinator.watchdog import SECOND, Watchdog
from cpuemu.core import Ram
from cpuemu.errors import UserError
from cpuemu.layout import (
    LOCK_CPU_ADD_REMOVE,
    LOCK_CPU_HOTPLUG,
    CpuState,
    Lock,
    MachineState,
    Op,
    first_workload_task,
)
from tests.coordinator.watched import CSD_LOCK_WAIT, STORM, Host, Watched, expect
from tests.handmade import T0

# --- deadlock ----------------------------------------------------------------------------------------------


def deadlock(watched: Watched) -> None:
    """Two tasks that hold a mutex each and want the other's."""
    made, locks = watched.made, watched.machine.locks
    for mutex, cpu, other in ((LOCK_CPU_ADD_REMOVE, 1, LOCK_CPU_HOTPLUG), (LOCK_CPU_HOTPLUG, 2, LOCK_CPU_ADD_REMOVE)):
        locks[mutex].word, locks[mutex].holder = STORM + cpu + 1, STORM + cpu + 1
        made.wait(STORM + cpu, locks[other].addr(Lock.word), Op.EQ, 0, CSD_LOCK_WAIT, busy=False, since=T0)


def test_a_cycle_is_fatal_within_a_second_and_named(watched: Watched) -> None:
    deadlock(watched)
    watched.look(0.9)
    finding = expect(watched, "deadlock", "storm/1", "storm/2", "cpu_hotplug.lock", "cpu_add_remove_lock")
    assert finding.message.startswith("deadlock: storm/1 -> storm/2 -> storm/1; ")
    assert finding.time_ns and finding.stack


def test_a_cycle_seen_once_is_a_torn_look(watched: Watched) -> None:
    deadlock(watched)
    watched.look(0.1)
    watched.made.tasks[STORM + 1].nterms = 0
    assert watched.look(5).finding is None


def test_a_cycle_whose_waits_are_new_ones_is_none(watched: Watched) -> None:
    deadlock(watched)
    for _ in range(30):
        watched.look(0.1)
        watched.made.tasks[STORM + 1].wait_ns += 1
    assert watched.finding is None


@pytest.mark.usefixtures("host")
def test_nobody_is_judged_while_a_process_is_stopped(watched: Watched, host: Host) -> None:
    host.states[3] = "T"
    deadlock(watched)
    watched.waits_for_call(0, 3)
    watched.look(60)
    assert watched.finding is None
    assert watched.notes == ["cpu 3 is host-stopped (process 4)"]
    assert watched.machine.cpus[3].host_stopped
    assert watched.machine.cpus[3].stopped_ns == pytest.approx(60 * SECOND, rel=0.01)
    host.states[3] = "S"
    watched.look(0.9)
    expect(watched, "deadlock")


# --- waits that are late -----------------------------------------------------------------------------------


def test_a_csd_that_nobody_answers(watched: Watched) -> None:
    watched.waits_for_call(1, 2)
    assert watched.look(9.5, beat=(2,)).finding is None
    watched.look(1, beat=(2,))
    expect(watched, "csd-lock-wait", "csd: Detected non-responsive CSD lock (#1) on CPU#1, waiting 10",
           "ns for CPU#02 drain_local_pages(0x0).", "cpu 1 (storm/1) waits in csd_lock_wait", "cpu 2")


def test_limits_are_what_a_person_sets(host: Host) -> None:
    watched = Watched(thresholds(["csd=2", "soft-lockup=off"]))
    watched.waits_for_call(1, 2)
    assert watched.look(1.9, beat=(2,)).finding is None
    watched.look(0.5, beat=(2,))
    expect(watched, "csd-lock-wait")
    watched = Watched(thresholds(["csd=off", "hung-task=off"]))
    watched.waits_for_call(1, 2)
    assert watched.look(3600, beat=(2,)).finding is None


@pytest.mark.parametrize("setting", ["csd", "csd=", "csd=soon", "csd=0.1", "csd=-1", "csd=nan", "patience=3"])
def test_a_limit_that_is_none_is_refused(setting: str) -> None:
    with pytest.raises(UserError, match=f"^--watchdog {setting}: ") as refused:
        thresholds([setting])
    assert "off" in str(refused.value)


def test_a_wait_for_a_stopped_process_is_the_hosts(watched: Watched, host: Host) -> None:
    """Also right after SIGCONT, before the process has done anything, and when the wait began while it was stopped."""
    host.states[2] = "T"
    watched.look(5)
    watched.waits_for_call(1, 2)
    watched.look(60)
    host.runs(2)
    assert watched.look(2, beat=(2,)).finding is None
    watched.look(9, beat=(2,))
    expect(watched, "csd-lock-wait")


def test_a_starved_process_is_not_late(watched: Watched, host: Host) -> None:
    """Runnable, and not running: the host's schedstat tells of it only afterwards."""
    host.states[2], host.times[2] = "R", (7, 7)
    watched.machine.cpus[2].sleeping = 0
    watched.waits_for_call(1, 2)
    assert watched.look(40).finding is None
    assert watched.machine.cpus[2].starved_ns == pytest.approx(40 * SECOND, rel=0.01)
    host.times[2] = (8, 7 + 40 * SECOND)
    watched.look(0.2)
    assert watched.machine.cpus[2].starved_ns == pytest.approx(40 * SECOND, rel=0.01), "counted twice"


def test_whoever_looks_may_be_held_up_itself(watched: Watched) -> None:
    """Ctrl-Z stops the whole tree: nothing that waited meanwhile is late."""
    watched.waits_for_call(1, 2)
    watched.look(1, beat=(2,))
    watched.now += 3600 * SECOND
    assert watched.look(5, beat=(2,)).finding is None
    watched.look(5, beat=(2,))
    expect(watched, "csd-lock-wait")


def test_what_the_host_takes_from_others_is_no_excuse(watched: Watched, host: Host) -> None:
    """Two CPUs burn and wait for cores; the one that owes the answer is asleep in its poll."""
    watched.waits_for_call(1, 2)
    for other in (0, 3):
        host.states[other], host.times[other] = "R", (7, 7)
    assert watched.look(9.5).finding is None
    assert watched.look(3).finding is not None
    expect(watched, "csd-lock-wait", "cpu 1 (storm/1) waits in csd_lock_wait", "cpu 2")


def test_where_the_holder_is_not_known_everybody_may_be(watched: Watched, host: Host) -> None:
    hotplug = watched.machine.hotplug
    hotplug.refcount = 1
    watched.made.wait(STORM + 1, hotplug.addr(type(hotplug).refcount), Op.EQ, 0, busy=False)
    host.states[3], host.times[3] = "R", (7, 7)
    assert watched.look(60).finding is None
    host.runs(3)
    watched.look(31, beat=(3,))
    expect(watched, "hung-task", "storm/1", "1 readers are inside get_online_cpus")


def test_a_mutex_held_for_ever(watched: Watched) -> None:
    lock = watched.machine.locks[LOCK_CPU_HOTPLUG]
    lock.word, lock.holder, lock.since_ns = STORM + 2 + 1, STORM + 2 + 1, T0
    watched.made.run(2, STORM + 2)
    watched.made.wait(STORM + 1, lock.addr(Lock.word), Op.EQ, 0, busy=False)
    assert watched.look(29, beat=(2,)).finding is None
    watched.look(2, beat=(2,))
    expect(watched, "hung-task", f"INFO: task storm/1:{STORM + 1} blocked for more than 30 seconds.",
           "storm/2 holds it")


def test_an_idle_machine_is_waited_for_in_full(watched: Watched) -> None:
    assert watched.look(300).finding is None


# --- CPUs that do not move ---------------------------------------------------------------------------------


def test_soft_lockup(watched: Watched, host: Host) -> None:
    watched.made.run(3, STORM + 3)
    host.runs(3)  # and passes no point
    assert watched.look(19).finding is None
    watched.look(3)
    expect(watched, "soft-lockup", "CPU#3 stuck for", "[storm/3:73]")


@pytest.mark.parametrize("state", ["T", "R"])
def test_no_soft_lockup_behind_a_holder_that_the_host_keeps(watched: Watched, host: Host, state: str) -> None:
    """cpu 3 spins for a lock of cpu 2, whose process is stopped, or never gets a core; also right after that."""
    lock = watched.machine.locks[8]
    lock.word, lock.holder, lock.since_ns = 2 + 1 | 1 << 16, STORM + 2 + 1, T0
    watched.made.run(2, STORM + 2)
    watched.made.run(3, STORM + 3)
    watched.machine.cpus[2].sleeping = watched.machine.cpus[3].sleeping = 0
    watched.machine.cpus[3].lock_wait = 8 + 1
    host.states[2], host.times[2] = state, (7, 7)
    assert watched.look(60).finding is None
    host.runs(2)
    assert watched.look(15, beat=(2,)).finding is None
    watched.look(20, beat=(2,))
    assert watched.finding is not None


def test_no_soft_lockup_of_a_process_that_the_host_makes_wait(watched: Watched, host: Host) -> None:
    watched.made.run(3, STORM + 3)
    host.states[3] = "D"
    assert watched.look(60).finding is None


def test_work_left_and_everybody_asleep(watched: Watched) -> None:
    header = watched.machine.header
    header.nr_workload, header.tasks_done = 4, 3
    assert watched.look(1.9).finding is None
    watched.look(1)
    expect(watched, "hung-machine", "nobody can move", "storm/0")
    assert first_workload_task(4) <= STORM


@pytest.mark.parametrize("why", ["done", "hotplug", "timer", "heart", "stopping", "runnable"])
def test_a_machine_that_may_still_move_is_not_hung(watched: Watched, host: Host, why: str) -> None:
    header = watched.machine.header
    header.nr_workload, header.tasks_done = 4, 3
    beat: tuple[int, ...] = ()
    match why:
        case "done":
            header.tasks_done = 4
        case "hotplug":
            watched.machine.hotplug.busy = 1
        case "timer":
            watched.machine.cpus[1].timer_ns = watched.now + 100 * SECOND
        case "heart":
            beat = (3,)
        case "stopping":
            header.state = MachineState.STOPPING
        case "runnable":
            host.states[2], host.times[2] = "R", (1, 1)
    assert watched.look(10, beat).finding is None


def test_a_cpu_without_a_process_is_nobodys_concern(watched: Watched) -> None:
    watched.dog = Watchdog(watched.machine, Ram(watched.made.memory), lambda cpu: None if cpu == 3 else cpu + 1)
    watched.machine.cpus[3].state = CpuState.GONE
    watched.machine.cpus[3].sleeping = 0
    assert watched.look(60).finding is None
    assert not watched.machine.cpus[3].host_stopped
