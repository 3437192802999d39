"""The verdict: a run judged from what stands in RAM and how it ended.  A value, never an exception."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgpack

from cpuemu.coordinator.config import LaunchConfig
from cpuemu.coordinator.oom_moments import OomMoments, moments_of
from cpuemu.coordinator.outcome import Outcome
from cpuemu.faults import FAULTS
from cpuemu.kernel import oracles
from cpuemu.kernel.oracles import Rule
from cpuemu.kernel.page_audit import audit
from cpuemu.layout import (
    HISTOGRAM_BUCKETS,
    HISTOGRAM_STEPS,
    NOBODY,
    NR_FINDINGS,
    Counter,
    CpuState,
    Latency,
    Machine,
    MachineState,
    Mask,
    Severity,
    name_in,
)

if TYPE_CHECKING:
    import mmap

OK, FAILED, KNOWN_DEFECT, CPU_DIED, HOST_ERROR, INTERRUPTED = (
    "ok", "failed", "known-defect", "cpu-died", "host-error", "interrupted")
EXIT_CODES = {OK: 0, FAILED: 1, KNOWN_DEFECT: 1, CPU_DIED: 1, HOST_ERROR: 70, INTERRUPTED: 130}

COUNTS = {
    "alloc": Counter.ALLOC, "free": Counter.FREE, "refill": Counter.REFILL, "drain": Counter.DRAIN,
    "ipi_sent": Counter.IPI_SENT, "ipi_taken": Counter.IPI_TAKEN, "ipi_coalesced": Counter.IPI_COALESCED,
    "drain_all": Counter.DRAIN_ALL, "stop_machine": Counter.STOP_MACHINE, "direct_reclaim": Counter.DIRECT_RECLAIM,
    "reclaimed": Counter.RECLAIMED, "oom": Counter.OOM, "task_migrations": Counter.TASK_MIGRATIONS,
    "alloc_failed": Counter.ALLOC_FAILED, "replay_free_skipped": Counter.REPLAY_FREE_SKIPPED,
    "replay_ipi_skipped": Counter.REPLAY_IPI_SKIPPED, "replay_oom": Counter.REPLAY_OOM,
    "ipi_stale": Counter.IPI_STALE, "ipi_lost_by_death": Counter.IPI_LOST_BY_DEATH, "switches": Counter.SWITCHES,
    "operations": Counter.OPERATIONS, "kswapd_wake": Counter.KSWAPD_WAKE,
    "kswapd_reclaimed": Counter.KSWAPD_RECLAIMED, "pages_scanned": Counter.PAGES_SCANNED,
    "compact_stall": Counter.COMPACT_STALL, "compact_fail": Counter.COMPACT_FAIL,
    "compact_success": Counter.COMPACT_SUCCESS, "compact_pages": Counter.COMPACT_PAGES,
    "compact_page_failed": Counter.COMPACT_PAGE_FAILED, "vmstat_refresh": Counter.VMSTAT_REFRESH,
    "drain_ipi": Counter.DRAIN_IPI, "offline": Counter.OFFLINE,
    "online": Counter.ONLINE, "hotplug_skipped": Counter.HOTPLUG_SKIPPED,
    "drain_found": Counter.DRAIN_FOUND, "drain_empty": Counter.DRAIN_EMPTY, "drain_avoidable": Counter.DRAIN_AVOIDABLE,
    "drain_overlap": Counter.DRAIN_OVERLAP, "alloc_high_order": Counter.ALLOC_HIGH_ORDER,
    "alloc_failed_high_order": Counter.ALLOC_FAILED_HIGH_ORDER, "oom_no_drain": Counter.OOM_NO_DRAIN,
    "stranded": Counter.STRANDED,
}
PAGES = ("managed", "buddy", "pcp", "allocated")
LATENCIES = {"ipi": Latency.IPI, "drain_all": Latency.DRAIN_ALL, "offline": Latency.OFFLINE, "online": Latency.ONLINE,
             "alloc": Latency.ALLOC, "alloc_slowpath": Latency.ALLOC_SLOWPATH}
NO_LATENCY = {"median": 0.0, "p99": 0.0, "max": 0.0, "n": 0}


@dataclass
class Finding:
    """An oracle's word, and what was known when it spoke.

    ``cpu``, ``task``, ``stack``: where it was found.  ``cpus``, ``tasks``: all who are concerned; ``stacks``: where the
    code of the other tasks stood; ``locks``: what they held; ``trace``: the last events of these CPUs as ftrace text.
    """

    rule: str
    message: str
    severity: str = "fatal"
    cpu: int | None = None
    task: str | None = None
    stack: str = ""
    seconds: float = 0.0
    known: str | None = None
    cpus: list[int] = field(default_factory=list)
    tasks: list[str] = field(default_factory=list)
    stacks: dict[str, str] = field(default_factory=dict)
    locks: list[str] = field(default_factory=list)
    trace: list[str] = field(default_factory=list)
    more: str = ""
    """The command that shows more; ``again``: the one that runs it again."""
    again: str = ""
    fault: str | None = None
    """The fault that explains it, injected on purpose."""


def said(rule: Rule, message: str, cpu: int | None = None) -> Finding:
    """A finding of the judge's own: what stands in RAM when the run is over."""
    return Finding(rule.name, message, rule.severity.name.lower(), cpu, cpus=[] if cpu is None else [cpu])


