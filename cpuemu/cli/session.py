"""One launch: the workload made, the machine powered on, run, judged and shown."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import click

from cpuemu import __version__
from cpuemu.cli.launch import parse_pace
from cpuemu.cli.progress import Display
from cpuemu.cli.summary import print_summary
from cpuemu.coordinator.config import LaunchConfig
from cpuemu.coordinator.coordinator import Orders
from cpuemu.coordinator.hotplug_plan import plan_for
from cpuemu.coordinator.launcher import run, save_configuration
from cpuemu.coordinator.power_on import check_file_limit, create_machine, run_directory
from cpuemu.coordinator.verdict import Verdict, judge, save
from cpuemu.core import Core, now
from cpuemu.errors import UserError
from cpuemu.kernel.mm_init import check_memory, free_area_init, hold_at_boot
from cpuemu.kernel.mmzone import ZoneSpec, zones_for
from cpuemu.layout import MAX_PAGES, Preempt
from cpuemu.profiles import POLICIES, PROFILES
from cpuemu.workloads.base import Request, Workload, load

DEFAULT_MEMORY = 256 << 20


def run_session(config: LaunchConfig) -> int:
    """The exit code of the launch.  Raises UserError before anything was started."""
    started = now() - _since_exec_ns()
    _check_names(config)
    check_file_limit(config.cpus)
    workload = load(config.workload, Request(config.cpus, config.tasks, config.operations, config.window))
    if not workload.tasks and config.seconds is None:
        config.seconds = 5.0
    if config.hotplug is None:
        config.hotplug = "recorded" if workload.hotplug else "none"
    zones = _zones(config, workload)
    check_memory(zones, config.cpus)
    run_dir = run_directory(config.run_dir)
    config.run_dir = str(run_dir)
    verdict = _run(config, workload, zones, run_dir, started)
    _show(config, verdict)
    return verdict.exit_code


def _check_names(config: LaunchConfig) -> None:
    if config.profile not in PROFILES:
        raise UserError(f"--profile {config.profile}: unknown; known are {', '.join(PROFILES)}")
    if config.policy is not None and config.policy not in POLICIES:
        raise UserError(f"--policy {config.policy}: unknown; known are {', '.join(POLICIES)}")


def _zones(config: LaunchConfig, workload: Workload) -> list[ZoneSpec]:
    if config.zoneinfo:
        from cpuemu.workloads.zoneinfo import read_zoneinfo

        zones = read_zoneinfo(Path(config.zoneinfo))
    elif config.memory_bytes:
        zones = zones_for(config.memory_bytes, config.cpus)
    else:
        zones = workload.zones or zones_for(DEFAULT_MEMORY, config.cpus)
    if not zones or zones[-1].end_pfn > MAX_PAGES:
        raise UserError(f"a machine has at most {MAX_PAGES >> 18} GiB of memory, and some")
    return zones


def _run(config: LaunchConfig, workload: Workload, zones: list[ZoneSpec], run_dir: Path, started: int) -> Verdict:
    image = create_machine(run_dir, workload.dimensions(config.cpus, zones))
    machine, header = image.machine, image.machine.header
    plan_for(config.hotplug or "none", machine, workload.hotplug, config.seed)  # says what is wrong before we start
    header.start_ns, header.seed = started, config.seed
    header.preempt_model, header.park = Preempt[config.preempt.upper()], config.offline == "park"
    header.trace_all, header.checked = config.trace == "all", config.checked
    header.pace_permille = parse_pace(config.pace)
    with memoryview(image.mapping) as view:
        workload.write(machine, view, config.seed)
    core = Core(image.ram, None, (0, 0), 0, 0)
    free_area_init(machine, image.mapping, core, zones, config.cpus, workload.held)
    missing = hold_at_boot(machine, core, zones, workload.held)
    if missing:
        raise UserError(f"--workload {config.workload}: page {missing[0][0]:#x} of the recording is not memory of this "
                        "machine; use the zoneinfo that was taken with it (--zoneinfo)")
    del core
    save_configuration(run_dir, {**config.plain(), "version": __version__, "workload_name": workload.name,
                                 "lines": workload.lines, "skipped": workload.skipped,
                                 "time": time.strftime("%Y-%m-%dT%H:%M:%S%z")})  # fmt: skip

    def orders(socket_dir: str) -> Orders:
        return Orders(str(run_dir), socket_dir, config.profile, config.policy, workload.python_path,
                      config.hotplug or "none", config.seed, config.seconds)  # fmt: skip

    with Display(config.quiet or config.json) as display:
        outcome = run(run_dir, image, orders, workload.hotplug, display.show)
    verdict = judge(machine, image.mapping, config, outcome)
    verdict.skipped = workload.skipped
    try:
        save(run_dir, verdict)
    except OSError as error:
        verdict.notes.append(f"the verdict could not be saved: {error.strerror}")
    return verdict


def _show(config: LaunchConfig, verdict: Verdict) -> None:
    if config.json:
        json.dump(verdict.plain(), sys.stdout, indent=2)
        sys.stdout.write("\n")
        sys.stdout.flush()
    elif config.quiet:
        click.echo(f"verdict: {verdict.verdict}")
    else:
        print_summary(verdict)


def _since_exec_ns() -> int:
    """How long this process has been running: boot time is measured from exec."""
    try:
        ticks = int(Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[19])
        uptime = float(Path("/proc/uptime").read_text().split()[0])
        return max(0, int((uptime - ticks / 100) * 1e9))
    except (OSError, ValueError):
        return 0
