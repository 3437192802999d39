"""How a mutant is declared: a deliberate defect of the emulated kernel, and the rule that it breaks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from cpuemu.coordinator import thresholds
from cpuemu.kernel.oracles import Rule

HERE = Path(__file__).resolve().parent

STORM = ("--memory", "64M", "--workload", "storm:20000")
TIGHT = ("--memory", "16M", "--workload", "storm:3000", "--tasks", "12")
CALLS = ("--workload", f"{HERE}/programs.py:Calls")
ONE_CALLS = ("--workload", f"{HERE}/programs.py:OneCalls")
"""One task alone: no other takes the locks that it takes."""


@dataclass(frozen=True)
class Mutant:
    """``rule`` is always found; ``also``: rules that are broken along with it, some of them not in every run."""

    apply: Callable[[], None]
    rule: Rule
    options: tuple[str, ...]
    also: tuple[Rule, ...] = ()
    verdict: str = "failed"

    @property
    def name(self) -> str:
        return self.apply.__name__

    @property
    def says(self) -> str:
        return (self.apply.__doc__ or "").strip()

    def launch(self) -> list[str]:
        """The arguments of cpuemu."""
        cpus = () if "--cpus" in self.options else ("--cpus", "4")
        return ["launch", *cpus, *self.options]


MUTANTS: dict[str, Mutant] = {}


def mutant(rule: Rule, *options: str, also: tuple[Rule, ...] = (),
           verdict: str = "failed") -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Declare a function that makes the change in this process, before anything is forked from it."""
    def declare(apply: Callable[[], None]) -> Callable[[], None]:
        MUTANTS[apply.__name__] = Mutant(apply, rule, options, also, verdict)
        return apply
    return declare


def replace(where: Any, name: str, by: Any) -> None:
    setattr(where, name, by)


def wrap(where: Any, name: str) -> Callable[[Callable[..., Any]], None]:
    """``@wrap(module, "function")`` over ``def _(right, *arguments)``: called in its place."""
    def change(around: Callable[..., Any]) -> None:
        setattr(where, name, partial(around, getattr(where, name)))
    return change


def wrap_method(where: type, name: str) -> Callable[[Callable[..., Any]], None]:
    """As ``wrap``, for a method."""
    right = getattr(where, name)

    def change(around: Callable[..., Any]) -> None:
        setattr(where, name, lambda self, *arguments: around(right, self, *arguments))
    return change


def impatient(**seconds: Any) -> None:
    """The watchdog waits shorter than it does: its limits are for machines that are slow, not for tests."""
    replace(thresholds, "Thresholds", partial(thresholds.Thresholds, **seconds))
