"""The wait-for graph: every kind of edge is drawn and told, a deadlock is one cycle, a busy machine has none."""

from __future__ import annotations

import itertools
import random

import pytest

from cpuemu import layout
from cpuemu.kernel.hung_task import Edge, edges, explain, find_cycle, reach
from cpuemu.kernel.page_audit import audit
from cpuemu.layout import (
    LOCK_CALL_FUNCTION,
    LOCK_CPU_HOTPLUG,
    NOBODY,
    CallFunctionData,
    CpuState,
    Csd,
    Hotplug,
    KgdbCpu,
    Kthread,
    Lock,
    Op,
    Preempt,
    StopDone,
    StopMachine,
    StopState,
    TaskState,
    Vector,
    zone_lock,
)
from cpuemu.sites import site, write_sites
from tests.handmade import CONTROL, KTHREADD, SECOND, T0, Handmade, machine

NOW = T0 + 2_100_000_000
CSD_LOCK_WAIT = site("csd_lock_wait")
STOP_STATE = site("stop_machine_cpu_stop")
ZONE_LOCK = site("rmqueue_bulk:zone_lock")
STORM = 70


@pytest.fixture
def made() -> Handmade:
    made = machine()
    write_sites(made.machine)
    for cpu in range(4):
        made.task(STORM + cpu, f"storm/{cpu}", cpu)
    return made


def waits_for_block(made: Handmade, cpu: int, *targets: int, since: int = T0) -> None:
    """``storm/cpu`` has published its call_function_data and waits for ``targets``."""
    block = made.machine.cfds[cpu]
    block.flags, block.func, block.refs, block.queued_ns = 1, 1, len(targets), since
    block.cpumask[0] = sum(1 << target for target in targets)
    made.run(cpu, STORM + cpu).preempt_count = 1
    made.wait(STORM + cpu, block.addr(CallFunctionData.flags), Op.MASK_CLEAR, 1, CSD_LOCK_WAIT, since=since)


def barrier(made: Handmade, state: StopState, acked: tuple[int, ...], late: tuple[int, ...]) -> None:
    """A stop_machine in ``state``: the stoppers of ``acked`` stand and wait, those of ``late`` are runnable."""
    words = made.machine.stop_machine
    words.state, words.num_threads, words.thread_ack = state, len(acked) + len(late), len(late)
    for cpu in (*acked, *late):
        work = made.machine.stop_works[cpu]
        work.queued, work.done = 1, CONTROL
        task = made.tasks[32 + cpu]
        task.nterms, task.state, task.on_rq = 0, TaskState.RUNNING, 1
    for cpu in acked:
        made.run(cpu, 32 + cpu).preempt_count = 1
        made.wait(32 + cpu, words.addr(StopMachine.state), Op.NE, state, STOP_STATE)
        made.cpus[cpu].irqs_off = int(state >= StopState.DISABLE_IRQ)
    done = made.machine.stop_done[CONTROL]
    done.nr_todo, done.completion = len(acked) + len(late), 0
    made.wait(CONTROL, done.addr(StopDone.completion), Op.EQ, 1, busy=False)


def test_a_handler_that_waits_is_the_waiter(made: Handmade) -> None:
    """The debugger's master waits until cpu 1 has left; cpu 1's handler waits for the master."""
    made.machine.kgdb.active = 1
    made.run(0, STORM).preempt_count = 1
    made.wait(STORM, made.machine.kgdb_cpus[1].addr(KgdbCpu.cpu_in_kgdb), Op.EQ, 0, CSD_LOCK_WAIT)
    made.machine.kgdb_cpus[1].cpu_in_kgdb = made.machine.kgdb_cpus[1].passive_cpu_wait = 1
    made.run(1, STORM + 1)
    made.cpus[1].hardirq = made.tasks[STORM + 1].wait_hardirq = 1
    made.wait(STORM + 1, made.machine.kgdb_cpus[1].addr(KgdbCpu.passive_cpu_wait), Op.EQ, 0, CSD_LOCK_WAIT)
    cycle = find_cycle(edges(made.machine, NOW))
    assert {edge.waiter for edge in cycle} == {("task", STORM), ("irq", 1)}
    assert any("cpu 1 is in an interrupt handler" in sentence for sentence in explain(made.machine, NOW))


