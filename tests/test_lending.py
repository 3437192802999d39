"""Tasks that are inside the kernel when their CPU goes: they go on in its process, as the CPU they were moved to."""

from __future__ import annotations

import os
import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from cpuemu.events import Event, Flag, Ring
from cpuemu.layout import KEEPING, MachineState, Process, TaskState
from cpuemu.report.image import Image, open_image
from cpuemu.report.records import Record, records, ring_states
from cpuemu.sites import site_name
from tests.launched import ROOT, Launched, wait_for

pytestmark = pytest.mark.timeout(110)

Launch = Callable[..., Launched]
SLEEPY = f"{ROOT}/tests/policies/sleepy.py"
PRESSURE = ("--cpus", "3", "--workload", "pressure:1000000000", "--seconds", "90", "--hotplug", "1,2")


@dataclass
class Loan:
    """A time in which a CPU ran a task whose stack is in another process, from the trace."""

    cpu: int
    task: int
    pid: int
    moved: Record
    """Its sched_migrate_task."""
    left: int
    """TaskState in which it was moved."""
    woken: Record | None
    """Its sched_wakeup after that, if it slept."""
    events: Counter[tuple[Event, bool]] = field(default_factory=Counter)
    """What was traced meanwhile on that CPU, of that task: event, and whether an interrupt handler traced it."""


def loans(image: Image) -> Iterator[Loan]:
    """Every loan of the trace that has come to its end, in order of its end.

    Of one whose beginning has been overwritten nothing is said.
    """
    whole = all(ring.written <= ring.size for ring in ring_states(image) if ring.ring == Ring.SLOW)
    moved: dict[int, tuple[Record, int]] = {}
    woken: dict[int, Record] = {}
    state: dict[int, int] = {}
    lent: dict[int, Loan] = {}
    for record in records(image):
        event, (task, second, _, last) = Event(record.event), record.args
        if event == Event.SCHED_MIGRATE_TASK:
            moved[task] = record, state.get(task, 0)
            woken.pop(task, None)
        elif event == Event.SCHED_WAKEUP:
            woken[task] = record
        elif event == Event.SCHED_SWITCH:
            state[task] = second
        elif event == Event.CPUEMU_CPU_LENT:
            told = task in moved and moved[task][0].args[2] == record.cpu
            assert told or not whole, "it was moved to this CPU"
            if told:
                lent[record.cpu] = Loan(record.cpu, task, last, *moved[task], woken.get(task))
        elif event == Event.CPUEMU_CPU_BACK:
            assert record.cpu in lent or not whole, "it was lent"
            if record.cpu in lent:
                yield lent.pop(record.cpu)
        elif record.cpu in lent and lent[record.cpu].task == record.task:
            lent[record.cpu].events[event, bool(record.flags & Flag.HARDIRQ)] += 1


class Deadlocked(Exception):
    """The policy's own defect ended the machine: nobody of ours is to blame, and nothing was seen."""


def until(launch: Launch, seen: Callable[[Image, list[Loan]], bool], *options: str) -> None:
    """Run until the trace shows it, and stop: no finding, all pages there, no offline refused."""
    run = launch(*PRESSURE, *options).running()

    def shows() -> bool:
        image = open_image(run.run_dir)
        found = list(loans(image))
        assert all(loan.pid not in (0, image.machine.cpus[0].pid) for loan in found)
        return seen(image, found) or image.machine.header.state == MachineState.FAILED

    wait_for(shows, 60, "the trace shows it")
    stop(run)


def stop(run: Launched) -> None:
    run.process.send_signal(signal.SIGINT)
    code, said = run.end(60)
    if {each["rule"] for each in said["findings"]} == {"deadlock"}:
        raise Deadlocked
    known = all(each["known"] for each in said["findings"])
    assert known and said["verdict"] in ("interrupted", "known-defect"), (code, said, run.log)
    pages = said["pages"]
    assert pages["managed"] == pages["buddy"] + pages["pcp"] + pages["allocated"]
    assert said["counts"]["offline"] and not said["counts"]["hotplug_skipped"]


def test_a_task_asleep_in_reclaim(launch: Launch) -> None:
    """It wakes as another CPU, calls all the others as that one, and takes that one's interrupts."""
    def seen(image: Image, found: list[Loan]) -> bool:
        asleep = [loan for loan in found if loan.left == TaskState.UNINTERRUPTIBLE and loan.woken]
        return any(loan.events[Event.CPUEMU_DRAIN_ALL_BEGIN, False] and loan.events[Event.IPI_RAISE, False]
                   for loan in asleep) and any(loan.events[Event.IPI_ENTRY, True] for loan in found)

    until(launch, seen, "--policy", f"{SLEEPY}:Sleepy", "--checked")


def test_a_task_on_the_hotplug_lock(launch: Launch) -> None:
    """It sleeps for the lock that the operation holds which takes its CPU away; the operation's end wakes it."""
    def seen(image: Image, found: list[Loan]) -> bool:
        return any(loan.woken and loan.woken.task == image.machine.hotplug.control_task for loan in found)

    for seed in range(1, 6):
        try:
            until(launch, seen, "--policy", "drain-with-hotplug-lock", "--preempt", "voluntary", "--checked",
                  "--seed", str(seed))
        except Deadlocked:
            continue  # as this policy can: kthreadd reclaims for the thread that the operation waits for
        break


