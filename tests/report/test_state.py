"""trace-dump --state: a machine that hangs explains itself from its files alone, and no image makes it fail."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from cpuemu.events import Event
from cpuemu.layout import (
    LOCK_CPU_ADD_REMOVE,
    LOCK_CPU_HOTPLUG,
    NOBODY,
    CpuState,
    Header,
    Lock,
    MachineState,
    Op,
    Severity,
    StopState,
    Vector,
)
from cpuemu.report.crash.reading import ranges
from cpuemu.report.image import ImageError, open_image
from cpuemu.report.records import records
from cpuemu.report.state import state_text
from cpuemu.report.text import lines
from tests.handmade import T0, machine
from tests.report.run_directory import RunDirectory


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory(tmp_path)


def state(run: RunDirectory, **verdict: object) -> str:
    return "\n".join(state_text(open_image(run.save(verdict=dict(verdict) or None))))


def test_a_machine_at_rest(run: RunDirectory) -> None:
    run.made.machine.header.state = MachineState.OFF
    text = state(run, verdict="ok")
    assert text.startswith("machine OFF, 4 CPUs, 0 of 0 tasks ended\nverdict ok\nconfiguration\n  cpus           4\n")
    assert "cpu_online_mask    0-3\n" in text
    assert "locks held: none" in text and "nobody waits for anybody" in text
    assert "pages: 4095 managed = 4095 buddy + 0 pcp + 0 allocated" in text
    assert "nowhere" not in text and "finding" not in text


def test_allocations_about_to_oom(run: RunDirectory) -> None:
    made = run.made
    made.task(70, "pressure/6", 1)
    for number in range(12):
        moment = made.machine.oom_moments[number]
        moment.done, moment.time_ns, moment.task, moment.cpu, moment.zone = 1, T0 + number * 1_000_000, 70, 1, 1
        moment.missing, moment.others, moment.own, moment.saved = 6, 240, 9, number % 2
    made.machine.oom_moments[11].victim, made.machine.drains.nr_moments = 71, 12
    text = state(run)
    assert "allocations about to OOM: 12\n  0.004000 cpu 1 pressure/6, order 0: 6 pages missing in zone 1; " in text
    assert ("  0.011000 cpu 1 pressure/6, order 0: 6 pages missing in zone 1; 240 on other CPUs' lists, 9 on its own, "
            "a drain of all lists saves it; kills pressure/6\n") in text
    assert "does not save it; an earlier victim is on its way out" in text and "0.003000" not in text


def test_a_hung_machine_says_who_waits_for_whom(run: RunDirectory) -> None:
    made = run.made
    for cpu in (1, 2):
        made.task(70 + cpu, f"storm/{cpu}", cpu)
    for mutex, cpu, other in ((LOCK_CPU_ADD_REMOVE, 1, LOCK_CPU_HOTPLUG), (LOCK_CPU_HOTPLUG, 2, LOCK_CPU_ADD_REMOVE)):
        lock = made.machine.locks[mutex]
        lock.word = lock.holder = 71 + cpu
        made.wait(70 + cpu, made.machine.locks[other].addr(Lock.word), Op.EQ, 0, busy=False)
    text = state(run)
    assert "locks held: 2\n  cpu_add_remove_lock: held by storm/1" in text
    assert "who waits for whom:\n  deadlock: storm/1 -> storm/2 -> storm/1\n" in text
    assert "  71 storm/1         UNINTERRUPTIBLE   1        0          0  waiting_function:1 < caller:2" in text


def test_interrupts_calls_hotplug_findings_and_last_words(run: RunDirectory) -> None:
    made, header = run.made, run.made.machine.header
    made.raise_ipi(4, 1, Vector.PLATFORM, 12)
    block = made.machine.cfds[3]
    block.flags, block.func, block.refs = 1, 1, 2
    block.cpumask[0] = 0b110
    hotplug, barrier = made.machine.hotplug, made.machine.stop_machine
    hotplug.busy, hotplug.cpu, hotplug.request = 1, 2, 3 << 32 | 9
    barrier.state, barrier.num_threads, barrier.thread_ack = StopState.DISABLE_IRQ, 4, 1
    made.cpus[2].host_stopped, made.cpus[2].stopped_ns = 1, 3_500_000_000
    made.cpus[3].state, made.cpus[3].last_words = CpuState.DEAD, "cpu 3: BadPage: page 7 is on two lists"
    finding = made.machine.findings[0]
    finding.severity, finding.time_ns, finding.rule = Severity.FATAL, T0 + 1_500_000_000, "csd-lock-wait"
    finding.stacks, finding.locks = "storm/1: schedule:5", "zone->lock/DMA: cpu 2 (storm/2), taken in here"
    finding.message, finding.stack, finding.done = "nobody answers", "csd_lock_wait:1", 1
    header.nr_findings, header.state, header.dead_process = 1, MachineState.FAILED, 4
    text = state(run, verdict="failed", findings=[{"rule": "csd-lock-wait", "message": "nobody answers"},
                                                  {"rule": "page-conservation", "message": "3 pages are lost"}])
    for part in (
        "machine FAILED", "the process of cpu 3 gen 1 died",
        ("finding csd-lock-wait (fatal) at 1.500000: nobody answers\n  stack: csd_lock_wait:1\n"
        "  stack of storm/1: schedule:5\n  held: zone->lock/DMA: cpu 2 (storm/2), taken in here\n"
        "finding page-conservation: 3 pages are lost\n"
        f"  more:  trace-dump {run.path} --why\n  again: cpuemu launch --cpus 4 --workload replay --seed 7\n"),
        "    pending: platform from the coordinator, ticket 12",
        "call_function_data of cpu 3: ", "refs 2, cpumask 1-2, locked",
        "hotplug: cpu 2 going offline, row 3 not answered yet (take_process, 4 of 7)\n",
        "stop_machine STOPMACHINE_DISABLE_IRQ, 1 of 4 acknowledgements missing",
        "  3500+0  ", "(stopped by the host)", "    last words: cpu 3: BadPage: page 7 is on two lists",
    ):
        assert part in text, (part, text)


def test_call_queues_as_an_interrupt_walks_them(run: RunDirectory) -> None:
    machine = run.made.machine
    for index, mask, following in ((3, 0b110, 1), (1, 0b1000, 4)):
        block = machine.cfds[index]
        block.flags, block.func, block.refs, block.next = 1, 1, mask.bit_count(), following
        block.cpumask[0] = mask
    machine.cfds[2].flags, machine.cfds[2].func, machine.call_function.next = 1, 1, 3
    for index, following in ((0, 6), (6, NOBODY)):
        csd = machine.csds[index]
        csd.flags, csd.func, csd.source, csd.target, csd.next = 1, 0, 0, 2, following
    machine.single_queues[2].head = 0
    text = state(run)
    assert ("call_function.queue: 2 blocks\n"
            "  call_function_data of cpu 3: drain_local_pages, refs 2, cpumask 1-2, locked\n"
            "  call_function_data of cpu 1: drain_local_pages, refs 1, cpumask 3, locked\n"
            "not on the queue: call_function_data of cpu 2: drain_local_pages, refs 0, cpumask (none), locked\n"
            "call_single_queue of cpu 2: 2 calls\n"
            "  csd 0: nop from cpu 0 to cpu 2, locked\n  csd 6: nop") in text
    machine.cfds[1].next = 3  # torn: it leads back
    assert "call_function.queue: 2 blocks, then 3 again\n" in state(run)


def test_locks_name_their_owner(run: RunDirectory) -> None:
    made = run.made
    made.task(71, "storm/1", 1)
    first, second = made.lock(8, 1, 71), made.lock(10, 2, 71)
    first.since_ns = T0 + 1_500_000_000
    second.holder = 0
    made.cpus[3].lock_wait, made.cpus[3].current = 9, 71
    text = state(run)
    assert f"  {first.name}: held by cpu 1 gen 1 (storm/1) since 1.500000, taken in (none) (word 0x10002)\n" in text
    assert f"  {second.name}: held by cpu 2 gen 1, just taken (word 0x10003)\n" in text
    assert f"  {first.name}: cpu 3 (storm/1) spins for it in (none)\n" in text


def test_lost_pages_of_a_machine_that_was_running(run: RunDirectory) -> None:
    run.made.unlink(1)
    text = state(run)
    assert "the machine was not at rest" in text


def test_ranges() -> None:
    assert [ranges(each) for each in ([], [0], [0, 1, 2, 5, 7, 8])] == ["(none)", "0", "0-2,5,7-8"]


@pytest.mark.parametrize("seed", range(30))
def test_nothing_in_an_image_makes_reading_fail(tmp_path: Path, seed: int) -> None:
    """RAM and rings with random damage behind the header's dimensions: text or one ImageError, no other exception."""
    chance = random.Random(seed)
    run = RunDirectory(tmp_path, machine(cpus=3, pages=256))
    for number in range(8):
        run.trace(number % 3, number, Event.SCHED_SWITCH if number % 2 else Event.MM_PAGE_ALLOC, number, 2, 3, 4)
    run.save()
    start = 0 if seed % 3 == 0 else Header.SIZE
    for name, first in (("ram", start), ("rings", 0)):
        content = bytearray((tmp_path / name).read_bytes())
        for _ in range(chance.choice((5, 500, 20_000))):
            content[chance.randrange(first, len(content))] = chance.choice((0, 1, 255, chance.randrange(256)))
        (tmp_path / name).write_bytes(content)
    try:
        image = open_image(tmp_path)
    except ImageError:
        return
    assert list(state_text(image))
    list(lines(records(image), image))
