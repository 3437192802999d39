"""Each injected fault ends with the finding that fits, and only that; all of it is traced, counted and named."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cpuemu.arch.faults import Faults, injected
from cpuemu.cli.faults import planned, write_plan
from cpuemu.coordinator.config import LaunchConfig
from cpuemu.coordinator.outcome import Outcome
from cpuemu.coordinator.verdict import judge
from cpuemu.core import Ram
from cpuemu.events import Event
from cpuemu.faults import BY_NAME, FAULTS, Fault
from cpuemu.kernel.lockup import test_lockup as lock_up
from cpuemu.layout import Counter, MachineState, Severity
from cpuemu.report.image import open_image
from cpuemu.report.records import Record, records
from cpuemu.report.state import state_text
from tests.handmade import Handmade, machine
from tests.launched import Launched, wait_for

pytestmark = pytest.mark.timeout(90)

# v3.4 drains by a copy of the mask: v3.2's empty one (13b) would be one more finding.
PRESSURE = ("--cpus", "4", "--workload", "pressure", "--memory", "64M", "--profile", "v3.4", "--policy", "on-each-cpu",
            "--trace", "all")
HOTPLUG = ("--hotplug", "random:0.05")


@dataclass
class Injected:
    """A run with faults, at its end."""

    code: int
    said: dict[str, Any]
    struck: list[Record]
    state: str

    @property
    def finding(self) -> dict[str, Any]:
        """The one finding that is not the release's own."""
        found = [each for each in self.said["findings"] if not each["known"]]
        assert len(found) == 1, self.said
        return dict(found[0])


@pytest.fixture
def inject(launch: Callable[..., Launched]) -> Callable[..., Injected]:
    def run(fault: str, *options: str, strikes: int = 0, module: str = "cpuemu") -> Injected:
        """Until a finding ends it, or in order (by SIGTERM) when it has struck so often."""
        number = BY_NAME[fault.partition(":")[0]].fault
        launched = launch(*PRESSURE, *options, "--seconds", "60", "--fault", fault, module=module)
        if strikes:
            stop_after(launched.running(), {number: strikes}, "--hotplug" in options)
        code, said = launched.end(60)
        image = open_image(launched.run_dir)
        struck = [each for each in records(image) if each.event == Event.CPUEMU_FAULT]
        assert struck and {each.args[0] for each in struck} == {number}
        name = f"fault_{BY_NAME[fault.partition(':')[0]].name.replace('-', '_')}"
        assert said["counts"][name] == len(struck)
        assert f"--fault {fault}" in said["again"]
        return Injected(code, said, struck, "\n".join(state_text(image)))

    return run


def stop_after(run: Launched, strikes: dict[Fault, int], hotplug: bool = True) -> None:
    """Let a machine run until each fault has struck so often, and CPUs have gone and come; stop it in order."""
    machine = run.image.machine
    want = (Counter.OFFLINE, Counter.ONLINE) if hotplug else ()
    wait_for(lambda: all(sum(cpu.faults[fault] for cpu in machine.cpus) >= number for fault, number in strikes.items())
             and all(sum(cpu.counters[each] for cpu in machine.cpus) for each in want), 40, f"{strikes} strikes")
    run.process.terminate()


def failed_by(run: Injected, fault: str) -> None:
    """The verdict names the fault, for the finding and for the run."""
    assert (run.code, run.said["verdict"], run.said["fault"], run.finding["fault"]) == (1, "failed", fault, fault)
    assert run.finding["rule"] in BY_NAME[fault].fits
    assert run.finding["more"] == f"trace-dump {run.said['run_dir']} --why"
    assert run.finding["again"] == run.said["again"]
    assert f"faults injected: {len(run.struck)} {fault}\n" in run.state


def ok(run: Injected) -> None:
    """Stopped in order: ok, if it had ended by itself."""
    assert (run.code, run.said["verdict"]) == (130, "interrupted"), run.said
    assert all(each["known"] for each in run.said["findings"]), run.said
    assert run.said["fault"] == ""


def test_ipi_lost(inject: Callable[..., Injected]) -> None:
    run = inject("ipi-lost:0.05")
    failed_by(run, "ipi-lost")
    pair = re.search(r"the pair cpu (\d) -> cpu (\d) is silent", run.finding["message"])
    assert pair and (int(pair[1]), int(pair[2])) in {(each.cpu, each.args[1]) for each in run.struck}


