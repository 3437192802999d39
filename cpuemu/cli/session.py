"""One launch: the workload made, the machine powered on, run, judged and shown."""

from __future__ import annotations

import signal
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from cpuemu import __version__
from cpuemu.arch.ram import RamFile
from cpuemu.cli.faults import planned, write_plan
from cpuemu.cli.options import parse_pace
from cpuemu.cli.progress import display
from cpuemu.coordinator.config import LaunchConfig
from cpuemu.coordinator.coordinator import Orders
from cpuemu.coordinator.hotplug_plan import plan_for
from cpuemu.coordinator.launcher import run
from cpuemu.coordinator.power_on import (
    RunDirectory,
    check_file_limit,
    create_machine,
    run_directory,
    save_configuration,
)
from cpuemu.coordinator.verdict import HOST_ERROR, INTERRUPTED, Verdict, judge, save, unjudged
from cpuemu.core import Core, now
from cpuemu.errors import UserError
from cpuemu.kernel.mm_init import check_memory, free_area_init, hold_at_boot
from cpuemu.kernel.mmzone import ZoneSpec, zones_for
from cpuemu.layout import MAX_PAGES, Preempt
from cpuemu.profiles import policy_named, profile_named
from cpuemu.workloads.base import Request, Workload
from cpuemu.workloads.load import load
from cpuemu.workloads.pressure import squeeze

TRACE_TAIL = 8
"""Trace events shown with a finding."""
MAX_TIME = 1 << 64
DEFAULT_MEMORY = 256 << 20
IDLE_SECONDS = 5.0
"""How long a workload without tasks runs when nobody says."""


@dataclass
class Prepared:
    """Everything that is known before anything is made."""

    config: LaunchConfig
    workload: Workload
    zones: list[ZoneSpec]
    started_ns: int


def run_session(config: LaunchConfig) -> int:
    """The exit code of the launch.  Raises UserError, with nothing left behind, before anything was started."""
    from cpuemu.cli.summary import show_verdict

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup
            signal.signal(number, signal.default_int_handler)  # as Ctrl-C: nothing is left behind
    verdict = verdict_of(config)
    show_verdict(config, verdict)
    return verdict.exit_code


def verdict_of(config: LaunchConfig) -> Verdict:
    try:
        return _power_on(_prepare(config))
    except UserError:
        raise
    except KeyboardInterrupt:
        return unjudged(config, INTERRUPTED, "interrupted before the machine was on")
    except Exception as error:
        traceback.print_exc()
        return unjudged(config, HOST_ERROR, f"a defect of cpuemu: {type(error).__name__}: {error}")


def _prepare(config: LaunchConfig) -> Prepared:
    """Read and check all that was asked for.  Raises UserError."""
    started = now() - _since_exec_ns()
    _check_names(config)
    check_file_limit(config.cpus)
    operations = 0 if config.seconds is not None and not config.until_done else None  # of a storm: until stopped
    workload = load(config.workload, Request(config.cpus, config.tasks, operations, config.window,
                                            config.no_migration, config.busy_cpus))
    if not workload.tasks and config.seconds is None:
        config.seconds = IDLE_SECONDS
    if config.hotplug == "recorded" and not workload.streams:
        raise UserError(f"--hotplug recorded: --workload {config.workload} is no recording; "
                        "give none, random[:SECONDS], or CPU numbers as in 1,3")
    config.hotplug = config.hotplug or ("recorded" if workload.hotplug else "none")
    zones = _zones(config, workload)
    if workload.working_set:
        zones = squeeze(zones, workload.working_set)
    check_memory(zones, config.cpus)
    workload.check(zones)
    return Prepared(config, workload, zones, started)


def _check_names(config: LaunchConfig) -> None:
    profile_named(config.profile)
    policy_named(config.profile, config.policy)


def _zones(config: LaunchConfig, workload: Workload) -> list[ZoneSpec]:
    if config.zoneinfo:
        from cpuemu.workloads.zoneinfo import read_zoneinfo

        zones = read_zoneinfo(Path(config.zoneinfo))
    elif config.memory_bytes:
        zones = zones_for(config.memory_bytes, config.cpus)
    else:
        zones = workload.zones or zones_for(DEFAULT_MEMORY, config.cpus)
    if not zones or zones[-1].end_pfn > MAX_PAGES:
        what = f"--zoneinfo {config.zoneinfo}" if config.zoneinfo else "--memory"
        raise UserError(f"{what}: a machine has at most {MAX_PAGES >> 18} GiB of memory, and some")
    return zones


