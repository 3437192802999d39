"""The live display's picture of a machine built by hand: what it says, in every width and height."""

from __future__ import annotations

import re
from typing import Any

import pytest
from rich.console import Console

from cpuemu.cli.look import Status, Watcher
from cpuemu.cli.screen import LETTERS, gauge, screen
from cpuemu.coordinator.launcher import Progress
from cpuemu.kernel.cpu_hotplug import DOWN, UP
from cpuemu.kernel.hotplug_rows import row_code, row_under_way
from cpuemu.layout import (
    Counter,
    CpuState,
    MachineState,
    Op,
    SchedClass,
    Severity,
    StopMachine,
    StopState,
    Wmark,
    zone_lock,
)
from cpuemu.sites import site
from tests import handmade
from tests.handmade import CONTROL, FIRST_USER_TASK, SECOND, T0, Handmade

NOW = T0 + 10 * SECOND
ROW = re.compile(rf" *(\d+)  (?:{'|'.join(status.value for status in Status)}) ")
TITLE = "8 CPUs, v3.2, preempt none, storm, seed 1"


def busy_machine(cpus: int = 8) -> Handmade:
    """CPU 0 in user mode, 1 holds the zone's lock and 2 spins for it, 3 went offline, 4 is stopped by the host."""
    made = handmade.machine(cpus=cpus)
    for cpu in (0, 1, 2, 4):
        made.task(FIRST_USER_TASK + cpu, f"storm/{cpu}", cpu)
        made.run(cpu, FIRST_USER_TASK + cpu)
    made.cpus[0].user = 1
    made.cpus[0].counters[Counter.IPI_TAKEN] = 1234
    made.lock(zone_lock(1), 1, FIRST_USER_TASK + 1)
    made.cpus[1].irqs_off = made.cpus[2].irqs_off = 1
    made.cpus[2].lock_wait = zone_lock(1) + 1
    made.online(3, False)
    made.cpus[3].state = CpuState.GONE
    made.cpus[4].host_stopped = 1
    for pfn in (2100, 2101, 2102):
        made.take(pfn)
        made.to_pcp(0, pfn)
    for zone in made.machine.zones:
        zone.wmark[Wmark.MIN], zone.wmark[Wmark.LOW], zone.wmark[Wmark.HIGH] = 100, 125, 150
    return made


def progress(**changes: Any) -> Progress:
    values: dict[str, Any] = {
        "seconds": 12.3, "running": 12.0, "phase": "running", "done": 0, "total": 0, "online": 7, "cpus": 8,
        "allocs": 1_234_567, "frees": 2000, "ipis": 99, "hotplug": "", "note": "", **changes}
    return Progress(**values)


def picture(made: Handmade, width: int = 80, height: int = 24, goal_s: float | None = 20.0,
            watcher: Watcher | None = None, now_ns: int = NOW, **changes: Any) -> list[str]:
    text = screen(watcher or Watcher(made.machine), progress(**changes), now_ns, (width, height), TITLE, goal_s)
    return text.plain.split("\n")


def row_of(lines: list[str], cpu: int) -> str:
    return next(line for line in lines if (found := ROW.match(line)) and int(found[1]) == cpu)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_what_every_width_says(width: int) -> None:
    made = busy_machine()
    lines = picture(made, width)
    assert all(len(line) <= width for line in lines)
    assert lines[0].startswith(" 8 CPUs, v3.2") and lines[0].endswith("running   12.3 s ")
    assert lines[2].split()[:3] == (["CPU", "state", "task"] if width > 60 else ["CPU", "state", "pcp"])
    assert lines[2].endswith("waits for")
    for cpu, state in enumerate(["user", "irqs off", "spinning", "offline", "host-stopped", "idle", "idle", "idle"]):
        assert f"  {state} " in row_of(lines, cpu)
    assert row_of(lines, 0).split()[-3:] == ["3", "1.2k", "0"]  # pages, interrupts, steps
    assert "storm/1, zone->l" in row_of(lines, 2)
    assert any(line.startswith(" Normal ") and " 2,045 free" in line for line in lines)
    assert any("1.2M allocated    2.0k freed" in line for line in lines)
    assert any(line.startswith(" time ") and " 60%" in line and "8 s left" in line for line in lines)
    assert "more" not in "".join(lines)


def test_columns_stay_where_they_are_whatever_the_numbers() -> None:
    made = busy_machine()
    watcher = Watcher(made.machine)
    before = picture(made, watcher=watcher)
    made.cpus[0].heart, made.cpus[0].counters[Counter.IPI_TAKEN] = 999_900, 12_345_678
    made.machine.pcp(0, 1).count = 4321
    after = picture(made, watcher=watcher, now_ns=NOW + SECOND, allocs=999, frees=999_999_999, seconds=1234.5)
    assert before[2] == after[2]
    assert row_of(after, 0).split() == ["0", "user", "storm/0", "4321", "12.3M", "999.9k"]
    assert len(row_of(before, 0).rstrip()) == len(row_of(after, 0).rstrip())
    assert [line.find("freed") for line in before] == [line.find("freed") for line in after]
    assert [line.find("╋") for line in before] == [line.find("╋") for line in after]