def test_ipi_late(inject: Callable[..., Injected]) -> None:
    run = inject("ipi-late:50000", strikes=10)
    ok(run)
    assert run.said["counts"]["ipi_taken"] == run.said["counts"]["ipi_sent"]
    assert run.said["latency_us"]["ipi"]["max"] >= max(each.args[3] for each in run.struck) > 1000


def test_ipi_doubled(inject: Callable[..., Injected]) -> None:
    run = inject("ipi-doubled:0.5", strikes=50)
    ok(run)
    counts = run.said["counts"]
    assert counts["ipi_taken"] == counts["ipi_sent"]
    assert 0 < counts["ipi_stale"] <= len(run.struck), "only the copies are dropped"


def test_deaf_cpu(inject: Callable[..., Injected]) -> None:
    run = inject("deaf-cpu:2")
    failed_by(run, "deaf-cpu")
    assert "to cpu 2: " in run.finding["message"]
    assert [each.cpu for each in run.struck] == [2]


def test_early_online(inject: Callable[..., Injected]) -> None:
    run = inject("early-online", "--hotplug", "2", "--watchdog", "csd=2")
    failed_by(run, "early-online")
    assert run.finding["rule"] == "csd-lock-wait"
    assert re.match(r"csd: Detected non-responsive CSD lock \(#1\) on CPU#\d, waiting 2\d{9} ns for CPU#02 \w+\(0x",
                    run.finding["message"]), "the kernel's words, and the limit that was set"
    assert "--watchdog csd=2" in run.said["again"]
    assert "cpu 2 has not taken" in run.finding["message"] and "interrupts off" in run.finding["message"]


def test_early_online_for_a_moment(inject: Callable[..., Injected]) -> None:
    run = inject("early-online:0.2", "--hotplug", "2", strikes=1)
    ok(run)
    assert run.said["latency_us"]["online"]["max"] > 200_000


@pytest.mark.parametrize("name", ["CPU_UP_PREPARE", "CPU_DOWN_PREPARE"])
def test_failing_notifier(inject: Callable[..., Injected], name: str) -> None:
    run = inject(f"failing-notifier:{name}", "--workload", "idle", "--hotplug", "random:0.01", strikes=3)
    ok(run)
    counts = run.said["counts"]
    assert counts["hotplug_skipped"] == len(run.struck)
    assert counts["offline"] and counts["online"]


def test_alloc_failure(inject: Callable[..., Injected]) -> None:
    run = inject("alloc-failure:0.05", *HOTPLUG, strikes=300)
    ok(run)
    counts = run.said["counts"]
    assert counts["alloc_failed"] >= len(run.struck)
    share = len(run.struck) / (counts["alloc"] + counts["alloc_failed"])
    assert 0.03 < share < 0.07, "every allocation is an occasion"


def test_starved_cpu(inject: Callable[..., Injected]) -> None:
    run = inject("starved-cpu:0.3", *HOTPLUG, strikes=12)
    ok(run)
    assert all(1000 <= each.args[3] <= 300_000 for each in run.struck)
    stopped = [int(each[1]) for each in re.finditer(r"RUNNING .* (\d+)\+\d+  ", run.state)]
    assert sum(stopped) > 100, "host time, and nobody's fault"


def test_killed_holder(inject: Callable[..., Injected]) -> None:
    run = inject("killed-holder:0.05")
    assert (run.code, run.said["verdict"]) == (1, "cpu-died")
    cpu = run.struck[-1].cpu
    assert run.said["who"] == f"cpu {cpu}" and f"zone->lock/DMA32: held by cpu {cpu} gen 1" in run.state
    assert "killed by SIGKILL" in run.said["notes"][0] and "holding zone->lock/" in run.said["notes"][0]
    assert all(each["rule"] == "owner-died" and each["fault"] == "killed-holder" for each in run.said["findings"])


def test_lockup(inject: Callable[..., Injected]) -> None:
    run = inject("lockup", "--hotplug", "3", "--watchdog", "stop-machine=2")
    failed_by(run, "lockup")
    assert run.finding["rule"] == "stop-machine-stuck"
    assert len(run.struck) == 1, "of tasks that come there at once, one is it"
    cpu = run.struck[0].cpu
    assert cpu and f"migration/{cpu} is runnable on cpu {cpu} but task " in run.state


