"""A schedule in one line of text: who moves for how many steps, what it is of, and what it must lead to.

``13b cpus=3 profile=v3.2 preempt=none points=0a1b2c3d4e5f: 0*20 irq1.call 1*19 2*4 -> empty-ipi-mask`` fits in a test
or behind a bug.  It holds no point's name: kernel code may change around it, as long as the same steps lead to the same
failure.  Where they no longer can be taken, ``points`` says whether the code is another one since.

Nothing of the kernel is imported here: a line is read before a patched kernel is.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any

from cpuemu.errors import UserError
from cpuemu.explore.actors import actor_name, actor_named
from cpuemu.explore.strategies.follow import Follow, Step
from cpuemu.scenarios.base import Scenario

if TYPE_CHECKING:
    from cpuemu.explore.failure import Failure
    from cpuemu.explore.strategies.base import Strategy
    from cpuemu.explore.worlds import Result

PARTS = ("cpus", "profile", "preempt", "memory", "policy", "maxcpus", "hotplug", "faults", "left_out", "skipped",
         "stepped", "oracles")
"""Of a scenario, what a line names; those after ``preempt`` only where the scenario has been changed."""
ALWAYS = 3
_RUN = re.compile(r"([a-z0-9.]+?)(?:\*([1-9]\d{0,6}))?")


@dataclass(frozen=True)
class Pinned:
    """``runs``: actor and steps; ``expects``: the rule, or the verdict where no rule was broken."""

    of: str
    parts: dict[str, str]
    points: str
    runs: tuple[tuple[str, int], ...]
    expects: str

    @property
    def line(self) -> str:
        words = [self.of, *(f"{key}={value}" for key, value in self.parts.items()), f"points={self.points}:"]
        words += [name if count == 1 else f"{name}*{count}" for name, count in self.runs]
        return " ".join([*words, "->", self.expects])

    def scenario(self, base: Scenario) -> Scenario:
        """As the line wants it.  Raises UserError on another one."""
        if _word(base.name) != self.of:
            raise UserError(f"the pinned line is of scenario {self.of}, and {_word(base.name)} is given")
        return replace(base, **{key: _value(key, value, getattr(base, key)) for key, value in self.parts.items()})

    def steps(self, cpus: int) -> Generator[Step]:
        """Raises UserError on an actor that such a machine does not have."""
        for name, count in self.runs:
            actor = actor_named(name, cpus)
            if actor is None:
                raise UserError(f"the pinned line lets {name!r} move, and nobody is called so on {cpus} CPUs")
            for _ in range(count):
                yield Step(actor)

    def follow(self, cpus: int, go_on: Strategy | None = None) -> Follow:
        """The strategy that takes these steps."""
        return Follow(list(self.steps(cpus)), partial(actor_name, cpus=cpus), go_on)

    def run(self, base: Scenario, go_on: Strategy | None = None) -> Result:
        """The schedule on a scenario.  Raises UserError where it cannot be followed.

        Context: the kernel is the scenario's (cpuemu.scenarios.load.boot_kernel).
        """
        from cpuemu.explore.worlds import run_worlds

        scenario = self.scenario(base)
        try:
            return next(run_worlds(scenario, [(self.follow(scenario.cpus, go_on), 0)], 1))
        except UserError as error:
            raise UserError(f"pinned line of {self.of}: {error}{self.stale()}") from None

    def stale(self) -> str:
        """Half a sentence on why it may not fit, empty where nothing is known."""
        from cpuemu.explore.failure import placement

        here = placement()
        return "" if here == self.points else (f"; it was pinned to other kernel code (points {self.points}, here "
                                               f"{here}): explore again, and pin what is found")

    def met(self, result: Result) -> bool:
        """Whether it led where it must."""
        return result.bad and _expected(result.verdict, result.message) == self.expects


def pin(failure: Failure) -> Pinned:
    """The line of a failure."""
    from cpuemu.scenarios.load import load_scenario

    scenario = failure.scenario
    base = load_scenario(scenario.source)
    parts = {key: _text(getattr(scenario, key)) for at, key in enumerate(PARTS)
             if at < ALWAYS or getattr(scenario, key) != getattr(base, key)}
    actors = (line.partition(" ")[0] for line in failure.schedule)
    return Pinned(_word(scenario.name), parts, failure.placement, tuple(runs_of(actors)),
                  _expected(failure.verdict, failure.message))


def runs_of(names: Iterable[str]) -> Generator[tuple[str, int]]:
    """Steps of one actor in a row."""
    for name, steps in groupby(names):
        yield name, sum(1 for _ in steps)


def parse(line: str) -> Pinned:
    """Raises UserError that names the place."""
    head, colon, body = line.strip().partition(": ")
    body, arrow, expects = body.partition(" -> ")
    if not colon or not arrow or not expects.strip():
        raise UserError("not a pinned schedule: one is SCENARIO cpus=N … points=…: STEPS -> RULE, as cpuemu replay "
                        "--one-line prints it" + ("; this one seems to be cut short" if colon else ""))
    of, *pairs = head.split()
    parts = dict(pair.partition("=")[::2] for pair in pairs)
    points = parts.pop("points", "")
    unknown = [key for key in parts if key not in PARTS]
    if unknown or not points or not all(parts.get(key) for key in islice(PARTS, ALWAYS)):
        what = f"{unknown[0]!r} is nothing that it can say" if unknown else "it lacks cpus, profile, preempt or points"
        raise UserError(f"not a pinned schedule of this cpuemu: {what}")
    return Pinned(of, parts, points, tuple(_run(number, word) for number, word in enumerate(body.split(), 1)),
                  expects.strip())


def _run(number: int, word: str) -> tuple[str, int]:
    found = _RUN.fullmatch(word)
    if found is None:
        raise UserError(f"not a pinned schedule: word {number} of its steps is {word!r}; say ACTOR or ACTOR*STEPS")
    return found[1], int(found[2] or 1)


def _expected(verdict: str, message: str) -> str:
    return _word(re.split(r"[:( ]", message)[0]) if verdict == "failed" else verdict


def _word(text: str) -> str:
    return re.sub(r"[\s:=]+", "_", text)


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(str(each).replace(" ", "+") for each in value) or "-"
    return "-" if value is None else _word(str(value))


def _value(key: str, text: str, like: Any) -> Any:
    """Raises UserError."""
    try:
        if isinstance(like, tuple):
            each = text.split(",") if text != "-" else []
            return tuple(map(int, each)) if key == "left_out" else tuple(one.replace("+", " ") for one in each)
        if isinstance(like, bool):
            return text == "True"
        if isinstance(like, int):
            return int(text)
    except ValueError:
        raise UserError(f"not a pinned schedule: {key}={text}") from None
    return None if text == "-" else text