@dataclass
class Verdict:
    """What a run comes to."""

    verdict: str
    findings: list[Finding] = field(default_factory=list)
    cpus: int = 0
    profile: str = ""
    preempt: str = ""
    seed: int = 0
    seconds: float = 0.0
    boot_seconds: float = 0.0
    run_dir: str = ""
    pages: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PAGES, 0))
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTS, 0))
    latency_us: dict[str, dict[str, float]] = field(
        default_factory=lambda: {name: dict(NO_LATENCY) for name in LATENCIES})
    drains_at_once: int = 0
    """The most drains of all CPUs that were under way at one time."""
    oom: OomMoments = field(default_factory=OomMoments)
    skipped: dict[str, int] = field(default_factory=dict)
    who: str = ""
    fault: str = ""
    """Faults that explain findings of this run."""
    notes: list[str] = field(default_factory=list)
    again: str = ""

    @property
    def more(self) -> str:
        """The command that explains the run's end."""
        return f"trace-dump {shlex.quote(self.run_dir)} --why"

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.verdict]

    def plain(self) -> dict[str, Any]:
        return asdict(self)


def judge(machine: Machine, mapping: mmap.mmap, config: LaunchConfig, outcome: Outcome) -> Verdict:
    """Read findings, audit every page, sum counters and histograms, and decide the word."""
    findings = findings_of(machine)
    pages = audit(machine, mapping, _torn(machine, outcome))
    findings += [said(rule, sentence) for rule, sentence in pages.wrong]
    if machine.header.state == MachineState.OFF:
        findings += _left_behind(machine)
    if outcome.kind == "hung":
        findings.append(said(oracles.HUNG_MACHINE, outcome.detail))
    injected = faults_of(machine)
    for finding in findings:
        finding.fault = None if finding.known else _explained(finding.rule, injected)
        finding.again = config.command()
    result = Verdict(
        verdict=_word(outcome, findings), findings=findings, cpus=config.cpus, profile=config.profile,
        preempt=config.preempt, seed=config.seed, seconds=round(outcome.seconds, 6),
        boot_seconds=round(outcome.boot_seconds, 6), run_dir=config.run_dir or "", pages=pages.pages(),
        counts=_counts(machine), who=outcome.who,
        latency_us={name: histogram_summary(machine, kind) for name, kind in LATENCIES.items()},
        notes=[*_too_many(machine), *pages.notes], again=config.command(),
        drains_at_once=machine.drains.most, oom=moments_of(machine),
        fault=", ".join(sorted({each.fault for each in findings if each.fault})),
    )
    if outcome.detail and outcome.kind != "hung":
        result.notes.insert(0, outcome.detail)
    return result


def unjudged(config: LaunchConfig, kind: str, detail: str) -> Verdict:
    """The verdict on a run that gave nothing to judge: interrupted before power-on, or cpuemu itself failed."""
    return Verdict(verdict=kind, cpus=config.cpus, profile=config.profile, preempt=config.preempt, seed=config.seed,
                   run_dir=config.run_dir or "", notes=[detail], again=config.command())


def _torn(machine: Machine, outcome: Outcome) -> str | None:
    """Why pages may be missing: a machine that did not power off stopped in the middle of its work."""
    if machine.header.state == MachineState.OFF and outcome.kind in ("finished", "interrupted"):
        return None
    if outcome.kind.endswith("died") or outcome.kind in ("disk-full", "defect"):
        return outcome.detail
    return "the machine's stop in the middle of its work"


def _word(outcome: Outcome, findings: Sequence[Finding]) -> str:
    if outcome.kind == "cpu-died":
        return CPU_DIED
    if outcome.kind in ("coordinator-died", "zygote-died", "disk-full", "defect", "launcher-died"):
        return HOST_ERROR
    if any(each.severity == "host" for each in findings):
        return HOST_ERROR
    if any(each.known is None for each in findings) or (outcome.kind in ("failed", "hung") and not findings):
        return FAILED
    if outcome.kind == "interrupted":
        return INTERRUPTED
    return KNOWN_DEFECT if findings else OK


