"""Faults as decisions of a schedule: each strikes where it can, is recorded, comes back, and can be left out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from cpuemu.errors import UserError
from cpuemu.explore.actors import actor_name, actor_named, actors, coordinator
from cpuemu.explore.failure import failure_of
from cpuemu.explore.shrink import Shrinking
from cpuemu.explore.strategies.base import Event
from cpuemu.explore.strategies.onward import Onward
from cpuemu.explore.strategies.struck import Struck
from cpuemu.explore.worlds import Result, run_world, run_worlds
from cpuemu.faults import DECIDED, Fault
from cpuemu.kernel.uapi import Alloc, Call, CallAll, Free
from cpuemu.layout import Counter, Machine, Mask
from cpuemu.scenarios.base import Scenario, Task
from cpuemu.sites import NAMES
from tests.explore.test_machine import cpuemu

pytestmark = pytest.mark.timeout(110)

CALLS = (Task(0, (Call(1), Alloc(), Free(), CallAll())), Task(1, (CallAll(),)))


def scenario(*faults: str, **parts: object) -> Scenario:
    return Scenario("faulty", CALLS, cpus=2, profile="v3.4", faults=faults, **parts)  # type: ignore[arg-type]


class Strike:
    """Onward, and a fault as soon as it can, but for those of ``wait`` steps before."""

    def __init__(self, fault: str, wait: int = 0) -> None:
        self.name, self.fault, self.wait = f"strike {fault}", fault, wait

    def begin(self, actors: int, random: Random) -> None:
        self.onward, self.steps = Onward(), 0
        self.onward.begin(actors, random)

    def choose(self, enabled: Sequence[Event]) -> Event:
        for event in enabled:
            if self.steps >= self.wait and actor_name(event.actor, 2).startswith(self.fault):
                return event
        return self.onward.choose([event for event in enabled if event.actor <= coordinator(2)])

    def executed(self, event: Event, enabled: Sequence[Event]) -> None:
        self.steps += 1
        self.onward.executed(event, enabled)


def names(result: Result) -> list[str]:
    return [actor_name(actor, 2) for actor, _ in result.ran]


def test_actors_have_names_and_names_have_actors() -> None:
    for cpus in (1, 3):
        every = [actor_name(actor, cpus) for actor in range(actors(cpus, faults=True))]
        assert [actor_named(name, cpus) for name in every] == list(range(len(every)))
        assert len(set(every)) == len(every)
        assert {name.rstrip("0123456789") for name in every[coordinator(cpus) + 1:] if "." not in name} == {
            "death", "nomem", "notifier"}
    assert actor_named("death3", 3) is None and actor_named("lost0", 3) is None
    assert actor_named("death0.call", 3) is None and actor_named("again1.nothing", 3) is None


def test_a_lost_interrupt_is_waited_for_and_named() -> None:
    result = run_world(scenario("ipi-lost"), Strike("lost1.single"), 1)
    assert result.verdict == "deadlock"
    assert "csd_lock_wait" in result.message and result.message.endswith(
        "; injected: ipi-lost (single interrupt to cpu 1)")
    assert "injected" not in result.signature
    assert names(result).count("lost1.single") == 1 and "irq1.single" not in names(result)


def count(machine: Machine, enabled: Sequence[Event]) -> str:
    return json.dumps([sum(cpu.faults[fault] for cpu in machine.cpus)
                       for fault in (Fault.IPI_DOUBLED, Fault.ALLOC_FAILURE, Fault.FAILING_NOTIFIER)] +
                      [sum(cpu.counters[counter] for cpu in machine.cpus)
                       for counter in (Counter.IPI_STALE, Counter.ALLOC_FAILED)])


def test_a_doubled_frame_is_dropped() -> None:
    result, = run_worlds(scenario("ipi-doubled 2"), [(Strike("again"), 1)], 1, watch=count)
    assert result.verdict == "ok", result.message
    assert json.loads(result.watched[-1]) == [2, 0, 0, 2, 0]


def test_an_allocation_fails_and_nothing_else() -> None:
    result, = run_worlds(scenario("alloc-failure"), [(Strike("nomem"), 1)], 1, watch=count)
    assert result.verdict == "ok", result.message
    assert json.loads(result.watched[-1]) == [0, 1, 0, 0, 1]


def test_a_notifier_fails_and_the_cpu_stays() -> None:
    unplugged = scenario("failing-notifier", hotplug=("offline 1",))
    for wanted, struck in (("notifier", 1), ("nobody", 0)):
        result, = run_worlds(unplugged, [(Strike(wanted), 1)], 1, watch=online)
        assert result.verdict == "ok", result.message
        assert json.loads(result.watched[-1]) == ([1, 0b11] if struck else [0, 0b01])


def online(machine: Machine, enabled: Sequence[Event]) -> str:
    return json.dumps([json.loads(count(machine, enabled))[2], machine.cpumasks[Mask.ONLINE].bits[0]])


def test_a_cpu_that_dies_is_waited_for() -> None:
    result = run_world(scenario("cpu-death"), Strike("death1"), 1)
    assert result.verdict == "failed"
    assert result.message.startswith("cpu-died: the process of cpu 1 died, and it is waited for; ")
    assert result.message.endswith("; injected: cpu-death (cpu 1)")
    assert "whose process died" in result.message or "its process died" in result.message


def test_a_cpu_that_dies_alone_is_waited_for_by_nobody() -> None:
    """Its own threads died with it: that is another failure, to the shrinker, too."""
    alone = Scenario("alone", (Task(0, (CallAll(),)),), cpus=2, faults=("cpu-death",))
    result = run_world(alone, Strike("death0"), 1)
    assert (result.verdict, result.message.partition(";")[0]) == (
        "failed", "cpu-died: the process of cpu 0 died, and what it had to do was not done")


class DiesComingUp(Onward):
    """CPU 3 comes up as soon as it can, and dies where it becomes online, with call_function.lock."""

    def choose(self, enabled: Sequence[Event]) -> Event:
        able = {actor_name(event.actor, 4): event for event in enabled}
        if "3" in able and "death3" in able and NAMES[able["3"].site] == "set_cpu_online":
            return able["death3"]
        return max((event for event in enabled if event.actor <= coordinator(4)), key=lambda event: event.actor)


def test_a_cpu_that_dies_with_a_lock_is_found_by_who_wants_it() -> None:
    coming = Scenario("coming", (Task(0, (CallAll(),), times=20),), cpus=4, maxcpus=3, profile="v3.4",
                      hotplug=("online 3",), faults=("cpu-death",))
    result = run_world(coming, DiesComingUp(), 1)
    assert result.message == ("owner-died: call_function.lock is held by cpu 3, whose process died; injected: "
                              "cpu-death (cpu 3)")


def test_a_machine_that_stands_is_not_helped_on_by_a_fault() -> None:
    """The second could strike only where nobody else can move."""
    result = run_world(scenario("ipi-lost", "cpu-death"), Strike("lost1.single"), 1)
    assert result.verdict == "deadlock" and "death" not in " ".join(names(result))


def test_no_fault_strikes_twice_and_strategies_have_them_at_all_steps() -> None:
    strategies = [(Struck(Onward(), 120, coordinator(2) + 1), seed) for seed in range(24)]
    results = [names(result) for result in run_worlds(scenario("cpu-death"), strategies, 2)]
    at = [[step for step, name in enumerate(each) if name.startswith("death")] for each in results]
    assert max(map(len, at)) == 1, "so often at most"
    struck = [each[0] for each in at if each]
    assert len(struck) > 8 and max(struck) > 40, "not only in the first steps"


def test_a_schedule_with_a_fault_is_a_file_that_comes_back_and_becomes_smaller(tmp_path: Path) -> None:
    (tmp_path / "faulty.py").write_text(
        "from cpuemu.kernel.uapi import Call, CallAll\nfrom cpuemu.scenarios.base import Scenario, Task\n"
        'SCENARIO = Scenario("faulty", (Task(0, (Call(1), CallAll())), Task(1, (CallAll(),))), profile="v3.4")\n')
    run = cpuemu(tmp_path, "explore", "faulty.py", "--fault", "ipi-lost:3", "--strategy", "random", "--schedules", "60",
                 "--until-failure", "--save", "kept", "--json")
    assert run.returncode == 1, run.stderr
    file = json.loads(run.stdout)["files"][0]
    again = cpuemu(tmp_path, "replay", file, "--times", "2")
    assert (again.returncode, again.stdout.splitlines()[-1]) == (0, "verdict: the same 2 times of 2"), again.stderr
    assert "injected: ipi-lost (" in again.stdout


@pytest.mark.slow
def test_the_shrinker_leaves_out_the_faults_that_do_not_matter() -> None:
    lossy = scenario("ipi-lost", "ipi-doubled 3")
    result = run_world(lossy, Mixed(), 1)
    assert [name for name in names(result) if name.startswith("again")] and result.verdict == "deadlock"
    small = Shrinking(failure_of(lossy, "mixed", 1, result), 150, jobs=2).run()
    assert not [line for line in small.schedule if line.startswith("again")]
    assert len([line for line in small.schedule if line.startswith("lost")]) == 1


class Mixed(Strike):
    """Doubles what it can, then loses an interrupt."""

    def __init__(self) -> None:
        super().__init__("again")

    def choose(self, enabled: Sequence[Event]) -> Event:
        self.fault = "lost" if self.steps > 45 else "again"
        return super().choose(enabled)


@pytest.mark.parametrize(("fault", "sentence"), [
    ("ipi-late", "when an interrupt is delivered is a decision of every schedule"),
    ("luck", "unknown to schedules; they know ipi-lost, ipi-doubled"),
    ("cpu-death 0", "unknown to schedules"),
    ("cpu-death many", "unknown to schedules"),
])
def test_what_is_no_fault_of_a_schedule(fault: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        scenario(fault)


def test_the_command_says_so_in_one_line(tmp_path: Path) -> None:
    run = cpuemu(tmp_path, "explore", "zoo:13b", "--fault", "starved-cpu")
    assert (run.returncode, run.stdout) == (2, "") and len(run.stderr.splitlines()) == 1, run.stderr
    assert all(fault in run.stderr for fault in DECIDED)
