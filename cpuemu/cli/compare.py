"""``cpuemu compare``: drain policies on the same seeds."""

from __future__ import annotations

import csv
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from cpuemu.cli.options import checked
from cpuemu.cli.statistics import differences, estimate
from cpuemu.coordinator.config import LaunchConfig
from cpuemu.coordinator.verdict import Verdict
from cpuemu.errors import UserError

EXAMPLES = """
\b
Examples:
  cpuemu compare --policy on-each-cpu --policy local-only --policy cpus-with-pages --seeds 10
  cpuemu compare --policy on-each-cpu --policy my_patch.py:MyDrain --hotplug random:0.05 --json
"""

METRICS: Mapping[str, Callable[[Verdict], float]] = {
    "drains": lambda v: v.counts["drain_all"],
    "ipis_per_drain": lambda v: v.counts["drain_ipi"] / max(1, v.counts["drain_all"]),
    "drain_latency_us": lambda v: v.latency_us["drain_all"]["median"],
    "ipis": lambda v: v.counts["ipi_sent"],
    "direct_reclaim": lambda v: v.counts["direct_reclaim"],
    "oom_kills": lambda v: v.counts["oom"],
    "failed_allocations": lambda v: v.counts["alloc_failed"],
    "allocations_per_second": lambda v: v.counts["alloc"] / max(v.seconds, 1e-9),
    "pages_on_pcp_lists": lambda v: v.pages["pcp"],
}
"""Of one run each: what is compared."""

Values = dict[str, dict[str, list[float]]]
"""Policy, metric, one value a seed."""


@click.command(epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--policy", "policies", multiple=True, required=True, metavar="NAME", help="A drain policy, as launch "
              "takes it; give two or more.")
@click.option("--seeds", type=click.IntRange(1, 1000), default=5, show_default=True, metavar="N",
              help="Runs of each policy, with seeds 1 to N.")
@click.option("--cpus", type=int, default=8, show_default=True, metavar="N", help="Number of CPUs.")
@click.option("--workload", default="pressure", show_default=True, metavar="NAME", help="As launch takes it.")
@click.option("--memory", default="256M", show_default=True, metavar="SIZE", help="As launch takes it.")
@click.option("--hotplug", default="none", show_default=True, metavar="PLAN", help="As launch takes it.")
@click.option("--preempt", type=click.Choice(["none", "voluntary", "full"]), default="none", show_default=True,
              help="Preemption model.")
@click.option("--profile", default="v3.2", show_default=True, metavar="NAME", help="What all have in common.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout and nothing else.")
@click.option("--csv", "csv_file", type=click.Path(path_type=Path), metavar="FILE", help="Write every run's values.")
def compare(policies: tuple[str, ...], seeds: int, as_json: bool, csv_file: Path | None, **common: Any) -> None:
    """Run each drain policy on the same seeds and compare what came out.

    Runs are free-running: a seed fixes what the tasks ask for, not how the CPUs meet.  Means are given with a 95 %
    bootstrap interval, and as paired differences to the first policy.
    """
    if len(set(policies)) < 2:
        raise UserError("--policy: give two different policies to compare")
    values: Values = {policy: {metric: [] for metric in METRICS} for policy in policies}
    for seed in range(1, seeds + 1):
        for policy in values:
            verdict = _run(checked({**common, "policy": policy, "seed": seed, "quiet": True}))
            for metric, of in METRICS.items():
                values[policy][metric].append(of(verdict))
            if not as_json:
                click.echo(f"seed {seed} {policy}: {verdict.verdict}, {verdict.counts['drain_all']} drains", err=True)
    if csv_file is not None:
        _write_csv(csv_file, values)
    if as_json:
        json.dump({"seeds": seeds, **common, "policies": summary(values)}, sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        _print(values)


def _run(config: LaunchConfig) -> Verdict:
    """One machine in a directory of its own, which stays only if the machine failed."""
    from cpuemu.cli.session import verdict_of

    directory = Path(tempfile.mkdtemp(prefix="cpuemu-compare-"))
    config.run_dir = str(directory)
    keep = False
    try:
        verdict = verdict_of(config)
        keep = verdict.verdict not in ("ok", "known-defect")
    finally:
        if not keep:
            shutil.rmtree(directory, ignore_errors=True)
    if keep:
        raise UserError(f"seed {config.seed} of {config.policy} ended {verdict.verdict}: a comparison needs machines "
                        f"that live; see trace-dump {directory} --state")
    return verdict


def summary(values: Values) -> dict[str, dict[str, Any]]:
    """Mean and interval of every metric, and of its difference to the first policy."""
    base = next(iter(values.values()))
    return {policy: {metric: {**estimate(row).plain(), "difference": differences(row, base[metric]).plain()}
                     for metric, row in rows.items()}
            for policy, rows in values.items()}


def _print(values: Values) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("mean (95 % interval)", no_wrap=True)
    for policy in values:
        table.add_column(policy, justify="right", no_wrap=True)
    for metric in METRICS:
        cells = []
        for rows in values.values():
            each = estimate(rows[metric])
            cells.append(f"{_short(each.mean)} ({_short(each.low)}–{_short(each.high)})")
        table.add_row(metric, *cells)
    # Into a file or a pipe: as wide as the table is.
    width = None if sys.stdout.isatty() else 40 * (len(values) + 1)
    Console(file=sys.stdout, highlight=False, width=width).print(table)


def _short(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.2f}".rstrip("0").rstrip(".")


def _write_csv(path: Path, values: Values) -> None:
    try:
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["policy", "seed", *METRICS])
            for policy, rows in values.items():
                writer.writerows([policy, seed, *row] for seed, row in enumerate(_by_seed(rows), 1))
    except OSError as error:
        raise UserError(f"--csv {path}: cannot be written ({error.strerror}); name another file") from None


def _by_seed(rows: Mapping[str, Sequence[float]]) -> list[tuple[float, ...]]:
    return list(zip(*(rows[metric] for metric in METRICS), strict=True))