def test_silence_on_an_idle_machine(made: Handmade) -> None:
    assert edges(made.machine, NOW) == [] and explain(made.machine, NOW) == []


def test_csd_wait_names_the_silent_pair(made: Handmade) -> None:
    waits_for_block(made, 0, 3)
    made.raise_ipi(0, 3, Vector.CALL_FUNCTION, 17)
    assert explain(made.machine, NOW) == [
        ("cpu 0 (storm/0) waits in csd_lock_wait for cfds[0].flags since 2.1 s: cpu 3 has not taken Function call "
         "interrupts (ticket 17 raised 2.1 s ago by cpu 0; frame not in hand)"),
        "cpu 3 waits for the frame of ticket 17 (Function call interrupts), raised 2.1 s ago by cpu 0",
    ]
    assert find_cycle(edges(made.machine, NOW)) == []


def test_the_dead_wait_for_no_frame(made: Handmade) -> None:
    waits_for_block(made, 0, 3)
    made.raise_ipi(0, 3, Vector.CALL_FUNCTION, 17)
    made.cpus[3].state = CpuState.DEAD
    [sentence] = explain(made.machine, NOW)
    assert sentence.endswith(": cpu 3 has not run drain_local_pages: its process died")


def test_interrupts_off_just_now_are_not_why_an_old_frame_is_missing(made: Handmade) -> None:
    waits_for_block(made, 0, 3)
    made.raise_ipi(0, 3, Vector.CALL_FUNCTION, 17)
    made.cpus[3].irqs_off = 1
    assert explain(made.machine, NOW)[1].startswith("cpu 3 has interrupts off")
    made.cpus[3].open_ns = NOW - SECOND // 2
    assert explain(made.machine, NOW)[1].startswith("cpu 3 waits for the frame of ticket 17")
    made.raise_ipi(1, 3, Vector.RESCHEDULE, 18, at=NOW)  # which does wait for that
    assert explain(made.machine, NOW)[1].startswith("cpu 3 has interrupts off")


def test_explored_what_has_come_already_changes_no_word(made: Handmade) -> None:
    """When a frame arrives is the host's matter; when it is delivered is a decision."""
    waits_for_block(made, 0, 3)
    made.raise_ipi(0, 3, Vector.CALL_FUNCTION, 17)
    made.machine.header.explored = 1
    before = explain(made.machine, NOW)
    made.cpus[3].in_hand = 1
    assert explain(made.machine, NOW) == before and "cpu 3 waits for the frame of ticket 17" in before[1]


def test_each_target_has_its_own_story(made: Handmade) -> None:
    waits_for_block(made, 0, 1, 2, 3)
    made.raise_ipi(0, 1, Vector.CALL_FUNCTION, 5)
    made.cpus[1].in_hand, made.cpus[1].irqs_off = 1, 1
    made.cpus[2].state = CpuState.DEAD
    made.cpus[3].host_stopped = 1
    made.online(3, False)
    text = "\n".join(explain(made.machine, NOW))
    assert "ticket 5 raised 2.1 s ago by cpu 0; 1 frames in hand), interrupts off" in text
    assert "cpu 2 has not run drain_local_pages: its process died" in text
    assert "no Function call interrupts are pending there, it is not online, stopped by the host" in text


def test_single_csd_and_its_handler(made: Handmade) -> None:
    csd = made.machine.csds[4 + STORM]
    csd.flags, csd.func, csd.target, csd.source = 1, 0, 2, 0
    made.cpus[2].inservice[Vector.CALL_FUNCTION_SINGLE] = 9 << 16 | 1
    made.cpus[2].hardirq = 1
    made.run(0, STORM)
    made.wait(STORM, csd.addr(Csd.flags), Op.MASK_CLEAR, 1, CSD_LOCK_WAIT)
    first, second = explain(made.machine, NOW)
    assert "csds[74].flags" in first and "is in the handler of Single function call interrupts for nop" in first
    assert "cpu 2 is in an interrupt handler" in second


