"""Writes docs/faults.md from the declaration in cpuemu/faults.py: python -m tools.document_faults."""

from __future__ import annotations

from pathlib import Path

from cpuemu.faults import CERTAIN, DECIDED, FAULTS, NOTIFIERS, Argument, FaultType

PAGE = Path(__file__).resolve().parent.parent / "docs" / "faults.md"

INTRODUCTION = """\
# Faults on purpose

Written by `python -m tools.document_faults` from `cpuemu/faults.py`.

`cpuemu launch --fault NAME[:ARGUMENT]` injects a fault, any number of different ones in one run. Nothing is injected
before the workload runs: a machine always boots. Whether an occasion is one is drawn from a random stream of each CPU
that follows from `--seed`; on a free-running machine the occasions themselves come in another order every time.

    cpuemu launch --workload pressure --memory 64M --fault ipi-lost:0.001
    cpuemu launch --workload pressure --memory 64M --hotplug random --fault alloc-failure --fault failing-notifier

Every injected fault is a `cpuemu_fault` event in the trace of its CPU, and counted: `fault_NAME` among the `counts` of
`--json`, `injected` in the summary. A finding that comes of one names it in its `fault`, and the verdict has it in
its own `fault`, so that nobody takes it for a defect of the machine; a finding that none of the injected faults
explains has none, and is the machine's. The verdict of such a run is `failed` and the exit code 1, as of any machine
that failed.

The faults of a process, `kill -9` of any of them and a full disk, need no option: the run ends with a verdict that
names who died and where, and everything recorded stays readable.

## As decisions of a schedule

`cpuemu explore --fault NAME[:TIMES]`, or `faults=("ipi-lost", "cpu-death 2")` of a scenario, leaves it to the schedule
when a fault strikes, so often at most; it is a step like any other: recorded, replayed, and left out by the shrinker
where it does not matter.

    cpuemu explore my_scenario.py --fault ipi-lost --fault cpu-death:2

@DECIDED@

A message ends with what was injected. An interrupt that is late, or overtaken by others, needs no fault: when each is
delivered is a decision of every schedule. While nobody can move, no fault strikes: a machine that stands still is not
helped on. Strategies that draw have their faults spread over the schedule and choose among the others as without them;
exhaustive searches and strategies of the user's own see them as actors, `lost1.call`, `again1.call`, `death1`, `nomem1`
and `notifier1`.

## By chance: the table

| `--fault` | what it does | what the run ends with | why |
|---|---|---|---|
"""

DECIDED_AT = {
    "ipi-lost": ("an interrupt that is pending", "it is never delivered, and later ones coalesce with it",
                 "`deadlock`, with the silent pair; `ok` where another one wakes the CPU"),
    "ipi-doubled": ("an interrupt that was taken, where its CPU takes interrupts", "its frame comes again",
                    "`ok`: it is dropped"),
    "cpu-death": ("a CPU, wherever it stands", "its process is killed",
                  "`owner-died` where it is waited for with a lock, else `cpu-died`; `ok` where nobody waits"),
    "alloc-failure": ("a CPU before an allocation", "the allocation fails", "`ok`"),
    "failing-notifier": ("a CPU before a hotplug notifier that may fail", "it returns -ENOMEM",
                         "`ok`: the operation is rolled back"),
}
HEAD = "| `--fault` | can strike at | and then | a schedule ends with |\n|---|---|---|---|\n"

DEFAULTS = {
    Argument.RATE: "RATE: the share of the occasions, above 0 and up to 1, default {default:g}",
    Argument.MICROSECONDS: "MICROSECONDS: up to {most:,.0f}, default {default:,.0f}",
    Argument.SECONDS: "SECONDS: up to {most:g}, default {default:g}",
    Argument.CPU: "N: the CPU",
    Argument.NOTIFIER: f"NAME: {' or '.join(NOTIFIERS)}, default both",
}


def _row(kind: FaultType) -> str:
    usage = f"`{kind.name}:{kind.argument.value}`" if kind.default is None else f"`{kind.name}[:{kind.argument.value}]`"
    argument = DEFAULTS[kind.argument].format(default=kind.default, most=kind.most)
    return f"| {usage}<br>{argument} | {kind.does} | {kind.ends} | {kind.why} |"


def page() -> str:
    """The whole page."""
    assert CERTAIN == 1_000_000
    decided = HEAD + "\n".join(f"| `{name}` | {' | '.join(DECIDED_AT[name])} |" for name in DECIDED)
    return INTRODUCTION.replace("@DECIDED@", decided) + "\n".join(map(_row, FAULTS)) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
