"""``cpuemu play``: be the scheduler."""

from __future__ import annotations

import contextlib
import os
import shutil
import string
import sys
import termios
import tty
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from cpuemu.explore.failure import Failure
    from cpuemu.explore.play import Play
    from cpuemu.scenarios.base import Scenario

EXAMPLES = """
\b
Keys:
  0 1 2 …   this CPU moves, to its next point           a b d …  this interrupt is taken
  + KEY     … goes on until it cannot                   .        on to the end, as it goes by itself
  u         take the last choice back                   s        keep the failure as a file, and print it as one line
  c         compare with the smallest one found         q        leave

\b
Examples:
  cpuemu play my_file.py:MyWorkload --cpus 3
  cpuemu play zoo:13b --goal fail
  cpuemu play zoo:13b --against DIR/13b-1-small.json
  printf '+0 +2 . q' | cpuemu play my_file.py        (keys from a pipe: blanks count for nothing)

\b
Exit codes:
  0  the goal was reached, or there was none
  1  it was not
  2  wrong usage or input
"""
INTERRUPTS = [letter for letter in string.ascii_lowercase if letter not in "cqsu"]
CPUS = string.digits + string.ascii_uppercase
CLEAR = "\x1b[H\x1b[2J"
HELP = "CPU or letter: it moves   + KEY: it goes on   . to the end   u undo   c compare   s save   q quit"
LAST = 6
"""Steps that are shown again above the table."""
SEARCH, SHRINK = 200, 300
"""Schedules to find a failure to compare with, and to make it small."""