def test_a_wait_that_is_over_is_no_edge(made: Handmade) -> None:
    waits_for_block(made, 0, 3)
    made.machine.cfds[0].flags = 0
    assert edges(made.machine, NOW) == []


def test_empty_mask_with_refs(made: Handmade) -> None:
    waits_for_block(made, 0)
    made.machine.cfds[0].refs = 1
    assert "its mask is empty and its refs are 1" in explain(made.machine, NOW)[0]


def test_two_cpus_call_each_other_with_interrupts_off(made: Handmade) -> None:
    for cpu, target in ((0, 1), (1, 0)):
        waits_for_block(made, cpu, target)
        made.raise_ipi(cpu, target, Vector.CALL_FUNCTION, 7 + cpu)
        made.cpus[cpu].irqs_off = 1
    cycle = find_cycle(edges(made.machine, NOW))
    assert [edge.kind for edge in cycle] == ["irqs", "csd", "irqs", "csd"]
    assert explain(made.machine, NOW)[0] == "deadlock: cpu 0 -> storm/0 -> cpu 1 -> storm/1 -> cpu 0"
    made.cpus[1].irqs_off = 0  # the same with interrupts on at one of them: it answers
    assert find_cycle(edges(made.machine, NOW)) == []


def test_the_origin_of_it_all(made: Handmade) -> None:
    """A stopper cannot run where a task waits for a CPU that stands in the barrier with interrupts off."""
    waits_for_block(made, 3, 1)
    barrier(made, StopState.DISABLE_IRQ, acked=(0, 1, 2), late=(3,))
    made.cpus[3].need_resched = 1
    cycle = find_cycle(edges(made.machine, NOW))
    assert {edge.kind for edge in cycle} == {"csd", "irqs", "stop_machine", "scheduler"} and len(cycle) == 4
    text = "\n".join(explain(made.machine, NOW))
    assert "deadlock: cpu 1 -> migration/1 -> migration/3 -> storm/3 -> cpu 1" in text
    assert "migration/3 has not acknowledged STOPMACHINE_DISABLE_IRQ" in text
    assert ("migration/3 is runnable on cpu 3 but task storm/3 has not called schedule() for 2.1 s and the model is "
            "PREEMPT_NONE (need_resched 1, preempt_count 1, irqs on, kernel mode)") in text


def test_prepare_is_no_deadlock(made: Handmade) -> None:
    """At PREPARE interrupts are still on: the call is answered, whatever the preemption model."""
    waits_for_block(made, 3, 1)
    barrier(made, StopState.PREPARE, acked=(0, 1, 2), late=(3,))
    assert find_cycle(edges(made.machine, NOW)) == []


def test_preemption_breaks_the_cycle(made: Handmade) -> None:
    waits_for_block(made, 3, 1)
    barrier(made, StopState.DISABLE_IRQ, acked=(0, 1, 2), late=(3,))
    made.machine.header.preempt_model = Preempt.FULL
    assert find_cycle(edges(made.machine, NOW)), "preempt_count is 1: even FULL cannot"
    made.tasks[STORM + 3].preempt_count = 0
    assert find_cycle(edges(made.machine, NOW)) == []


def test_stop_machine_with_more_acks_expected_than_threads(made: Handmade) -> None:
    barrier(made, StopState.PREPARE, acked=(0, 1, 2, 3), late=())
    made.machine.stop_machine.num_threads, made.machine.stop_machine.thread_ack = 5, 1
    text = "\n".join(explain(made.machine, NOW))
    assert "1 acknowledgements of STOPMACHINE_PREPARE are missing, num_threads is 5, and 4 threads run it" in text


def spins(made: Handmade, cpu: int, lock: int) -> None:
    made.run(cpu, STORM + cpu)
    made.cpus[cpu].lock_wait, made.cpus[cpu].lock_wait_site = lock + 1, ZONE_LOCK