def test_lockup_where_the_kernel_preempts(inject: Callable[..., Injected]) -> None:
    run = inject("lockup:2", "--hotplug", "3", "--preempt", "full", "--watchdog", "stop-machine=2", strikes=1)
    ok(run)
    assert run.said["latency_us"]["offline"]["max"] < 2_000_000


def test_several_at_once(launch: Callable[..., Launched]) -> None:
    asked = ("ipi-late:2000", "ipi-doubled", "alloc-failure", "failing-notifier", "starved-cpu:0.05")
    run = launch(*PRESSURE, *HOTPLUG, "--seconds", "60", *(word for each in asked for word in ("--fault", each)))
    stop_after(run.running(), {BY_NAME[each.partition(":")[0]].fault: 1 for each in asked})
    code, said = run.end(60)
    assert (code, said["verdict"], said["fault"]) == (130, "interrupted", ""), said
    assert all(each["known"] for each in said["findings"]), said


# --- without a machine -------------------------------------------------------------------------------------


class _NoTrace:
    def trace(self, *numbers: int) -> None:
        """What is injected is counted in RAM."""


def faults(made: Handmade, cpu: int) -> Faults:
    return Faults(made.machine, _NoTrace(), cpu)  # type: ignore[arg-type]


def test_the_seed_decides_what_strikes() -> None:
    """The same seed the same strikes, CPU by CPU another stream, about as often as asked for, none before go."""
    def strikes(seed: int, cpu: int) -> list[bool]:
        made = machine()
        write_plan(made.machine, planned(["ipi-lost:0.25"], 4), seed)
        mine = faults(made, cpu)
        assert not any(mine.strike(Fault.IPI_LOST) for _ in range(100)), "the workload does not run"
        made.machine.header.go = 1
        struck = [mine.strike(Fault.IPI_LOST) for _ in range(4000)]
        assert made.machine.cpus[cpu].faults[Fault.IPI_LOST] == sum(struck)
        return struck

    assert strikes(1, 0) == strikes(1, 0)
    assert strikes(1, 0) != strikes(1, 1) and strikes(1, 0) != strikes(2, 0)
    assert 800 < sum(strikes(1, 0)) < 1200


def test_of_two_cpus_that_lock_up_at_once_one_does() -> None:
    """The second one comes when the first has looked, and not yet begun."""
    made = machine()
    write_plan(made.machine, planned(["lockup:60"], 4), 1)
    made.machine.header.go = made.machine.hotplug.busy = 1
    core = Ram(made.memory)

    def meet(number: int, meanwhile: Callable[[], None] = lambda: None) -> None:
        def claim(address: int, old: int, new: int) -> bool:
            meanwhile()
            return core.cmpxchg(address, old, new)

        times = iter((0, 1 << 62))
        lock_up(SimpleNamespace(  # type: ignore[arg-type]
            number=number, machine=made.machine, faults=faults(made, number), now=lambda: next(times),
            ram=SimpleNamespace(cmpxchg=claim)))

    meet(1, meanwhile=lambda: meet(2))
    assert [cpu.faults[Fault.LOCKUP] for cpu in made.machine.cpus] == [0, 0, 1, 0]


def test_a_machine_that_nothing_is_done_to() -> None:
    assert injected(machine().machine, _NoTrace(), 1) is None  # type: ignore[arg-type]


def test_a_finding_that_no_fault_explains_is_the_machines() -> None:
    made = machine()
    write_plan(made.machine, planned(["ipi-lost", "ipi-late"], 4), 1)
    made.machine.cpus[1].faults[Fault.IPI_LOST] = 1
    for number, rule in enumerate(("csd-lock-wait", "soft-lockup", "ipi-lost (known: 4)")):
        finding = made.machine.findings[number]
        finding.severity, finding.rule, finding.done = Severity.FATAL, rule, 1
    made.machine.header.nr_findings, made.machine.header.state = 3, MachineState.FAILED
    said = judge(made.machine, made.memory, LaunchConfig(), Outcome("failed", "machine"))
    assert [each.fault for each in said.findings] == ["ipi-lost", None, None]
    assert said.fault == "ipi-lost"
    assert (said.counts["fault_ipi_lost"], said.counts["fault_ipi_late"]) == (1, 0)
    assert "fault_deaf_cpu" not in said.counts


def test_every_fault_has_a_test() -> None:
    text = Path(__file__).read_text()
    assert all(f'inject("{each.name}' in text or f'inject(f"{each.name}' in text for each in FAULTS)
