"""``cpuemu launch``: the options, their checks, one run, its verdict."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import click

from cpuemu.errors import UserError
from cpuemu.layout import NR_CPUS

EXAMPLES = """
\b
Examples:
  cpuemu launch --cpus 8
  cpuemu launch --workload replay:trace.txt.xz --zoneinfo zoneinfo.txt --pace real
  cpuemu launch --workload storm --hotplug random:0.05 --preempt full --seconds 10 --seed 3
  cpuemu launch --cpus 64 --workload idle --hotplug 1,2,3 --seconds 2 --json
\b
Exit codes: 0 ok; 1 the machine failed, showed a known defect of its release, or a CPU was killed; 2 wrong usage
or input; 70 a defect of cpuemu or of the host; 130 interrupted.
"""


def _option(*names: str, **kwargs: Any) -> Any:
    return click.option(*names, **kwargs)


@click.command(epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@_option("--cpus", type=int, metavar="N", help=f"Number of CPUs, 1 to {NR_CPUS}.  [8]")
@_option("--workload", metavar="NAME", help="replay (the recording that ships with cpuemu), replay:FILE (ftrace text, "
         "also .xz .gz .zst), storm[:OPERATIONS], idle, or FILE.py:CLASS.  [replay]")
@_option("--hotplug", metavar="PLAN", help="recorded, none, random[:SECONDS] or CPU numbers (1,3: one after the "
         "other).  [recorded for a recording, else none]")
@_option("--offline", type=click.Choice(["exit", "park"]), help="What becomes of an offline CPU's process.  [exit]")
@_option("--memory", metavar="SIZE", help="Memory: 512M, 2G.  Zones and sizes are then v3.2's own.  [the recording's, "
         "else 256M]")
@_option("--zoneinfo", metavar="FILE", help="Zones, watermarks and list sizes of a real machine's /proc/zoneinfo.")
@_option("--preempt", type=click.Choice(["none", "voluntary", "full"]), help="Preemption model.  [none]")
@_option("--profile", metavar="NAME", help="Kernel release to behave like: v3.2.  [v3.2]")
@_option("--policy", metavar="NAME", help="Another drain policy than the profile's: on-each-cpu.")
@_option("--seed", type=int, metavar="N", help="Seed of everything random.  [1]")
@_option("--seconds", type=float, metavar="S", help="Stop after so many seconds.")
@_option("--until-done", is_flag=True, default=None, help="Stop when all tasks have ended (default, but for idle).")
@_option("--tasks", type=int, metavar="N", help="Tasks of a storm.  [2 a CPU]")
@_option("--pace", metavar="PACE", help="Replay speed: max, real, or a multiple as 2x.  [max]")
@_option("--window", type=int, metavar="LINES", help="How far a replay stream may run ahead of the slowest.  [4096]")
@_option("--trace", type=click.Choice(["ring", "all"]), help="Keep the last events in rings, or all of them in "
         "files.  [ring]")
@_option("--run-dir", metavar="DIR", help="Where RAM, traces and verdict go; must be empty.  [cpuemu-runs/TIME]")
@_option("--checked", is_flag=True, default=None, help="Checked mode: leaves assert their locks.")
@_option("--json", is_flag=True, default=None, help="Print one JSON object on stdout and nothing else.")
@_option("--quiet", is_flag=True, default=None, help="Print the verdict only.")
@_option("--config", metavar="FILE.toml", help="Options from a file (names as here, without --); the command line wins.")
def launch(config: str | None, **given: Any) -> None:
    """Run a machine from power on to power off, audit every page, and give a verdict.

    CPUs are processes; the default replays a recording of a real 8-CPU kernel under memory pressure, with its CPU
    hotplug.  The run directory keeps the RAM, the traces and the verdict: see trace-dump.
    """
    options = {name: value for name, value in given.items() if value is not None}
    if config is not None:
        options = {**_from_file(Path(config), set(given)), **options}
    checked = _check(options)
    from cpuemu.cli.session import run_session

    click.get_current_context().exit(run_session(checked))


def _from_file(path: Path, known: set[str]) -> dict[str, Any]:
    try:
        content = tomllib.loads(path.read_text())
    except OSError as error:
        raise UserError(f"--config {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"--config {path}: not a TOML file: {error}") from None
    options = {name.replace("-", "_"): value for name, value in content.items()}
    unknown = sorted(set(options) - known)
    if unknown:
        raise UserError(f"--config {path}: unknown option {unknown[0]!r}; options are named as on the command line")
    command = {each.name: each for each in launch.params}
    for name, value in options.items():
        try:
            options[name] = command[name].type_cast_value(click.get_current_context(), value)
        except click.ClickException as error:
            raise UserError(f"--config {path}: {name}: {error.format_message()}") from None
    return options


def _check(options: dict[str, Any]) -> Any:
    """Options as a LaunchConfig.  Raises UserError with what is wrong and what would be right."""
    from cpuemu.coordinator.config import LaunchConfig

    options.pop("until_done", None)
    memory = options.pop("memory", None)
    config = LaunchConfig(**options)
    if not 1 <= config.cpus <= NR_CPUS:
        raise UserError(f"--cpus {config.cpus}: a machine has 1 to {NR_CPUS} CPUs")
    if memory is not None:
        config.memory_bytes = parse_size(str(memory))
    if config.seconds is not None and not 0 < config.seconds < 1e7:
        raise UserError(f"--seconds {config.seconds}: give a positive number of seconds")
    if config.tasks is not None and not 0 < config.tasks <= 4096:
        raise UserError(f"--tasks {config.tasks}: give 1 to 4096 tasks")
    if config.window is not None and config.window < 1:
        raise UserError(f"--window {config.window}: give at least one line")
    if not 0 <= config.seed < 1 << 64:
        raise UserError(f"--seed {config.seed}: give a number from 0 to 2^64-1")
    if config.memory_bytes and config.zoneinfo:
        raise UserError("--memory and --zoneinfo both say how much memory there is: give one of them")
    parse_pace(config.pace)
    return config


def parse_size(text: str) -> int:
    """Bytes of "512M"."""
    units = {"K": 10, "M": 20, "G": 30}
    number, unit = (text[:-1], text[-1].upper()) if text and text[-1].upper() in units else (text, "")
    if not number.isdigit() or not unit:
        raise UserError(f"--memory {text}: expected a size as 512M or 2G")
    return int(number) << units[unit]


def parse_pace(text: str) -> int:
    """Thousandths of the recorded speed; 0: as fast as it goes."""
    if text == "max":
        return 0
    if text == "real":
        return 1000
    try:
        factor = float(text.removesuffix("x"))
    except ValueError:
        factor = 0.0
    if not text.endswith("x") or not 0.001 <= factor <= 1000:
        raise UserError(f"--pace {text}: expected max, real, or a multiple as 2x or 0.5x")
    return round(factor * 1000)
