"""Every interleaving of tiny straight programs, enumerated without processes, points or strategies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from cpuemu.explore.stage import Board, Program, Stage

Operation = tuple[str, int]
"""("add", word), ("copy", word: to the word after it), ("lock", word), ("unlock", word)."""


@dataclass(frozen=True)
class Tiny:
    """Actors as lists of operations."""

    name: str
    actors: Sequence[Sequence[Operation]]

    def program(self) -> Program:
        """The same for a stage; its final words are the message of every run."""
        return Program(self.name, [_actor(each) for each in self.actors], check=_words)


def _words(board: Board) -> str:
    return str(list(board.words)[:6])


def _actor(operations: Sequence[Operation]) -> Callable[[Stage], None]:
    def run(stage: Stage) -> None:
        for what, word in operations:
            if what == "lock":
                stage.lock(word)
            elif what == "unlock":
                stage.unlock(word)
            elif what == "read":
                stage.read(word)
            else:
                value = stage.read(word)
                stage.write(word + (what == "copy"), value + (what == "add"))
    return run


TINY = (
    Tiny("two_adds", [[("add", 0)], [("add", 0)]]),
    Tiny("apart", [[("add", 0)], [("add", 2)]]),
    Tiny("three_reads", [[("read", 0)], [("read", 0)], [("read", 0)]]),
    Tiny("locked", [[("lock", 4), ("add", 0), ("unlock", 4)]] * 2),
    Tiny("crossing", [[("lock", 4), ("lock", 5), ("unlock", 5), ("unlock", 4)],
                      [("lock", 5), ("lock", 4), ("unlock", 4), ("unlock", 5)]]),
    Tiny("chain", [[("copy", 0)], [("add", 0)], [("read", 1)]]),
)


@dataclass(frozen=True)
class State:
    words: tuple[int, ...]
    at: tuple[int, ...]
    read: tuple[int, ...]


def interleavings(tiny: Tiny, preemptions: int | None = None) -> Iterator[tuple[str, tuple[int, ...]]]:
    """(final words, or "deadlock"; who moved at each step) of every one, with at most so many preemptions."""
    events = [[step for operation in actor for step in _steps(operation)] for actor in tiny.actors]

    def can(state: State, actor: int) -> bool:
        if state.at[actor] == len(events[actor]):
            return False
        what, word = events[actor][state.at[actor]]
        return what != "lock" or state.words[word] == 0

    def go(state: State, path: tuple[int, ...], used: int) -> Iterator[tuple[str, tuple[int, ...]]]:
        able = [actor for actor in range(len(events)) if can(state, actor)]
        if not able:
            over = all(state.at[actor] == len(events[actor]) for actor in range(len(events)))
            yield (str(list(state.words)) if over else "deadlock"), path
        for actor in able:
            preempts = bool(path) and actor != path[-1] and path[-1] in able
            if preemptions is None or used + preempts <= preemptions:
                yield from go(_after(state, actor, events[actor][state.at[actor]]), (*path, actor), used + preempts)

    yield from go(State((0,) * 6, (0,) * len(events), (0,) * len(events)), (), 0)


def _steps(operation: Operation) -> list[tuple[str, int]]:
    what, word = operation
    if what in ("add", "copy"):
        return [("read", word), ("store+1", word)] if what == "add" else [("read", word), ("store", word + 1)]
    return [(what, word)]


def _after(state: State, actor: int, event: tuple[str, int]) -> State:
    what, word = event
    words, at, read = list(state.words), list(state.at), list(state.read)
    at[actor] += 1
    if what == "read":
        read[actor] = words[word]
    elif what.startswith("store"):
        words[word] = read[actor] + (what == "store+1")
    else:
        words[word] = 1 + actor if what == "lock" else 0
    return State(tuple(words), tuple(at), tuple(read))
