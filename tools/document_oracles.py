"""Writes docs/oracles.md from the rules and their mutants: python -m tools.document_oracles."""

from __future__ import annotations

import shlex
from pathlib import Path

from cpuemu.kernel.oracles import RULES, Rule
from tests.mutants import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "oracles.md"

INTRODUCTION = """\
# What is always checked

Written by `python -m tools.document_oracles` from `cpuemu/kernel/oracles.py`, the one declaration of all rules, and
`tests/mutants`, the defects that break them. No rule can be switched off. A broken one is a finding; with `warn` the
machine goes on, as Linux does after a warning; with `fatal` the trace freezes and the machine stops; `host` is a defect
of cpuemu itself. No finding is made for a machine that behaves.

A finding names its rule, the CPUs and tasks concerned, where their code stands, the locks that they hold, their last
trace events, and the command that runs the machine again. They are printed at the end, and stand in `--json` and in
`verdict.msgpack` of the run directory.
"""

MUTANTS_SECTION = """\
## Rules and mutants

A mutant is a deliberate defect of the emulated kernel. A rule that none breaks would not be here. A test runs
each of them with the real command and real processes, and compares what fires with this table. "May also" are rules
that are broken along with it, some of them not in every run. To see one:

    python -m tests.mutants MUTANT

| mutant | what is wrong | fires | may also | verdict | with |
|---|---|---|---|---|---|"""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _topic(topic: str) -> list[str]:
    lines = [f"## {topic[0].upper()}{topic[1:]}", "",
             "| rule | severity | what is wrong when it fires | Linux says | mutants |", "|---|---|---|---|---|"]
    lines += [_rule(rule) for rule in RULES.values() if rule.topic == topic]
    return [*lines, ""]


def _rule(rule: Rule) -> str:
    mutants = ", ".join(f"`{each.name}`" for each in MUTANTS.values() if each.rule is rule)
    return (f"| `{rule.name}` | {rule.severity.name.lower()} | {_cell(rule.says)} | {_cell(rule.linux) or '(ours)'} | "
            f"{mutants} |")


def _mutant(each: Mutant) -> str:
    options = shlex.join(option.replace(f"{ROOT}/", "") for option in each.options)
    also = ", ".join(f"`{rule.name}`" for rule in each.also)
    return f"| `{each.name}` | {_cell(each.says)} | `{each.rule.name}` | {also} | {each.verdict} | `{options}` |"


def page() -> str:
    """The whole page."""
    lines = [INTRODUCTION]
    for topic in dict.fromkeys(rule.topic for rule in RULES.values()):
        lines += _topic(topic)
    order = list(RULES)
    lines += [MUTANTS_SECTION, *map(_mutant, sorted(MUTANTS.values(), key=lambda each: order.index(each.rule.name)))]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
