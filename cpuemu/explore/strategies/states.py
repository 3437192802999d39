"""Exhaustive search of a machine's states: where two schedules come to the same one, it is gone on from there once.

Holzmann: "The model checker SPIN", IEEE TSE 23(5), 1997; of real code: Musuvathi, Park, Chou, Engler, Dill, "CMC", OSDI
2002.  States are told apart by 128 bits (explore/state.py; Wolper, Leroy: "Reliable hashing without collision
detection", CAV 1993): that two of a million have the same ones is less likely than 1e-26.

What is known is a graph: who can move in each state, and which state follows.  A path is given decisions that lead to a
step that was never taken, and takes it.  From there on it walks: where something was never tried, that; else towards
such a place; and ends when nothing is left to be found that way.  The way is drawn, so that paths of one wave, which do
not know of each other, part.  What it walks again, on its way, must lead where it led before: a state that has two
futures was not all of the state, and the search says so.
"""

from __future__ import annotations

import mmap
import struct
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from random import Random
from typing import TypedDict

from cpuemu.errors import UserError
from cpuemu.explore.strategies.base import Event
from cpuemu.explore.strategies.replay import Diverged

RECORD = struct.Struct("<16sQQ")
"""A state, who was not tried there, and who leads to the next such place: a bit an actor."""
MOST = 1 << 21
FREE = bytes(16)
FAILED = -1
"""Instead of a state: the schedule failed in this step."""