def test_a_lock_that_is_had_at_the_second_look(made: Handmade, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine runs while it is looked at: what was waited for a moment ago may be 0 now."""
    made.run(1, STORM + 1)
    looks = itertools.cycle([1, 1, 0])
    monkeypatch.setattr(layout.Cpu, "lock_wait", property(lambda cpu: next(looks)))
    for _ in range(6):
        edges(made.machine, NOW)


def test_spinlock_edge_and_dead_owner(made: Handmade) -> None:
    made.run(2, STORM + 2)
    made.lock(zone_lock(0), 2, STORM + 2)
    spins(made, 0, zone_lock(0))
    assert explain(made.machine, NOW) == [
        ("cpu 0 (storm/0) spins in rmqueue_bulk:zone_lock for zone->lock/DMA: cpu 2 holds it since 2.1 s, "
         "taken in (none)")]
    made.cpus[2].state = CpuState.DEAD
    assert "whose process died" in explain(made.machine, NOW)[0]


def test_abba(made: Handmade) -> None:
    for cpu, mine, theirs in ((0, zone_lock(0), LOCK_CALL_FUNCTION), (1, LOCK_CALL_FUNCTION, zone_lock(0))):
        made.lock(mine, cpu, STORM + cpu)
        spins(made, cpu, theirs)
    assert explain(made.machine, NOW)[0] == "deadlock: storm/0 -> storm/1 -> storm/0"


def test_recursion_on_one_lock(made: Handmade) -> None:
    made.lock(zone_lock(1), 0, STORM)
    spins(made, 0, zone_lock(1))
    assert len(find_cycle(edges(made.machine, NOW))) == 1


def test_lock_of_the_interrupted_task_taken_again_by_the_handler(made: Handmade) -> None:
    made.lock(zone_lock(1), 0, STORM)
    spins(made, 0, zone_lock(1))
    made.cpus[0].hardirq, made.cpus[0].irqs_off = 1, 1
    assert [edge.waiter for edge in find_cycle(edges(made.machine, NOW))] == [("irq", 0)]


def test_a_handler_that_holds_a_lock_is_not_judged_by_the_interrupted_wait(made: Handmade) -> None:
    """cpu 0 waits for a csd of cpu 1 and is in a handler holding a lock; cpu 1 spins for it, interrupts off."""
    waits_for_block(made, 0, 1)
    made.cpus[0].hardirq, made.cpus[0].irqs_off = 1, 1
    made.lock(LOCK_CALL_FUNCTION, 0, STORM)
    spins(made, 1, LOCK_CALL_FUNCTION)
    made.cpus[1].irqs_off = 1
    assert find_cycle(edges(made.machine, NOW)) == []


def test_hotplug_lock_and_kthreadd(made: Handmade) -> None:
    """Zoo 2: the control task holds the hotplug lock and waits for kthreadd, which waits for the lock."""
    lock = made.machine.locks[LOCK_CPU_HOTPLUG]
    lock.word = lock.holder = CONTROL + 1
    lock.since_ns = T0 + SECOND
    kthread = made.machine.kthread
    kthread.request = 1
    made.wait(CONTROL, kthread.addr(Kthread.answer), Op.EQ, 1, busy=False)
    made.wait(KTHREADD, lock.addr(Lock.word), Op.EQ, 0, busy=False)
    assert explain(made.machine, NOW)[0] == "deadlock: control/0 -> kthreadd -> control/0"
    last = explain(made.machine, NOW)[2]
    assert "sleeps in (none) for cpu_hotplug.lock since 2.1 s: control/0 holds it since 1.1 s" in last


def test_a_wait_with_a_deadline_or_an_alternative_is_no_deadlock(made: Handmade) -> None:
    kthread, lock = made.machine.kthread, made.machine.locks[LOCK_CPU_HOTPLUG]
    kthread.request = 1
    lock.word = CONTROL + 1
    made.wait(KTHREADD, lock.addr(Lock.word), Op.EQ, 0, busy=False)
    control = made.wait(CONTROL, kthread.addr(Kthread.answer), Op.EQ, 1, busy=False, deadline=T0 + 5 * SECOND)
    assert find_cycle(edges(made.machine, NOW)) == []
    control.deadline_ns = 0
    assert find_cycle(edges(made.machine, NOW))
    control.nterms = 2
    control.word[1], control.op[1], control.value[1] = made.machine.hotplug.addr(Hotplug.died), Op.NE, 0
    assert find_cycle(edges(made.machine, NOW)) == []
    control.word[1] = made.machine.header.addr(layout.Header.state)  # the power switch is no alternative
    control.op[1], control.value[1] = Op.GE, 3
    assert find_cycle(edges(made.machine, NOW))


def test_readers_of_the_hotplug_lock_are_a_way_round_the_cycle(made: Handmade) -> None:
    """The writer waits for a reader, which waits for a lock that the writer holds."""
    hotplug = made.machine.hotplug
    hotplug.refcount = made.tasks[STORM].online_refs = 1
    made.wait(CONTROL, hotplug.addr(Hotplug.refcount), Op.EQ, 0, busy=False)
    mutex = made.machine.locks[layout.LOCK_CPU_ADD_REMOVE]
    mutex.word = mutex.holder = CONTROL + 1
    made.wait(STORM, mutex.addr(Lock.word), Op.EQ, 0, busy=False)
    assert "storm/0 is inside get_online_cpus" in explain(made.machine, NOW)[1]
    assert {edge.waiter for edge in find_cycle(edges(made.machine, NOW))} == {("task", STORM), ("task", CONTROL)}


def test_other_words(made: Handmade) -> None:
    hotplug = made.machine.hotplug
    hotplug.refcount, hotplug.cpu = 2, 3
    made.wait(CONTROL, hotplug.addr(Hotplug.refcount), Op.EQ, 0, busy=False)
    assert "2 readers are inside get_online_cpus" in explain(made.machine, NOW)[0]
    online = made.machine.cpumasks[layout.Mask.ONLINE]
    made.online(3, False)
    made.wait(CONTROL, online.addr(layout.Cpumask.bits), Op.MASK_SET, 8, busy=False)
    told = explain(made.machine, NOW)[0]
    assert "cpumasks[2].bits[0]" in told and "cpu 3 has not set itself online" in told


def test_reach(made: Handmade) -> None:
    waits_for_block(made, 3, 1)
    barrier(made, StopState.DISABLE_IRQ, acked=(0, 1, 2), late=(3,))
    assert ("task", 35) in reach(edges(made.machine, NOW), ("task", STORM + 3))
    assert reach([], ("cpu", 0)) == {("cpu", 0)}


def test_find_cycle_in_a_larger_graph() -> None:
    def edge(waiter: int, holder: int, firm: bool = True) -> Edge:
        return Edge(("task", waiter), ("task", holder), "lock", "w", "s", 0, "", firm)

    graph = [edge(n, n + 1) for n in range(2000)] + [edge(0, 5), edge(7, 3, firm=False)]
    assert find_cycle(graph) == []
    assert [each.waiter[1] for each in find_cycle([*graph, edge(1500, 1490)])] == list(range(1490, 1501))


def test_garbage_never_raises(made: Handmade) -> None:
    start = made.machine.placed["cpumasks"].base
    end = made.machine.placed["histograms"].base
    for seed in range(20):
        made.memory[start:end] = random.Random(seed).randbytes(end - start)
        explain(made.machine, NOW)
        find_cycle(edges(made.machine))
        audit(made.machine, made.memory)


def test_nobody_is_a_task_that_is_not_there(made: Handmade) -> None:
    made.cpus[1].stop_task = NOBODY
    barrier(made, StopState.PREPARE, acked=(0,), late=())
    made.machine.stop_works[1].queued, made.machine.stop_works[1].done = 1, CONTROL
    text = "\n".join(explain(made.machine, NOW))
    assert "a work is queued on cpu 1, which has no migration thread" in text
