"""``cpuemu launch``: the options, one run, its verdict."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from cpuemu import patches
from cpuemu.cli.faults import usage
from cpuemu.coordinator.thresholds import TUNABLE
from cpuemu.faults import BY_NAME
from cpuemu.layout import NR_CPUS

EXAMPLES = """
\b
Examples:
  cpuemu launch --cpus 8
  cpuemu launch --workload replay:trace.txt.xz --zoneinfo zoneinfo.txt --pace real
  cpuemu launch --workload storm --hotplug random:0.05 --preempt full --seconds 10 --seed 3
  cpuemu launch --workload my_file.py:MyWorkload --memory 512M --offline park
  cpuemu launch --cpus 64 --workload idle --hotplug 1,2,3 --seconds 2 --json
  cpuemu launch --workload pressure --memory 64M --fault ipi-lost:0.001
  cpuemu launch --config my_machine.toml --seed 4       (in the file: cpus = 16, workload = "storm", …)

\b
Exit codes:
  0    the verdict is ok
  1    the emulated machine failed, or showed a known defect of its release, or one of its CPUs was killed
  2    wrong usage or input
  70   a defect of cpuemu, its coordinator or zygote was killed, or the disk filled up
  130  interrupted
"""

option = click.option


def completes(*names: str) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """What a shell offers for an option that takes more than names."""
    return lambda context, parameter, begun: [name for name in names if name.startswith(begun)]


@click.command(epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@option("--cpus", type=int, metavar="N", help=f"Number of CPUs, 1 to {NR_CPUS}.  [8]")
@option("--workload", metavar="NAME", shell_complete=completes("replay", "storm", "pressure", "idle"),
        help="replay (the recording that ships with cpuemu), replay:FILE (ftrace text, "
        "also .xz .gz .zst), storm[:OPERATIONS], pressure[:OPERATIONS] (memory near its min watermark), idle, or "
        "FILE.py:CLASS.  [replay]")
@option("--hotplug", metavar="PLAN", shell_complete=completes("recorded", "none", "random"),
        help="recorded, none, random[:SECONDS], or CPU numbers (1,3: one after the "
        "other, again and again).  [recorded for a recording, else none]")
@option("--offline", type=click.Choice(["exit", "park"]), help="What an offline CPU's process does.  [exit]")
@option("--memory", metavar="SIZE", help="Memory: 512M, 2G.  Zones, watermarks and list sizes are then v3.2's own.  "
        "[the recording's, else 256M]")
@option("--zoneinfo", type=click.Path(), metavar="FILE",
        help="Zones, watermarks and list sizes from a real machine's /proc/zoneinfo.")
@option("--preempt", type=click.Choice(["none", "voluntary", "full"]), help="Preemption model.  [none]")
@option("--profile", metavar="NAME", shell_complete=completes("v3.2", "gorman-2012", "v3.4"),
        help="Kernel to behave like: v3.2, gorman-2012 or v3.4.  [v3.2]")
@option("--policy", metavar="NAME", shell_complete=completes(
        "on-each-cpu", "local-only", "cpus-with-pages", "drain-with-hotplug-lock"),
        help="Another drain policy than the profile's: on-each-cpu, "
        "local-only, cpus-with-pages, drain-with-hotplug-lock, or FILE.py:CLASS.")
@option("--patch", type=click.Path(), metavar="FILE", help="A unified diff against cpuemu/kernel or cpuemu/policies: "
        "the kernel that runs is the patched one.")
@option("--seed", type=int, metavar="N", help="Seed of everything random.  [1]")
@option("--seconds", type=float, metavar="S", help="Stop after so many seconds; a storm then goes on until they are "
        "over.  [5 for idle]")
@option("--until-done", is_flag=True, default=None, help="Stop when all tasks have ended: the default; with --seconds, "
        "whichever comes first.")
@option("--tasks", type=int, metavar="N", help="Tasks of a storm in all, of pressure for each busy CPU.  "
        "[2 a CPU; 4 a CPU]")
@option("--reclaim-cost", type=int, metavar="MICROSECONDS", help="What scanning 32 pages of the page cache costs a "
        "CPU.  [0]")
@option("--reclaim-success", type=float, metavar="SHARE", help="Of the pages scanned, how many reclaim gets; the "
        "rest goes back to the list.  [1]")
@option("--no-migration", is_flag=True, default=None, help="Tasks of a storm or of pressure stay on their CPU.")
@option("--busy-cpus", type=int, metavar="N", help="Tasks of a storm or of pressure begin on all CPUs and soon gather "
        "on the first N: the others idle, with what is left on their page lists.")
@option("--pace", metavar="PACE", help="Speed of a replay: max, real, or a multiple as 2x.  [max]")
@option("--window", type=int, metavar="LINES", help="How far a CPU's replay may run ahead of the slowest.  [4096]")
@option("--fault", multiple=True, metavar="NAME[:ARGUMENT]", shell_complete=completes(*BY_NAME),
        help="Inject a fault while the workload runs (may be "
        f"repeated): {usage()}.  See docs/faults.md.")
@option("--watchdog", multiple=True, metavar="NAME=SECONDS",
        shell_complete=completes(*(f"{each}=" for each in TUNABLE)),
        help=f"From when on something is too late (may be repeated): {', '.join(TUNABLE)}; NAME=off: never.  What the "
        "host takes does not count.  A cycle of waits is told within a second, whatever stands here.")
@option("--trace", type=click.Choice(["ring", "all"]), help="Keep the last events in rings, or all of them in files.  "
        "[ring]")
@option("--run-dir", type=click.Path(), metavar="DIR",
        help="Where RAM, traces and verdict go; must be empty.  [cpuemu-runs/TIME-PID]")
@option("--checked", is_flag=True, default=None, help="Checked mode: every write is held against the "
        "declaration of its word, compiled leaves assert that their locks are held.  Slower.")
@option("--json", is_flag=True, default=None, help="Print one JSON object on stdout and nothing else.")
@option("--quiet", is_flag=True, default=None, help="Print the verdict only.")
@option("--config", type=click.Path(), metavar="FILE.toml",
        help="Options from a file, named as here without --; the command line wins.")
def launch(config: str | None, **given: Any) -> None:
    """Run a machine from power on to power off, audit every page, and give a verdict.

    CPUs are processes; the default replays a recording of a real 8-CPU kernel under memory pressure, with its CPU
    hotplug.  Ctrl-C stops the machine in order.  The run directory keeps its RAM, its traces and the verdict:
    trace-dump reads them.
    """
    from cpuemu.cli.options import checked, from_file

    options = {name: value for name, value in given.items() if value is not None and value != ()}
    if config is not None:
        options = {**from_file(Path(config), launch.params), **options}
    checked_options = checked(options)
    if checked_options.patch:  # before the kernel is imported, as the next line does
        patches.apply(patches.read(Path(checked_options.patch)), f"--patch {checked_options.patch}")
    from cpuemu.cli.session import run_session

    click.get_current_context().exit(run_session(checked_options))