def findings_of(machine: Machine) -> list[Finding]:
    """The complete entries of the table."""
    number = machine.header.nr_findings
    found = []
    for entry in (machine.findings[index] for index in range(min(number, NR_FINDINGS))):
        if not entry.done:
            continue
        known = re.search(r" \(known: (\w+)\)$", entry.rule)
        task = entry.task
        found.append(Finding(
            rule=entry.rule[: known.start()] if known else entry.rule, message=entry.message,
            severity=name_in(Severity, entry.severity).lower(),
            cpu=None if entry.cpu == NOBODY else entry.cpu,
            task=machine.tasks[task].comm if task < machine.dims.tasks else None, stack=entry.stack,
            seconds=max(0, entry.time_ns - machine.header.boot_ns) / 1e9, known=known[1] if known else None,
            cpus=[each for each in range(machine.dims.cpus) if entry.cpus[each // 64] >> each % 64 & 1],
            tasks=[machine.tasks[each].comm for each in entry.tasks if each < machine.dims.tasks],
            stacks=dict(line.split(": ", 1) for line in entry.stacks.splitlines() if ": " in line),
            locks=entry.locks.splitlines(),
        ))
    return found


def _too_many(machine: Machine) -> list[str]:
    more = machine.header.nr_findings - NR_FINDINGS
    return [f"{more} more findings did not fit into the table"] if more > 0 else []


def _left_behind(machine: Machine) -> list[Finding]:
    """What a machine at rest must not have, besides pages: calls or works queued on a CPU that is offline."""
    found = []
    for cpu in machine.cpus:
        if machine.cpumasks[Mask.ONLINE].bits[cpu.index // 64] >> cpu.index % 64 & 1 or cpu.state == CpuState.ABSENT:
            continue
        if machine.single_queues[cpu.index].head != NOBODY:
            found.append(said(
                oracles.CALLS_ON_DEAD_CPU, f"calls are queued on cpu {cpu.index}, which is offline", cpu=cpu.index))
        if machine.stoppers[cpu.index].head != NOBODY:
            found.append(said(
                oracles.WORKS_ON_DEAD_CPU, f"works are queued on cpu {cpu.index}, which is offline", cpu=cpu.index))
    return found


def _counts(machine: Machine) -> dict[str, int]:
    counts = {name: sum(cpu.counters[number] for cpu in machine.cpus) for name, number in COUNTS.items()}
    return counts | {f"fault_{name.replace('-', '_')}": number for name, number in faults_of(machine).items()}


def faults_of(machine: Machine) -> dict[str, int]:
    """Faults that were asked for, and how often each was injected."""
    return {each.name: sum(cpu.faults[each.fault] for cpu in machine.cpus) for each in FAULTS
            if machine.faults[each.fault].rate}


def _explained(rule: str, injected: Mapping[str, int]) -> str | None:
    """The faults of this run that such a finding comes of; None where it is none of them: then it is the machine's."""
    return ", ".join(each.name for each in FAULTS if injected.get(each.name) and rule in each.fits) or None


def bucket_ns(index: int) -> int:
    """The lower bound of a bucket (cpuemu.core.bucket is its inverse): 16 steps an octave."""
    octave, step = divmod(index, HISTOGRAM_STEPS)
    return index if octave == 0 else (HISTOGRAM_STEPS + step) << (octave - 1)


def histogram_summary(machine: Machine, kind: Latency) -> dict[str, float]:
    """Median, p99 and max in microseconds of all CPUs' histograms of one kind."""
    total, largest = 0, 0
    buckets = [0] * HISTOGRAM_BUCKETS
    for cpu in range(machine.dims.cpus):
        histogram = machine.histogram(cpu, kind)
        if not histogram.n:
            continue
        total += histogram.n
        largest = max(largest, histogram.max_ns)
        for index, count in enumerate(histogram.buckets):
            buckets[index] += count
    return {"median": _quantile(buckets, total, 0.5, largest), "p99": _quantile(buckets, total, 0.99, largest),
            "max": round(largest / 1000, 3), "n": total}


def _quantile(buckets: Sequence[int], total: int, share: float, largest: int) -> float:
    """The middle of the bucket in which the quantile lies."""
    seen = 0
    for index, count in enumerate(buckets):
        seen += count
        if count and seen >= share * total:
            return round(min(largest, (bucket_ns(index) + bucket_ns(index + 1)) / 2) / 1000, 3)
    return 0.0


def save(run_dir: Path, verdict: Verdict) -> None:
    """Keep it in the run directory: whole, or (OSError, on a full disk) not at all."""
    path = run_dir / "verdict.msgpack"
    try:
        path.write_bytes(msgpack.packb(verdict.plain()))
    except OSError:
        path.unlink(missing_ok=True)
        raise