def test_steps_are_smoothed_and_a_new_life_starts_anew() -> None:
    made = busy_machine()
    watcher = Watcher(made.machine)
    rates = []
    for second, steps, generation in ((0, 0, 1), (1, 1000, 1), (2, 3000, 1), (3, 10, 2), (4, 510, 2)):
        made.cpus[0].heart, made.cpus[0].generation = steps, generation
        rates.append(watcher.look(NOW + second * SECOND, 8).cpus[0].steps)
    assert rates == [0, 1000, 1500, 0, 500]


def test_few_lines_show_who_stands_out_and_a_letter_for_everybody() -> None:
    made = busy_machine(cpus=24)
    made.cpus[20].state = CpuState.DEAD
    waiting = made.task(FIRST_USER_TASK + 9, "storm/9", 17)
    made.run(17, waiting.index)
    cfd = made.machine.cfds[17]
    cfd.flags, cfd.cpumask[0] = 1, 1 << 22
    made.wait(waiting.index, cfd.addr(type(cfd).flags), Op.EQ, 0, site("csd_lock_wait"), since=NOW - 3 * SECOND)
    lines = picture(made, height=18)
    assert len(lines) <= 17
    shown = [int(found[1]) for line in lines if (found := ROW.match(line))]
    assert {4, 17, 20} < set(shown) and shown == sorted(shown)
    assert shown[:2] == [0, 1]
    assert "3.0 s: cpu 22" in row_of(lines, 17)
    more = next(line for line in lines if " more:" in line)
    assert f"{24 - len(shown)} more:" in more
    assert "idle" in more
    letters = "".join(line[6:].replace(" ", "") for line in lines if re.match(r" +\d+  \S+ \S+ \S+$", line))
    assert len(letters) == 24
    assert (letters[20], letters[4], letters[3], letters[0]) == ("D", "H", "_", "u")


@pytest.mark.parametrize(("cpus", "size"), [(24, (80, 24)), (24, (60, 12)), (8, (40, 10)), (8, (20, 5)), (24, (30, 3))])
def test_it_never_has_more_lines_or_columns_than_the_terminal(cpus: int, size: tuple[int, int]) -> None:
    made = busy_machine(cpus)
    lines = picture(made, *size, note="stopping, once more Ctrl-C to switch off hard")
    assert len(lines) <= size[1]
    assert max(map(len, lines)) <= size[0]


def test_an_idle_cpu_says_which_task_could_run_there_and_for_whom_it_waits() -> None:
    made = busy_machine()
    sleeper = made.task(FIRST_USER_TASK + 5, "storm/5", 5)
    other = made.machine.tasks[FIRST_USER_TASK]
    made.wait(sleeper.index, other.addr(type(other).held), Op.GE, 1, site("somewhere"), busy=False, since=NOW - 1000)
    assert row_of(picture(made), 5).endswith("storm/5 for storm/0")
    made.tasks[sleeper.index].wait_ns = NOW - 3 * SECOND
    assert "3.0 s: storm/5 for " in row_of(picture(made), 5)


def test_many_that_are_waited_for_are_counted() -> None:
    made = busy_machine(cpus=24)
    cfd = made.machine.cfds[0]
    cfd.flags, cfd.cpumask[0] = 1, 0b10101010101010101010100000
    made.cpus[0].user = 0
    made.wait(FIRST_USER_TASK, cfd.addr(type(cfd).flags), Op.EQ, 0, site("csd_lock_wait"))
    assert "10 CPUs, csd_lock_wait" in row_of(picture(made, 120, 60), 0)


def test_hotplug_and_the_barrier() -> None:
    made = busy_machine()
    assert any("hotplug" in line and "0 offline, 0 online so far" in line for line in picture(made))
    made.machine.stop_machine.state, made.machine.stop_machine.num_threads = StopState.DISABLE_IRQ, 7
    made.machine.stop_machine.thread_ack = 2
    lines = picture(made, 100, hotplug="cpu 2 offline: take_cpu_down, 4 of 8")
    line = next(each for each in lines if each.startswith(" hotplug"))
    assert line.endswith("cpu 2 offline: take_cpu_down, 4 of 8; STOPMACHINE_DISABLE_IRQ, 2 of 7 missing")


def test_a_barrier_shows_who_has_not_acknowledged() -> None:
    made = busy_machine()
    barrier = made.machine.stop_machine
    barrier.state, barrier.num_threads, barrier.thread_ack = StopState.PREPARE, 2, 1
    for cpu in (5, 6):
        made.machine.stop_works[cpu].queued = 1
        made.run(cpu, 32 + cpu)
    made.tasks[38].nterms = 0
    made.wait(37, barrier.addr(StopMachine.state), Op.NE, StopState.PREPARE, site("stop_machine_cpu_stop"))
    assert made.tasks[37].sched_class == SchedClass.STOP
    assert "10.0 s: migration/6, stop_machine_cpu_stop" in row_of(picture(made, 120), 5)