def _power_on(prepared: Prepared) -> Verdict:
    """Make the machine, run it, judge it.  Where it cannot be made, nothing is left."""
    config = prepared.config
    workload = prepared.workload
    run_dir = run_directory(config.run_dir)
    config.run_dir = str(run_dir.path)

    def orders(socket_dir: str) -> Orders:
        return Orders(str(run_dir.place), socket_dir, config.profile, config.policy, workload.python_path,
                      config.hotplug or "none", config.seed, config.seconds, config)

    try:
        image = _machine(prepared, run_dir)
        with display(config, image.machine, workload.name) as shown:
            outcome = run(run_dir.place, image, orders, workload.hotplug, shown.show)
    except (UserError, KeyboardInterrupt):
        run_dir.discard()
        raise
    verdict = judge(image.machine, image.mapping, config, outcome)
    verdict.skipped = workload.skipped
    verdict.notes += [note for note in [run_dir.bring_home()] if note]
    verdict.run_dir = str(run_dir.place)
    for finding in verdict.findings:
        finding.more = verdict.more
    _add_traces(run_dir.place, verdict)
    try:
        save(run_dir.place, verdict)
    except OSError as error:
        verdict.notes.append(f"the verdict could not be saved: {error.strerror}")
    return verdict


def _add_traces(place: Path, verdict: Verdict) -> None:
    """To each finding the last events of its CPUs, as trace-dump prints them."""
    from cpuemu.report.image import open_image
    from cpuemu.report.records import last_records
    from cpuemu.report.text import lines

    if not verdict.findings:
        return
    image = open_image(place)
    power_on = image.machine.header.boot_ns
    for finding in verdict.findings:
        # Those of the judge's own, found when the run was over, have no moment: the last events of all.
        moment = power_on + round(finding.seconds * 1e9) if finding.seconds else MAX_TIME
        cpus = finding.cpus or range(verdict.cpus)
        finding.trace = [line.strip() for line in lines(last_records(image, cpus, moment, TRACE_TAIL), image)]


def _machine(prepared: Prepared, run_dir: RunDirectory) -> RamFile:
    """RAM as the first CPU finds it.  Raises UserError."""
    config, workload, zones = prepared.config, prepared.workload, prepared.zones
    image = create_machine(run_dir.place, workload.dimensions(config.cpus, zones))
    machine, header = image.machine, image.machine.header
    plan_for(config.hotplug or "none", machine, workload.hotplug, config.seed)  # says now what is wrong with it
    header.start_ns, header.seed = prepared.started_ns, config.seed
    header.private_ipi_mask = profile_named(config.profile).private_ipi_mask
    header.preempt_model, header.park = Preempt[config.preempt.upper()], config.offline == "park"
    header.trace_all, header.checked = config.trace == "all", config.checked
    header.pace_permille = parse_pace(config.pace)
    header.reclaim_cost_us = config.reclaim_cost
    header.reclaim_rotate = round((1 - config.reclaim_success) * 1_000_000)
    write_plan(machine, planned(config.fault, config.cpus), config.seed)
    with memoryview(image.mapping) as view:
        workload.write(machine, view, config.seed)
    core = Core(image.ram, None, (0, 0), 0, 0)
    free_area_init(machine, image.mapping, core, zones, config.cpus, workload.held)
    missing = hold_at_boot(machine, core, zones, workload.held)
    if missing:
        raise UserError(f"--workload {config.workload}: page {missing[0][0]:#x} of the recording is not memory of this "
                        "machine; use the zoneinfo that was taken with it (--zoneinfo)")
    save_configuration(run_dir.place, {
        **config.plain(), "version": __version__, "workload_name": workload.name, "lines": workload.lines,
        "skipped": workload.skipped, "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "python": sys.version.split()[0],
    })
    return image


def _since_exec_ns() -> int:
    """How long this process has been running: boot time is measured from exec."""
    try:
        ticks = int(Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[19])
        uptime = float(Path("/proc/uptime").read_text().split()[0])
        return max(0, int((uptime - ticks / 100) * 1e9))
    except (OSError, ValueError):
        return 0