class Known:
    """What paths are told of the states, in a file that every world maps.  Its blocks are those in use."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            with path.open("wb") as file:
                file.truncate(2 * MOST * RECORD.size)
        with path.open("r+b") as file:
            self.table = mmap.mmap(file.fileno(), 2 * MOST * RECORD.size)

    def __reduce__(self) -> tuple[type[Known], tuple[Path]]:
        return Known, (self.path,)

    def __getitem__(self, state: bytes) -> tuple[int, int] | None:
        """Who was not tried in it, and who leads on; None: it is not known."""
        found, untried, leading = RECORD.unpack_from(self.table, self._place(state))
        return (untried, leading) if found == state else None

    def __setitem__(self, state: bytes, masks: tuple[int, int]) -> None:
        RECORD.pack_into(self.table, self._place(state), state, *masks)

    def _place(self, state: bytes) -> int:
        """Where it stands, or would: the next free place behind its own."""
        number = int.from_bytes(state[:8], "little") % (2 * MOST)
        while self.table[number * RECORD.size:number * RECORD.size + 16] not in (state, FREE):
            number = (number + 1) % (2 * MOST)
        return number * RECORD.size


class Told(TypedDict):
    """What a path says of itself behind its prefix: each state, who could move there, and who did.

    ``states``: 32 hexadecimal digits each.  The last one has nobody who moved, unless the schedule failed there.
    """

    states: str
    able: list[list[int]]
    moved: list[int]


class StatePath:
    """One schedule: ``prefix``, decisions up to a step that was never taken; then where something is to be found."""

    name = "states"

    def __init__(self, prefix: Sequence[int], known: Known) -> None:
        self.prefix, self.known = list(prefix), known
        self.decided = 0

    def begin(self, actors: int, random: Random) -> None:
        self.random, self.decided = random, 0
        self.states: dict[bytes, None] = {}
        self.able: list[list[int]] = []
        self.moved: list[int] = []
        self.worth = 0
        """Who should move here: a bit an actor."""

    @property
    def beyond(self) -> bool:
        """Whether the next state is one behind the prefix."""
        return self.decided >= len(self.prefix)

    def knows(self, state: bytes, enabled: Sequence[Event]) -> bool:
        """Told each state behind the prefix, and who can move there: whether the schedule ends in it."""
        again = state in self.states
        self.states[state] = None
        found = self.known[state]
        self.able.append([event.actor for event in enabled])
        untried, leading = found or (-1, 0)
        self.worth = untried or leading
        return again or not self.worth

    def choose(self, enabled: Sequence[Event]) -> Event:
        at, self.decided = self.decided, self.decided + 1
        if at >= len(self.prefix):
            return self.random.choice([event for event in enabled if self.worth >> event.actor & 1])
        for event in enabled:
            if event.actor == self.prefix[at]:
                return event
        raise Diverged(at, self.prefix[at], enabled)

    def executed(self, event: Event, enabled: Sequence[Event]) -> None:
        if len(self.moved) < len(self.able):
            self.moved.append(event.actor)

    def end(self, events: Sequence[Event], pending: Sequence[Sequence[Event]]) -> None:
        pass

    def told(self) -> Told:
        return Told(states=b"".join(self.states).hex(), able=self.able, moved=self.moved)


class Graph:
    """All that is known: of each state, by number, who can move, and who leads where."""

    def __init__(self, known: Known) -> None:
        self.known = known
        self.names: list[bytes] = []
        self.numbers: dict[bytes, int] = {}
        self.able: list[list[int]] = []
        self.following: list[dict[int, int]] = []
        self.came: list[tuple[int, int]] = []
        """The state and the actor by which each one was come to first."""
        self.depth: list[int] = []
        """Steps of the way by which it was come to first."""
        self.open: dict[int, None] = {}
        """States with somebody who was not tried, in their order."""
        self.taken: list[tuple[int, int]] = []
        self.begun = False
        self.again = 0
        """Steps that were walked once more."""
        self.torn = 0
        """Of these, how many led elsewhere."""

    def take(self, most: int) -> list[list[int]]:
        """Up to so many prefixes; what was taken before has been added."""
        if not self.begun:
            self.begun = True
            self.taken = [(FAILED, FAILED)]
            return [[]]
        self.taken = list(self._untried(most))
        return [[*self._decisions(state), actor] for state, actor in self.taken]

    def _untried(self, most: int) -> Iterator[tuple[int, int]]:
        """Steps that were not taken, the earliest first: behind them the way is long, and much is found on it."""
        return islice(((state, actor) for state in sorted(self.open, key=self.depth.__getitem__)
                       for actor in self.able[state] if actor not in self.following[state]), most)

    def _decisions(self, state: int) -> list[int]:
        """Those that lead to a state."""
        found = []
        while state:
            state, actor = self.came[state]
            if len(self.able[state]) > 1:
                found.append(actor)
        return found[::-1]

    def add(self, told: Told) -> None:
        """The next path of those that were taken has been run."""
        last, actor = self.taken.pop(0)
        names = bytes.fromhex(told["states"])
        moved = [*told["moved"], FAILED]
        for at, able in enumerate(told["able"]):
            name = names[at * 16:at * 16 + 16]
            number = self.numbers.get(name)
            if number is None:
                number = self._enter(name, able, (last, actor))
            self.torn += self.able[number] != able
            self._step(last, actor, number)
            last, actor = number, moved[at]
        if actor >= 0:
            self._step(last, actor, FAILED)

    def _enter(self, name: bytes, able: list[int], came: tuple[int, int]) -> int:
        number = self.numbers[name] = len(self.names)
        if number == MOST:
            raise UserError(f"--strategy states: more than {MOST:,} states; make the machine smaller")
        self.names.append(name)
        self.able.append(able)
        self.following.append({})
        self.came.append(came)
        self.depth.append(self.depth[came[0]] + 1 if came[0] >= 0 else 0)
        if able:
            self.open[number] = None
        return number

    def _step(self, state: int, actor: int, number: int) -> None:
        if state < 0:
            return
        following = self.following[state]
        if actor in following:
            self.again += 1
            self.torn += following[actor] != number
            return
        following[actor] = number
        if len(following) == len(self.able[state]):
            del self.open[state]

    def publish(self) -> None:
        """Tell paths of all states that were entered, and where something is left to be tried."""
        before: list[list[tuple[int, int]]] = [[] for _ in self.names]
        for number, following in enumerate(self.following):
            for actor, other in following.items():
                if other >= 0:
                    before[other].append((number, actor))
        leading, far = [0] * len(self.names), dict.fromkeys(self.open, 0)
        ahead = deque(self.open)
        while ahead:
            number = ahead.popleft()
            for other, actor in before[number]:
                if far.setdefault(other, far[number] + 1) > far[number]:
                    ahead += () if leading[other] or not far[other] else (other,)
                    leading[other] |= 1 << actor
        for number, name in enumerate(self.names):
            untried = sum(1 << actor for actor in self.able[number] if actor not in self.following[number])
            self.known[name] = untried, leading[number]

    @property
    def steps(self) -> int:
        """That were taken, each once."""
        return sum(map(len, self.following))

    @property
    def left(self) -> int:
        """Steps that were not taken yet."""
        return sum(len(self.able[state]) - len(self.following[state]) for state in self.open)

    def longest(self) -> int | None:
        """Steps of the longest way through it; None: there is one that goes round for ever."""
        before: dict[int, int] = defaultdict(int)
        for following in self.following:
            for number in following.values():
                before[number] += 1
        steps = [0] * len(self.names)
        ahead, done = [0], 0
        while ahead:
            number = ahead.pop()
            done += 1
            for other in self.following[number].values():
                if other < 0:
                    continue
                steps[other] = max(steps[other], steps[number] + 1)
                before[other] -= 1
                if not before[other]:
                    ahead.append(other)
        return max(steps, default=0) if done == len(self.names) else None