def test_a_task_preempted_in_the_kernel(launch: Launch) -> None:
    """It was runnable: nobody wakes it, it only goes on."""
    def seen(image: Image, found: list[Loan]) -> bool:
        return any(loan.left == TaskState.RUNNING and not loan.woken for loan in found)

    until(launch, seen, "--preempt", "full", "--offline", "park")


def test_two_processes_of_one_cpu_and_a_task_that_is_moved_twice(launch: Launch) -> None:
    """CPU 1 comes back in a new process while the old one keeps a sleeper; then the CPU that this was lent to goes."""
    run = launch(*PRESSURE, "--policy", f"{SLEEPY}:Dreamy").running()

    def two() -> bool:
        titles = [title for _, title in run.tree()]
        return any(re.fullmatch(r"cpuemu cpu 1 gen \d+ lent to cpu 2", title) for title in titles) \
            and any(re.fullmatch(r"cpuemu cpu 1 gen \d+", title) for title in titles)

    wait_for(two, 30, "two processes of cpu 1")
    old = wait_for(lambda: _pid(run, r"cpuemu cpu 1 gen \d+ lent to cpu 0"), 30, "its sleepers are moved on to cpu 0")
    wait_for(lambda: any(loan.pid == old and loan.cpu == 0 for loan in loans(open_image(run.run_dir))), 30,
             "one of them has run there")
    stop(run)
    twice = Counter(record.args[0] for record in records(open_image(run.run_dir))
                    if record.event == Event.SCHED_MIGRATE_TASK and record.args[1:3] in ((1, 2), (2, 0)))
    assert any(count >= 2 for count in twice.values())


@pytest.mark.parametrize("offline", ["exit", "park"])
def test_the_process_goes_with_its_last_task(launch: Launch, offline: str) -> None:
    """What is abandoned ends; what is not waits for its CPU if it is to be parked."""
    run = launch(*PRESSURE, "--policy", f"{SLEEPY}:Sleepy", "--offline", offline).running()
    kept = wait_for(lambda: _pid(run, r"cpuemu cpu \d gen \d+ lent to cpu \d"), 20, "a process that keeps tasks")
    wait_for(lambda: not _titled(run, kept, "lent to"), 20, "its last task has left")
    stop(run)


# --- deaths ------------------------------------------------------------------------------------------------


def test_kill_9_of_a_borrower(launch: Launch) -> None:
    """The CPU that it runs dies with it; the verdict names its own process, the CPU it ran, and the place."""
    run = launch(*PRESSURE, "--policy", f"{SLEEPY}:Busy").running()
    victim = wait_for(lambda: _borrower(run), 20, "a borrower")
    notes, who = _killed(run, victim)
    assert who == f"cpu {victim.cpu}"
    expected = rf"cpu {victim.cpu} gen \d+ lent to cpu {victim.serves} \(killed by SIGKILL\) died at test:busy"
    assert re.match(expected, notes), notes


def test_kill_9_of_a_process_that_keeps_a_sleeper(launch: Launch) -> None:
    run = launch(*PRESSURE, "--policy", f"{SLEEPY}:Dreamy").running()
    pid = wait_for(lambda: _pid(run, r"cpuemu cpu \d gen \d+ lent to cpu \d"), 20, "a process that keeps tasks")
    victim = next(each for each in run.image.machine.processes if each.pid == pid and each.state in KEEPING)
    notes, who = _killed(run, victim)
    assert who == f"cpu {victim.cpu}"
    assert re.match(rf"cpu {victim.cpu} gen \d+ lent to cpu \d \(killed by SIGKILL\) died at ", notes), notes
    assert re.search(r"(rest, keeping|running) pressure/\d+", notes), notes


def _killed(run: Launched, victim: Process) -> tuple[str, str]:
    killed = time.monotonic()
    os.kill(victim.pid, signal.SIGKILL)
    code, said = run.end()
    assert time.monotonic() - killed < 5
    assert (code, said["verdict"], said["findings"]) == (1, "cpu-died", []), (said, run.log)
    return said["notes"][0], said["who"]


def _borrower(run: Launched) -> Process | None:
    """A process that runs a CPU of another one, and does not give it back."""
    machine = run.image.machine
    for process in machine.processes:
        if process.state in KEEPING and machine.cpus[process.serves].runner == process.index:
            cpu = machine.cpus[process.serves]
            if cpu.runner == process.index and cpu.point_site and machine.tasks[cpu.current].nterms == 0 \
                    and site_name(machine, cpu.point_site) == "test:busy_after_the_move":
                return process
    return None


def _pid(run: Launched, title: str) -> int:
    return next((pid for pid, each in run.tree() if re.fullmatch(title, each)), 0)


def _titled(run: Launched, pid: int, part: str) -> bool:
    return any(part in title for each, title in run.tree() if each == pid)
