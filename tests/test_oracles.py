"""Every oracle has a mutant that makes it fire: a deliberate defect, run by the real command in real processes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cpuemu.kernel.oracles import RULES
from tests.launched import ROOT
from tests.mutants import MUTANTS, Mutant

EXIT_CODES = {"failed": 1, "known-defect": 1, "cpu-died": 1, "host-error": 70}

QUICK = ("a_block_is_lost_before_an_offline", "a_page_linked_twice", "freed_twice", "a_page_stays_on_its_list",
         "called_on_its_way_out", "called_with_irqs_off", "filled_anew_while_queued", "nobody_adopts",
         "a_cpu_comes_meanwhile", "a_b_then_b_a", "taken_with_irqs_on", "killed_with_a_lock")
"""Of each kind some, in every run of the tests; all of them in the slow one."""

Run = Callable[[Mutant], tuple[int, dict[str, Any]]]


@pytest.fixture
def run(launch: Callable[..., Any], sockets: Path, tmp_path: Path) -> Run:
    """Run a mutant; its exit code and what it said (``launch`` looks after what it leaves behind)."""
    def run(mutant: Mutant) -> tuple[int, dict[str, Any]]:
        command = [sys.executable, "-m", "tests.mutants", mutant.name, "--json", "--run-dir", str(tmp_path / "run")]
        environment = {**os.environ, "TMPDIR": str(sockets), "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=100, check=False)
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)
    return run


def test_every_rule_has_a_mutant() -> None:
    assert {each.rule.name for each in MUTANTS.values()} == set(RULES)
    assert all(RULES[rule.name] is rule for each in MUTANTS.values() for rule in (each.rule, *each.also))


def fires(run: Run, mutant: Mutant) -> list[dict[str, Any]]:
    """The findings: of the mutant's rule, and of no other but those that the page names.

    Those with a zoo number are the release's own: storms of v3.2 show 13b now and then, mutant or not.
    """
    code, said = run(mutant)
    found = {finding["rule"] for finding in said["findings"]}
    strange = {finding["rule"] for finding in said["findings"] if not finding["known"]}
    also = {rule.name for rule in mutant.also}
    assert mutant.rule.name in found and strange <= {mutant.rule.name, *also}, said
    assert (said["verdict"], code) == (mutant.verdict, EXIT_CODES[mutant.verdict]), said
    return [finding for finding in said["findings"] if finding["rule"] == mutant.rule.name]


@pytest.mark.parametrize("name", QUICK)
def test_the_oracle_fires(name: str, run: Run) -> None:
    fires(run, MUTANTS[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in MUTANTS if name not in QUICK])
def test_the_other_oracles_fire(name: str, run: Run) -> None:
    fires(run, MUTANTS[name])


def test_a_finding_says_all_there_is_to_say(run: Run) -> None:
    finding = fires(run, MUTANTS["no_drain_of_the_dead"])[0]
    assert (finding["severity"], finding["cpu"], finding["task"], finding["tasks"]) == ("warn", 0, "cpuctl", ["cpuctl"])
    assert finding["cpus"] == [0]
    assert finding["stack"].startswith("cpu_dead:")
    assert [lock.split(":")[0] for lock in finding["locks"]] == ["cpu_add_remove_lock", "cpu_hotplug.lock"]
    assert len(finding["trace"]) == 8
    died = re.search(r"of cpu ([12]), which died", finding["message"])
    assert died, "the first of the two whose lists held pages"
    assert f"cpuhp_enter: cpu: 000{died[1]}" in finding["trace"][-1] and "CPU_DEAD" in finding["trace"][-1]
    assert finding["again"].startswith("cpuemu launch --cpus 4 --workload storm:20000")


def test_a_cycle_is_told_within_a_second(run: Run) -> None:
    """Of its beginning, which is when the last of those in it begins to wait.  A host that is busy is given another."""
    ages = []
    for _ in range(3):
        finding = fires(run, MUTANTS["a_and_b_and_b_and_a"])[0]
        cycle = finding["message"].split("; ")[1:]
        assert len(cycle) == 2 and len(finding["stacks"]) + 1 == len(finding["tasks"]) == 2, finding
        assert {lock.split(":")[0] for lock in finding["locks"]} == {"oom_lock", "kthread_create_lock"}
        ages.append(min(float(re.search(r" since (\d+\.\d) s: ", each)[1]) for each in cycle))  # type: ignore[index]
        if ages[-1] <= 1.0:
            return
    pytest.fail(f"told after {ages} s")
