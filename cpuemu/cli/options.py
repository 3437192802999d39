"""Options of a launch as a person writes them, on the command line or in a file, made into a LaunchConfig."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from cpuemu.cli.faults import planned
from cpuemu.coordinator.config import LaunchConfig
from cpuemu.coordinator.thresholds import thresholds
from cpuemu.errors import UserError
from cpuemu.layout import NR_CPUS

UNITS = {"K": 10, "M": 20, "G": 30}
MAX_TASKS = 4096


def from_file(path: Path, parameters: Sequence[click.Parameter]) -> dict[str, Any]:
    """The options that a TOML file gives, each of the type that the command line would give.  Raises UserError."""
    try:
        content = tomllib.loads(path.read_text())
    except OSError as error:
        raise UserError(f"--config {path}: cannot be read ({error.strerror}); name a TOML file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"--config {path}: not TOML ({error}); write options as in: cpus = 8") from None
    known = {parameter.name: parameter for parameter in parameters if parameter.name != "config"}
    options: dict[str, Any] = {}
    for key, value in content.items():
        name = key.replace("-", "_")
        if name not in known:
            raise UserError(f"--config {path}: unknown option {key!r}; options are named as on the command line")
        options[name] = _typed(f"--config {path}: {key} = {value!r}", known[name], value)
    return options


def _typed(where: str, parameter: click.Parameter, value: Any) -> Any:
    if isinstance(parameter, click.Option) and parameter.multiple:
        value = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value
        wanted, fits = "a list of texts", isinstance(value, tuple) and all(isinstance(each, str) for each in value)
    elif isinstance(parameter, click.Option) and parameter.is_flag:
        wanted, fits = "true or false", isinstance(value, bool)
    elif isinstance(parameter.type, click.types.IntParamType):
        wanted, fits = "a whole number", isinstance(value, int) and not isinstance(value, bool)
    elif isinstance(parameter.type, click.types.FloatParamType):
        wanted, fits = "a number", isinstance(value, int | float) and not isinstance(value, bool)
    elif isinstance(value, list):  # hotplug = [1, 3]
        wanted, fits = "a text in quotes", all(isinstance(each, int | str) for each in value)
        value = ",".join(map(str, value))
    else:
        wanted, fits = "a text in quotes", isinstance(value, str)
    if not fits:
        raise UserError(f"{where}: give {wanted}")
    if isinstance(parameter.type, click.Choice) and value not in parameter.type.choices:
        raise UserError(f"{where}: give one of {', '.join(parameter.type.choices)}")
    return value


def checked(options: Mapping[str, Any]) -> LaunchConfig:
    """Options as a LaunchConfig.  Raises UserError with what is wrong and what would be right."""
    given = dict(options)
    memory = given.pop("memory", None)
    config = LaunchConfig(**given)
    if not 1 <= config.cpus <= NR_CPUS:
        raise UserError(f"--cpus {config.cpus}: a machine has 1 to {NR_CPUS} CPUs")
    if memory is not None:
        config.memory_bytes = parse_size(memory)
    if config.seconds is not None and not 0 < config.seconds < 1e7:
        raise UserError(f"--seconds {config.seconds}: give a number of seconds above 0")
    if not 0 <= config.reclaim_cost <= 1_000_000:
        raise UserError(f"--reclaim-cost {config.reclaim_cost}: give 0 to 1000000 microseconds")
    if not 0 <= config.reclaim_success <= 1:
        raise UserError(f"--reclaim-success {config.reclaim_success}: give a share from 0 to 1")
    if config.tasks is not None and not 0 < config.tasks <= MAX_TASKS:
        raise UserError(f"--tasks {config.tasks}: give 1 to {MAX_TASKS} tasks")
    if config.window is not None and not 1 <= config.window < 1 << 31:
        raise UserError(f"--window {config.window}: give at least one line")
    if not 0 <= config.seed < 1 << 64:
        raise UserError(f"--seed {config.seed}: give a number from 0 to 2^64-1")
    if config.memory_bytes is not None and config.zoneinfo:
        raise UserError("--memory and --zoneinfo both say how much memory there is: give one of them")
    parse_pace(config.pace)
    planned(config.fault, config.cpus)
    thresholds(config.watchdog)
    return config


def parse_size(text: str) -> int:
    """Bytes of "512M"."""
    number, unit = text[:-1], text[-1:].upper()
    if unit not in UNITS or not number.isascii() or not number.isdigit() or not 0 < int(number) < 1 << 40:
        raise UserError(f"--memory {text}: not a size; write it as 512M or 2G")
    return int(number) << UNITS[unit]


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
        raise UserError(f"--pace {text}: not a speed; give max, real, or a multiple of the recorded one as 2x or 0.5x")
    return round(factor * 1000)
