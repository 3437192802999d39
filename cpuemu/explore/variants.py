"""Of a schedule, as runs of one actor's steps in a row, others that may be smaller."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable

Actors = list[int]
Variants = Callable[[list[Actors]], Iterable[Actors]]

LONGER = 4, 32


def joined(runs: Iterable[Actors]) -> Actors:
    return [actor for run in runs for actor in run]


def without_an_actor(runs: list[Actors]) -> Generator[Actors]:
    """Interrupts first, then CPUs: what it does, if it has to, comes at the end."""
    for actor in sorted({run[0] for run in runs}, reverse=True):
        yield joined(run for run in runs if run[0] != actor)


def without_runs(runs: list[Actors], length: int) -> Generator[Actors]:
    for at in range(0, len(runs), length):
        yield joined(runs[:at] + runs[at + length:])


def later(runs: list[Actors]) -> Generator[Actors]:
    """A run moved to the next one of its actor."""
    for at, run in enumerate(runs):
        for other in range(at + 2, len(runs)):
            if runs[other][0] == run[0]:
                yield joined([*runs[:at], *runs[at + 1:other], run, *runs[other:]])
                break


def earlier(runs: list[Actors]) -> Generator[Actors]:
    """A run moved to the one before of its actor."""
    for at, run in enumerate(runs):
        for other in range(at - 2, -1, -1):
            if runs[other][0] == run[0]:
                yield joined([*runs[:other + 1], run, *runs[other + 1:at], *runs[at + 1:]])
                break


def less_of_an_actor(runs: list[Actors]) -> Generator[Actors]:
    """The last steps of an actor left out: many, then fewer."""
    actors = joined(runs)
    for actor, count in sorted(Counter(actors).items()):
        places = [at for at, each in enumerate(actors) if each == actor]
        length = count // 2
        while length:
            out = set(places[count - length:])
            yield [each for at, each in enumerate(actors) if at not in out]
            length //= 2


def cut(runs: list[Actors]) -> Generator[Actors]:
    """The second part of a run left out: done only when its actor comes again."""
    for at, run in enumerate(runs):
        for length in dict.fromkeys((len(run) // 2, 1)):
            if 0 < length < len(run):
                yield joined([*runs[:at], run[:-length], *runs[at + 1:]])


def longer(runs: list[Actors]) -> Generator[Actors]:
    """A run that goes on, perhaps until its actor waits: then whoever comes next preempts nobody."""
    for at, run in enumerate(runs):
        for more in LONGER:
            yield joined([*runs[:at], run + run[-1:] * more, *runs[at + 1:]])
