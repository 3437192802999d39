"""``cpuemu compare``: drain policies on the same seeds."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from cpuemu.cli.compare_progress import CompareProgress
from cpuemu.cli.comparison import Comparison, Run, avoidable, claim, oom_pairs, run_of, summary
from cpuemu.cli.metrics import METRICS
from cpuemu.cli.options import checked
from cpuemu.coordinator.config import LaunchConfig
from cpuemu.coordinator.verdict import EXIT_CODES, INTERRUPTED, KNOWN_DEFECT, OK, Verdict
from cpuemu.errors import UserError
from cpuemu.profiles import policy_named

EXAMPLES = """
\b
Examples:
  cpuemu compare --policy on-each-cpu --policy local-only --policy cpus-with-pages --seeds 20
  cpuemu compare --policy on-each-cpu --policy local-only --busy-cpus 2 --no-migration --plot answers.svg
  cpuemu compare --policy on-each-cpu --policy my_patch.py:MyDrain --hotplug random:0.05 --json

\b
Exit codes:
  0    all runs ended, with known defects of the release or without
  1    a machine failed: the comparison ended there
  2    wrong usage or input
  70   a defect of cpuemu
  130  interrupted
"""


@click.command(epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--policy", "policies", multiple=True, required=True, metavar="NAME", help="A drain policy, as launch "
              "takes it; give two or more.  The first is what the others are compared with.")
@click.option("--seeds", type=click.IntRange(1, 1000), default=5, show_default=True, metavar="N",
              help="Runs of each policy, with seeds 1 to N.")
@click.option("--cpus", type=int, default=8, show_default=True, metavar="N", help="Number of CPUs.")
@click.option("--workload", default="pressure", show_default=True, metavar="NAME", help="As launch takes it.")
@click.option("--memory", default="256M", show_default=True, metavar="SIZE", help="As launch takes it.")
@click.option("--tasks", type=int, metavar="N", help="As launch takes it.")
@click.option("--no-migration", is_flag=True, help="Tasks of a storm or of pressure stay on their CPU.")
@click.option("--busy-cpus", type=int, metavar="N", help="Tasks of a storm or of pressure soon gather on the first N "
              "CPUs; the others idle, with what is left on their page lists.")
@click.option("--hotplug", default="none", show_default=True, metavar="PLAN", help="As launch takes it.")
@click.option("--preempt", type=click.Choice(["none", "voluntary", "full"]), default="none", show_default=True,
              help="Preemption model.")
@click.option("--profile", default="v3.2", show_default=True, metavar="NAME", help="What all have in common.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout and nothing else.")
@click.option("--csv", "csv_file", type=click.Path(path_type=Path), metavar="FILE", help="Write every run's values.")
@click.option("--plot", "plot_file", type=click.Path(path_type=Path), metavar="FILE.svg", help="Draw means and "
              "intervals.")
def compare(policies: tuple[str, ...], seeds: int, as_json: bool, csv_file: Path | None, plot_file: Path | None,
            **common: Any) -> None:
    """Run each drain policy on the same seeds and compare what came out.

    Runs are free-running: a seed fixes what the tasks ask for, not how the CPUs meet.  Means are given with a 95 %
    bootstrap interval over the seeds, and as paired differences to the first policy.  Ctrl-C ends the comparison and
    prints what the finished seeds give.
    """
    if len(set(policies)) < 2:
        raise UserError("--policy: give two different policies to compare")
    for policy in policies:
        policy_named(common["profile"], policy)
    for option, path in (("--csv", csv_file), ("--plot", plot_file)):
        if path is not None:
            _check_writable(option, path)
    runs: dict[str, list[Run]] = {policy: [] for policy in policies}
    stopped = run_all(runs, seeds, common, plain=not as_json)
    comparison = Comparison(runs).paired()
    if comparison.seeds:
        _write(comparison, csv_file, plot_file, common)
        _tell(comparison, as_json, common, stopped)
    if stopped is not None:
        click.echo(f"cpuemu: {stopped[1]}; {comparison.seeds} of {seeds} seeds are finished", err=True)
        click.get_current_context().exit(stopped[0])


# --- running -----------------------------------------------------------------------------------------------


def run_all(runs: dict[str, list[Run]], seeds: int, common: dict[str, Any], plain: bool) -> tuple[int, str] | None:
    """Every policy with every seed, into ``runs``; why it stopped before the end: an exit code and a sentence."""
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: nothing is left behind
    try:
        with CompareProgress(seeds * len(runs), plain) as progress:
            for seed, policy in _order(list(runs), seeds):
                progress.begins(f"seed {seed}, {policy}")
                verdict, directory = _run(checked({**common, "policy": policy, "seed": seed, "quiet": True}))
                if verdict.verdict == INTERRUPTED:
                    return EXIT_CODES[INTERRUPTED], "interrupted"
                if directory is not None:
                    return verdict.exit_code, (
                        f"seed {seed} of {policy} ended {verdict.verdict}, and a comparison needs machines that live: "
                        f"see trace-dump {directory} --state")
                runs[policy].append(run_of(verdict))
                progress.ended(f"seed {seed}, {policy}: {verdict.verdict}, {verdict.counts['drain_all']} drains, "
                               f"{verdict.counts['oom']} OOM kills")
    except KeyboardInterrupt:
        return EXIT_CODES[INTERRUPTED], "interrupted"
    finally:
        signal.signal(signal.SIGTERM, previous)
    return None


def _order(policies: list[str], seeds: int) -> Iterator[tuple[int, str]]:
    """Seed by seed; who comes first changes, so that what the host does at that time favours nobody."""
    for seed in range(1, seeds + 1):
        first = (seed - 1) % len(policies)
        for policy in policies[first:] + policies[:first]:
            yield seed, policy


def _run(config: LaunchConfig) -> tuple[Verdict, Path | None]:
    """One machine in a directory of its own, which stays only if the machine failed: then it is named."""
    from cpuemu.cli.session import verdict_of

    directory = Path(tempfile.mkdtemp(prefix="cpuemu-compare-"))
    config.run_dir = str(directory)
    keep = False
    try:
        verdict = verdict_of(config)
        keep = verdict.verdict not in (OK, KNOWN_DEFECT, INTERRUPTED)
    finally:
        if not keep:
            shutil.rmtree(directory, ignore_errors=True)
    return verdict, directory if keep else None


# --- telling -----------------------------------------------------------------------------------------------


def _tell(comparison: Comparison, as_json: bool, common: dict[str, Any], stopped: tuple[int, str] | None) -> None:
    if as_json:
        json.dump(plain(comparison, common, stopped is not None), sys.stdout, indent=2)
        sys.stdout.write("\n")
        return
    from cpuemu.cli.compare_tables import show

    show(comparison, title(common, comparison.seeds))


def plain(comparison: Comparison, common: dict[str, Any], partial: bool) -> dict[str, Any]:
    """What --json prints."""
    return {
        "seeds": comparison.seeds, **common, "partial": partial, "policies": summary(comparison),
        "claim": {policy: {**claim(runs).plain(), "kills": claim(runs, kills=True).plain(),
                           "moments_not_kept": sum(run.oom.not_kept for run in runs)}
                  for policy, runs in comparison.runs.items()},
        "avoidable_drains": {policy: avoidable(runs).plain() for policy, runs in comparison.runs.items()},
        "oom_beside_first": {policy: pairs.plain() for policy, pairs in oom_pairs(comparison)},
        "known_defects": {policy: {str(run.seed): list(run.known) for run in runs if run.known}
                          for policy, runs in comparison.runs.items()},
    }


def title(common: dict[str, Any], seeds: int) -> str:
    """``pressure on 8 CPUs, 256M, profile v3.2, 20 seeds``, and what else was asked for."""
    words = [f"{common['workload']} on {common['cpus']} CPUs", common["memory"], f"profile {common['profile']}"]
    words += [f"preempt {common['preempt']}"] * (common["preempt"] != "none")
    words += [f"{common['tasks']} tasks"] * (common["tasks"] is not None)
    words += ["no migration"] * common["no_migration"]
    words += [f"busy CPUs {common['busy_cpus']}"] * (common["busy_cpus"] is not None)
    words += [f"hotplug {common['hotplug']}"] * (common["hotplug"] != "none")
    return ", ".join([*words, f"{seeds} seed{'s' * (seeds != 1)}"])


def _write(comparison: Comparison, csv_file: Path | None, plot_file: Path | None, common: dict[str, Any]) -> None:
    if csv_file is not None:
        with _open(csv_file, "--csv") as file:
            writer = csv.writer(file)
            writer.writerow(["policy", "seed", *METRICS])
            for policy, runs in comparison.runs.items():
                writer.writerows([policy, run.seed, *run.values.values()] for run in runs)
    if plot_file is not None:
        from cpuemu.cli.plot import svg

        with _open(plot_file, "--plot") as file:
            file.write(svg(comparison, title(common, comparison.seeds)))


def _open(path: Path, option: str) -> Any:
    try:
        return path.open("w", newline="", encoding="utf-8")
    except OSError as error:
        raise UserError(_unwritable(option, path, error)) from None


def _check_writable(option: str, path: Path) -> None:
    """Raise UserError now, not after the last run; what was not there is not there afterwards."""
    existed = path.exists()
    try:
        path.open("a").close()
    except OSError as error:
        raise UserError(_unwritable(option, path, error)) from None
    if not existed:
        path.unlink()


def _unwritable(option: str, path: Path, error: OSError) -> str:
    return f"{option} {path}: cannot be written ({error.strerror}); name another file"
