"""trace-dump --why: the paragraph tells in order what happened, and what it comes down to; no image makes it fail."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from cpuemu.events import Event
from cpuemu.faults import Fault
from cpuemu.layout import (
    CallFunctionData,
    CpuState,
    MachineState,
    Op,
    Severity,
    StopDone,
    StopMachine,
    StopState,
    TaskState,
    Vector,
)
from cpuemu.report.crash.reading import Reading
from cpuemu.report.image import open_image
from cpuemu.report.why.case import Case
from cpuemu.report.why.paragraph import paragraph
from cpuemu.report.why.text import why_short, why_text
from cpuemu.sites import site, write_sites
from tests.handmade import CONTROL, SECOND, T0, Handmade
from tests.launched import Launched, wait_for
from tests.report.run_directory import RunDirectory

STORM = 70
CSD_LOCK_WAIT, STOP_STATE, ZONE_LOCK = site("csd_lock_wait"), site("stop_machine_cpu_stop"), site("rmqueue_bulk:lock")


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    run = RunDirectory(tmp_path)
    write_sites(run.made.machine)
    for cpu in range(4):
        run.made.task(STORM + cpu, f"storm/{cpu}", cpu)
    return run


def told(run: RunDirectory, **verdict: object) -> str:
    return paragraph(Case(Reading(open_image(run.save(verdict=dict(verdict) or None))))).replace("\u00a0", " ")


def calls(made: Handmade, cpu: int, *targets: int, since: int = T0 + SECOND) -> None:
    """``storm/cpu`` has published its call_function_data and waits for ``targets``."""
    block = made.machine.cfds[cpu]
    block.flags, block.func, block.refs, block.queued_ns = 1, 1, len(targets), since
    block.cpumask[0] = sum(1 << target for target in targets)
    made.run(cpu, STORM + cpu).preempt_count = 1
    made.wait(STORM + cpu, block.addr(CallFunctionData.flags), Op.MASK_CLEAR, 1, CSD_LOCK_WAIT, since=since)
    made.tasks[STORM + cpu].stack = "csd_lock_wait:80 < on_each_cpu:315 < drain_all_pages:268"


def find(made: Handmade, rule: str, message: str, *tasks: int) -> None:
    finding = made.machine.findings[0]
    finding.severity, finding.time_ns, finding.rule, finding.message = Severity.FATAL, T0 + 4 * SECOND, rule, message
    for at, task in enumerate((*tasks, *[0xFFFFFFFF] * 8)[:8]):
        finding.tasks[at] = task
    finding.done, made.machine.header.nr_findings, made.machine.header.state = 1, 1, MachineState.FAILED


def test_an_ok_run_needs_no_explanation(run: RunDirectory) -> None:
    run.made.machine.header.state = MachineState.OFF
    assert told(run, verdict="ok").endswith("It ended in order: verdict ok. Nothing has to be explained.")


def test_a_lost_interrupt(run: RunDirectory) -> None:
    made = run.made
    made.raise_ipi(0, 3, Vector.CALL_FUNCTION, 17)
    made.cpus[3].raised_ns[Vector.CALL_FUNCTION] = T0 + SECOND - 1000
    calls(made, 0, 3)
    find(made, "csd-lock-wait", "nobody answers", STORM)
    text = told(run)
    order = ("At 0.999999 s cpu 0 raises function call interrupt 17 on cpu 3: its frame never arrives.",
             ("At 1.000000 s storm/0 on cpu 0 drains the page lists of all CPUs, and waits in csd_lock_wait for the "
              "answers; cpu 3 has not answered."), "At 4.000000 s csd-lock-wait is found, and the machine stops.",
             "So cpu 3 does not know of the interrupt")
    assert [text.find(each) for each in order] == sorted(text.find(each) for each in order) and -1 not in map(
        text.find, order), text
    run.trace(0, 999_990, Event.CPUEMU_FAULT, Fault.IPI_LOST, 3, Vector.CALL_FUNCTION)
    assert "its frame is lost on purpose (--fault ipi-lost)" in told(run)


def the_origin(made: Handmade) -> None:
    """A stopper cannot run where a task waits for a CPU that stands in the barrier with interrupts off."""
    calls(made, 3, 1)
    words = made.machine.stop_machine
    words.state, words.num_threads, words.thread_ack = StopState.DISABLE_IRQ, 4, 1
    for cpu in range(4):
        work, task = made.machine.stop_works[cpu], made.tasks[32 + cpu]
        work.queued, work.done = 1, CONTROL
        task.nterms, task.state, task.on_rq = 0, TaskState.RUNNING, 1
        if cpu != 3:
            made.run(cpu, 32 + cpu).preempt_count = 1
            made.wait(32 + cpu, words.addr(StopMachine.state), Op.NE, StopState.DISABLE_IRQ, STOP_STATE)
            made.cpus[cpu].irqs_off = 1
    done = made.machine.stop_done[CONTROL]
    done.nr_todo, done.completion = 4, 0
    made.wait(CONTROL, done.addr(StopDone.completion), Op.EQ, 1, busy=False)
    made.machine.hotplug.busy, made.machine.hotplug.cpu = 1, 2


def test_the_origin_of_it_all(run: RunDirectory) -> None:
    the_origin(run.made)
    for number, step in enumerate((90, 80, 60)):
        run.trace(0, number * 1000, Event.CPUHP_ENTER, 2, 10, step, 0)
    find(run.made, "deadlock", "deadlock: …", STORM + 3)
    text = told(run)
    assert "At 0.000000 s cpu 2 begins to go offline." in text
    assert "migration/3 could run on cpu 3, but storm/3 has that CPU and does not call schedule()" in text
    assert ("So cpu 1 waits for migration/1, migration/1 waits for migration/3, migration/3 waits for storm/3, storm/3 "
            "waits for cpu 1: a circle, and nobody outside of it can end it. control/0, migration/0 and migration/2 "
            "wait for somebody in it.") in text
    short = "\n".join(why_short(open_image(run.path), 80))
    assert "a cycle of 4, each (==>) waits for the next" in short
    assert "  cpu 1 ==> migration/1 ==> migration/3 ==> storm/3 ==> cpu 1\n" in short
    assert short.count("==>") == 9 and max(map(len, short.splitlines())) <= 80


def test_a_cpu_that_died_holding_a_lock(run: RunDirectory) -> None:
    made = run.made
    lock = made.lock(8, 2, STORM + 2)
    lock.since_ns, lock.site = T0 + SECOND, ZONE_LOCK
    made.cpus[2].state, made.cpus[2].current, made.machine.header.dead_process = CpuState.DEAD, STORM + 2, 3
    made.tasks[STORM + 2].in_kernel, made.tasks[STORM + 2].stack = 1, "alloc_pages:9"
    made.run(1, STORM + 1)
    made.cpus[1].lock_wait, made.cpus[1].lock_wait_site = 9, ZONE_LOCK
    made.machine.header.state = MachineState.FAILED
    text = told(run)
    assert f"At 1.000000 s cpu 2 (storm/2) takes {lock.name} in rmqueue_bulk:lock." in text
    assert f"storm/1 on cpu 1 comes for {lock.name} and cannot get it." in text
    assert "Nobody is left to give back what it held" in text and "The process of cpu 2 gen 1 died." in text
    whole = "\n".join(why_text(open_image(run.path), 100))
    assert "cpu 2: DEAD, online and active" in whole
    assert f"  holds       {lock.name} since 1.000000" in whole
    assert "[last sleep; since then it ran on, its process died after the point (none)]" in whole


def test_a_warning_before_a_death_is_not_what_ended_it(run: RunDirectory) -> None:
    """v3.2's own 13b may have been seen long before."""
    made = run.made
    find(made, "empty-ipi-mask", "every receiver had run the call", STORM)
    made.machine.findings[0].severity = Severity.WARN
    assert "empty-ipi-mask is found" in told(run)
    made.cpus[2].state, made.machine.header.dead_process = CpuState.DEAD, 3
    assert "empty-ipi-mask" not in told(run)


