"""The verdict's word and exit code for every way a run can end; the numbers it takes from RAM."""

from __future__ import annotations

import pytest

from cpuemu.coordinator.config import LaunchConfig
from cpuemu.coordinator.outcome import Outcome
from cpuemu.coordinator.verdict import Verdict, bucket_ns, judge, unjudged
from cpuemu.core import Ram, bucket
from cpuemu.kernel.findings import write_finding
from cpuemu.kernel.oracles import Rule
from cpuemu.layout import NR_FINDINGS, Counter, Latency, MachineState, Severity
from tests.handmade import Handmade
from tests.handmade import machine as handmade


def verdict(made: Handmade, kind: str = "finished", detail: str = "") -> Verdict:
    config = LaunchConfig(cpus=made.machine.dims.cpus)
    return judge(made.machine, made.memory, config, Outcome(kind, "somebody", detail))


@pytest.fixture
def made() -> Handmade:
    machine = handmade()
    machine.machine.header.state = MachineState.OFF
    return machine


def find(made: Handmade, severity: Severity, known: str = "") -> None:
    rule = Rule("some-rule", "tests", severity, "nothing")
    write_finding(Ram(made.memory), made.machine, rule, "a sentence", cpu=1, known=known)


@pytest.mark.parametrize(("kind", "word", "code"), [
    ("finished", "ok", 0), ("interrupted", "interrupted", 130), ("cpu-died", "cpu-died", 1),
    ("zygote-died", "host-error", 70), ("coordinator-died", "host-error", 70), ("disk-full", "host-error", 70),
    ("defect", "host-error", 70), ("failed", "failed", 1), ("hung", "failed", 1),
])
def test_how_it_ended(made: Handmade, kind: str, word: str, code: int) -> None:
    said = verdict(made, kind, "the reason")
    assert (said.verdict, said.exit_code) == (word, code)
    assert bool(said.findings) == (kind == "hung")
    assert "the reason" in said.notes or kind == "hung"


def test_a_warning_is_not_ok(made: Handmade) -> None:
    find(made, Severity.WARN)
    said = verdict(made)
    assert (said.verdict, said.exit_code) == ("failed", 1)
    finding, = said.findings
    assert (finding.rule, finding.message, finding.severity, finding.cpu) == ("some-rule", "a sentence", "warn", 1)


def test_known_defects_alone(made: Handmade) -> None:
    find(made, Severity.WARN, known="13b")
    said = verdict(made)
    assert (said.verdict, said.exit_code, said.findings[0].known, said.findings[0].rule) == (
        "known-defect", 1, "13b", "some-rule")
    find(made, Severity.WARN)
    assert verdict(made).verdict == "failed"


def test_a_known_defect_that_stopped_the_machine(made: Handmade) -> None:
    find(made, Severity.FATAL, known="13b")
    assert verdict(made, "failed").verdict == "known-defect"


def test_an_interrupted_machine_with_a_finding_failed(made: Handmade) -> None:
    find(made, Severity.WARN)
    assert verdict(made, "interrupted").verdict == "failed"


def test_more_findings_than_the_table_holds(made: Handmade) -> None:
    for _ in range(NR_FINDINGS + 3):
        find(made, Severity.WARN)
    said = verdict(made)
    assert len(said.findings) == NR_FINDINGS
    assert said.notes[0].startswith("3 more findings")


def test_a_defect_of_the_emulator_is_not_the_machines(made: Handmade) -> None:
    find(made, Severity.HOST)
    assert (verdict(made, "failed").verdict, verdict(made, "failed").exit_code) == ("host-error", 70)


def test_a_lost_page_is_a_finding_unless_a_death_tore_it(made: Handmade) -> None:
    made.machine.zones[0].free_pages += 1
    assert verdict(made).verdict == "failed"
    torn = verdict(made, "cpu-died", "cpu 1 died at zone_lock")
    assert (torn.verdict, torn.findings) == ("cpu-died", [])
    assert any("torn by cpu 1 died at zone_lock" in note for note in torn.notes)


def test_numbers_come_from_ram(made: Handmade) -> None:
    machine = made.machine
    machine.cpus[0].counters[Counter.ALLOC], machine.cpus[1].counters[Counter.ALLOC] = 5, 7
    for cpu, took in ((0, 1000), (1, 3000), (1, 1_000_000)):
        histogram = machine.histogram(cpu, Latency.OFFLINE)
        histogram.n += 1
        histogram.max_ns = max(histogram.max_ns, took)
        histogram.buckets[bucket(took)] += 1
    said = verdict(made)
    assert said.counts["alloc"] == 12
    row = said.latency_us["offline"]
    assert row["n"] == 3
    assert row["median"] == pytest.approx(3, rel=0.07)
    assert row["p99"] == pytest.approx(1000, rel=0.07)
    assert row["max"] == 1000
    assert said.latency_us["ipi"] == {"median": 0.0, "p99": 0.0, "max": 0.0, "n": 0}


@pytest.mark.parametrize("ns", [0, 1, 15, 16, 17, 31, 32, 1000, 123_456_789, 1 << 36])
def test_buckets(ns: int) -> None:
    assert bucket_ns(bucket(ns)) <= ns < bucket_ns(bucket(ns) + 1)


def test_nothing_to_judge() -> None:
    said = unjudged(LaunchConfig(seed=4), "interrupted", "too early")
    assert (said.exit_code, said.seed, said.notes, said.pages["managed"]) == (130, 4, ["too early"], 0)