def test_the_row_under_way() -> None:
    hotplug = handmade.machine().machine.hotplug
    hotplug.busy, hotplug.up = 1, 0
    hotplug.request, hotplug.answer = row_code(False, False, 2) << 32 | 7, 6
    assert row_under_way(hotplug) == "take_cpu_down, 3 of 7"
    hotplug.answer = 7
    assert row_under_way(hotplug) == "take_process, 4 of 7"
    hotplug.request = row_code(False, True, 1) << 32 | 8
    assert row_under_way(hotplug) == "undo of CPU_DOWN_PREPARE, 2 of 7"
    hotplug.request, hotplug.answer = row_code(False, False, len(DOWN) - 1) << 32 | 9, 9
    assert row_under_way(hotplug) == "cpu_hotplug_begin, 1 of 7"  # the next operation is not asked for yet
    hotplug.up = 1
    assert row_under_way(hotplug) == f"cpu_hotplug_begin, 1 of {len(UP)}"


def test_the_gauge_marks_the_watermarks_and_fills_up_to_the_free_pages() -> None:
    made = busy_machine()
    watcher = Watcher(made.machine)
    zone = made.machine.zones[1]
    bars = {}
    for free in (0, 50, 100, 110, 130, 150, 1000, zone.managed):
        zone.free_pages = free
        bars[free] = gauge(watcher.look(NOW, 8).zones[1], 40).plain
    assert all(len(each) == 40 for each in bars.values())
    assert all(sorted(at for at, sign in enumerate(each) if sign in "╋┼") == [8, 14, 20] for each in bars.values())
    filled = [sum(sign in "━╋" for sign in each) for each in bars.values()]
    assert filled == sorted(filled)
    assert (filled[0], filled[2], filled[5], filled[-1]) == (0, 8, 20, 40)


@pytest.mark.parametrize(("changes", "end"), [
    ({"total": 224_708, "done": 112_354}, ["replay", "50%", "of", "224,708", "lines", "12", "s", "left"]),
    ({"total": 224_708, "done": 500, "running": 3.0}, ["replay", "0%", "of", "224,708", "lines"]),
    ({"total": 1000, "done": 20, "running": 100.0}, ["replay", "2%", "of", "1,000", "lines", "81:40", "left"]),
    ({"total": 1000, "done": 1000}, ["replay", "100%", "of", "1,000", "lines"]),
])
def test_how_much_is_done_and_how_long_the_rest_takes(changes: dict[str, Any], end: list[str]) -> None:
    line = next(each for each in picture(busy_machine(), goal_s=None, **changes) if each.startswith(" replay"))
    assert re.sub("[━─]", "", line).split() == end


def test_a_workload_without_an_end_counts_its_tasks() -> None:
    made = busy_machine()
    made.machine.header.nr_workload, made.machine.header.tasks_done = 16, 3
    assert any(line.endswith("3 of 16 tasks have ended") for line in picture(made, goal_s=None))
    for number in range(19, made.machine.dims.tasks):  # from first_workload_task(8) on
        made.tasks[number].end, made.tasks[number].position = 1000, 250
    assert any(line.startswith(" work ") and " 25%" in line and "36 s left" in line
               for line in picture(made, goal_s=None))


def test_colour_only_for_what_matters() -> None:
    made = handmade.machine(cpus=8)
    console = Console(width=80, height=24, force_terminal=True, color_system="standard")

    def colours() -> set[str]:
        text = screen(Watcher(made.machine), progress(), NOW, (80, 24), TITLE, 20.0)
        return {segment.style.color.name for segment in console.render(text)
                if segment.style is not None and segment.style.color is not None}

    assert colours() == set()
    made.cpus[2].host_stopped = 1
    assert colours() == {"yellow"}
    made.cpus[3].state = CpuState.DEAD
    assert colours() == {"yellow", "red"}


def test_a_finding_is_told_at_once() -> None:
    made = busy_machine()
    made.machine.header.nr_findings = 2
    entry = made.machine.findings[0]
    entry.rule, entry.message, entry.severity, entry.done = "some-rule", "it broke", Severity.WARN, 1
    assert picture(made)[-1] == " finding: some-rule: it broke (and 1 more)"


def test_before_the_first_cpu_is_up() -> None:
    made = handmade.machine(cpus=8, boot=False)
    made.machine.header.state = MachineState.BOOTING
    lines = picture(made, phase="booting", running=0.0)
    assert row_of(lines, 0).split() == ["0", "offline", "0", "0"]
    assert set(LETTERS) == set(Status)


def test_the_control_task_is_told_while_a_cpu_goes() -> None:
    made = busy_machine()
    hotplug = made.machine.hotplug
    assert row_of(picture(made), 5).split()[-1] == "0"
    hotplug.busy, hotplug.cpu = 1, 2
    done = made.machine.stop_done[CONTROL]
    made.tasks[CONTROL].cpu = 5
    made.wait(CONTROL, done.addr(type(done).completion), Op.NE, 0, site("__stop_cpus"), busy=False, since=NOW - 1000)
    made.machine.stop_works[2].queued, made.machine.stop_works[2].done = 1, CONTROL
    assert row_of(picture(made), 5).endswith("control/0 for migration/2")