@click.command(epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("spec", metavar="SCENARIO")
@click.option("--cpus", type=click.IntRange(1, 16), metavar="N", help="Number of CPUs.  [as the scenario says, or 3]")
@click.option("--profile", metavar="NAME", help="Kernel to behave like.  [as the scenario says, or v3.2]")
@click.option("--preempt", type=click.Choice(["none", "voluntary", "full"]), help="Preemption model.")
@click.option("--patch", type=click.Path(path_type=Path), metavar="FILE", help="A unified diff against cpuemu/kernel "
              "or cpuemu/policies.")
@click.option("--goal", type=click.Choice(["fail", "hang"]), help="Make it fail, or make it hang: the exit code says "
              "whether you did.")
@click.option("--against", type=click.Path(path_type=Path), metavar="FILE", help="Compare with this failure, instead "
              "of looking for one.")
def play(spec: str, patch: Path | None, goal: str | None, against: Path | None, **machine: Any) -> None:
    """Choose by hand who moves: every CPU from point to point of the kernel code, every interrupt when you say so."""
    from cpuemu import patches
    from cpuemu.scenarios.load import boot_kernel, load_scenario

    scenario = load_scenario(spec, patch=patches.read(patch) if patch else None, **machine)
    boot_kernel(scenario)

    from cpuemu.explore.failure import read
    from cpuemu.explore.play import Play

    other = read(against) if against else None
    with _key_by_key(), Play(scenario) as game:
        table = _Table(game, goal, lambda: other or _search(scenario))
        table.run(_keys())
    click.get_current_context().exit(0 if table.reached or goal is None else 1)


@contextlib.contextmanager
def _key_by_key() -> Iterator[None]:
    """A terminal gives keys as they are typed, those typed ahead too, and shows none of them."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin, termios.TCSADRAIN)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _keys() -> Iterator[str]:
    """Key after key, from a terminal or a pipe."""
    while key := os.read(sys.stdin.fileno(), 1).decode(errors="replace"):
        if not key.isspace():
            yield key


class _Table:
    """The game: what is shown, and what each key does."""

    def __init__(self, game: Play, goal: str | None, other: Callable[[], Failure | None]) -> None:
        self.game, self.goal, self.other = game, goal, other
        self.terminal = sys.stdin.isatty() and sys.stdout.isatty()
        self.note = ""

    @property
    def reached(self) -> bool:
        verdict = self.game.result.verdict
        return self.game.over and (verdict != "ok" if self.goal == "fail" else verdict == "deadlock")

    def run(self, keys: Iterator[str]) -> None:
        self._show()
        for key in keys:
            self.note = ""
            if key in ("q", "\x04"):
                break
            self._press(key, keys)
            self._show()
        if not self.terminal:
            click.echo("\n".join(self._picture()))

    def _press(self, key: str, keys: Iterator[str]) -> None:
        before = len(self.game.moves)
        if key == "u":
            self.note = "" if self.game.undo() else "there is nothing to take back"
        elif key == "c":
            self.note = self._compared()
        elif key == "s":
            self.note = self._saved()
        elif self.game.over:
            self.note = "it is over: u takes the last choice back, q leaves"
        elif key == ".":
            self.game.onward()
        elif key == "+":
            self._move(next(keys, ""), self.game.go_on)
        else:
            self._move(key, self.game.move)
        if not self.terminal:
            for line in self._steps(before):
                click.echo(line)
            if self.note:
                click.echo(self.note)

    def _move(self, key: str, how: Callable[[int], None]) -> None:
        actor = self._movers().get(key)
        if actor is None:
            self.note = f"{key!r} is no key of somebody who can move"
        else:
            how(actor)

    def _movers(self) -> dict[str, int]:
        """Keys of those who can move."""
        view, letters = self.game.view, iter(INTERRUPTS)
        return {CPUS[actor] if actor < self.game.scenario.cpus else next(letters): actor for actor in view.actors}

    # --- what it says ------------------------------------------------------------------------------------------

    def _show(self) -> None:
        if self.terminal:
            width = shutil.get_terminal_size().columns
            click.echo(CLEAR + "\n".join(line[:width] for line in self._picture()))

    def _picture(self) -> Generator[str]:
        game = self.game
        scenario = game.scenario
        yield (f"{scenario.name}: {scenario.cpus} CPUs, profile {scenario.profile}, preempt {scenario.preempt}"
               + (f"; goal: make it {self.goal}" if self.goal else ""))
        yield (f"{len(game.moves)} steps, {game.preemptions()} preemptions; " + (
            "over" if game.over else f"left alone it ends after {len(game.path)} steps: {game.result.verdict}"))
        yield ""
        if self.terminal:
            yield from self._steps(max(0, len(game.moves) - LAST))
            yield ""
        yield from self._cpus()
        for name, sentences in (("locks", game.view.locks), ("queues", game.view.queues)):
            if sentences:
                yield f"{name}:  {'; '.join(sentences)}"
        yield ""
        if game.over:
            yield f"{game.result.verdict}{f': {game.result.message}' if game.result.bad else ''}"
            if self.goal:
                yield "goal: reached" if self.reached else "goal: not reached; u takes a choice back"
        if self.terminal:
            yield self.note or HELP

    def _cpus(self) -> Generator[str]:
        """Everybody: with a key who can move, and what it would do; the others where they stand."""
        from cpuemu.explore.story_text import sentence

        view = self.game.view
        keys = {actor: key for key, actor in self._movers().items()}
        for stand in view.stands:
            able = stand.cpu in view.actors
            does = sentence(view.able[view.actors.index(stand.cpu)]) if able else (
                f"{stand.point}: waits for {stand.waits}" if stand.waits else stand.point)
            where = ", in an interrupt" if stand.handler else ""
            yield f" {keys.get(stand.cpu, ' '):>2}  cpu {stand.cpu:<2} {stand.task:<15} {does}{where}"
        for actor, move in zip(view.actors, view.able, strict=True):
            if actor >= self.game.scenario.cpus:
                yield f" {keys[actor]:>2}  {move.actor:<14} {sentence(move)}"

    def _steps(self, first: int) -> Generator[str]:
        """What was done, from a step on."""
        from cpuemu.explore.story_text import sentence

        game = self.game
        for at in range(first, len(game.moves)):
            move = game.views[at].able[game.views[at].actors.index(game.moves[at])]
            who = f"cpu {move.cpu}" if move.cpu is not None else move.actor
            yield f"{at + 1:>5}  {who:<6} {sentence(move)}"

    def _compared(self) -> str:
        """Yours beside the smallest one that is known."""
        other = self.other()
        if other is None:
            return f"none of {SEARCH} schedules failed: there is nothing to compare with"
        theirs = f"{other.steps} steps, {other.preemptions} preemptions, {other.deliveries} interrupts"
        if not (self.game.over and self.game.result.bad):
            return f"the smallest one found fails with {theirs}"
        mine = self.game.size()
        same = "the same failure" if other.signature == self.game.result.signature else "another failure"
        return (f"yours: {mine.steps} steps, {mine.preemptions} preemptions, {mine.interrupts} interrupts; "
                f"the smallest one found ({same}): {theirs}")

    def _saved(self) -> str:
        from cpuemu.explore.failure import save
        from cpuemu.explore.pinned import pin

        if not (self.game.over and self.game.result.bad):
            return "nothing has failed yet: there is nothing to keep"
        failure, path = self.game.failure(), Path(f"{self.game.scenario.name}-played.json")
        save(failure, path)
        return f"{path}; in one line: {pin(failure).line}"


def _search(scenario: Scenario) -> Failure | None:
    """A small failure: the first of some schedules that fails, shrunk."""
    from cpuemu.explore.explorer import Exploration
    from cpuemu.explore.failure import failure_of
    from cpuemu.explore.portfolio import PORTFOLIO
    from cpuemu.explore.shrink import Shrinking

    found: list[Failure] = []
    click.echo(f"looking for one: at most {SEARCH} schedules, and {SHRINK} to make it small ...", err=True)
    Exploration(scenario, PORTFOLIO, SEARCH, jobs=2, until_failure=True,
                failed=lambda name, seed, result, _: found.append(failure_of(scenario, name, seed, result))).run()
    return Shrinking(found[0], SHRINK, jobs=2).run() if found else None