def test_all_sections_are_there(run: RunDirectory) -> None:
    the_origin(run.made)
    run.trace(1, 5, Event.SCHED_SWITCH, 0, 1, 2)
    text = "\n".join(why_text(open_image(run.save()), 80))
    for part in ("-- waits", "-- CPUs", "-- calls", "-- stop_machine and hotplug", "-- cpumasks", "-- memory",
                 "-- locks", "-- events up to", "stop_machine STOPMACHINE_DISABLE_IRQ, 1 of 4 acknowledgements missing",
                 "  cpu 3: migration/3 has not acknowledged, interrupts on", "  registers   irqs off, interrupt depth",
                 "sched_switch: prev_comm", "[position: it waits there, in csd_lock_wait",
                 f"trace-dump {run.path} --shell"):
        assert part in text, (part, text)


# --- real machines -----------------------------------------------------------------------------------------


@pytest.mark.timeout(60)
def test_a_living_machine_and_one_that_was_killed(launch: Callable[..., Launched], tmp_path: Path) -> None:
    """Every process of it at once: nobody lives to give a verdict."""
    launched = launch("--cpus", "3", "--workload", "storm", "--memory", "64M", "--seconds", "30").running()
    machine = launched.image.machine
    wait_for(lambda: all(cpu.heart > 100 for cpu in machine.cpus), 10, "every CPU has done something")
    alive = Reading(open_image(launched.run_dir))
    assert set(alive.alive) >= {cpu.pid for cpu in machine.cpus}
    assert "It runs now, " in paragraph(Case(alive))
    assert launched.process.poll() is None, "looking does not stop it"
    copy = shutil.copytree(launched.run_dir, tmp_path / "copy")
    assert Reading(open_image(copy)).alive == [] and "this is a copy" in paragraph(Case(Reading(open_image(copy))))

    processes = [launched.process.pid, *(pid for pid, _ in launched.tree())]
    for pid in processes:  # all at once: nobody may live to judge
        os.kill(pid, signal.SIGSTOP)
    for pid in processes:
        launched.signal(pid, signal.SIGKILL)
    wait_for(lambda: not Reading(open_image(launched.run_dir)).alive, 10, "all are gone")
    text = "\n".join(why_text(open_image(launched.run_dir), 100))
    assert "why: no verdict\n" in text
    assert "Nobody gave a verdict: RAM says RUNNING at" in text.replace("\n  ", " ")
    assert "cpu 0 was" in text.replace("\n  ", " ") and "run again: cpuemu launch --cpus 3 --workload storm" in text
