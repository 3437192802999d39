"""The programs of published comparisons of schedulers (SCTBench), reduced to their shared accesses: one line an event.

All actors exist at the start (model M1).  Words are numbered; a lock is a word that is 0 when free.
"""

from __future__ import annotations

from collections.abc import Callable

from cpuemu.arch.gate import Kind
from cpuemu.explore.stage import Board, Failure, Program, Stage

Actor = Callable[[Stage], None]


def reorder(actors: int) -> Program:
    """Setters store a, then b; the checker must not see one without the other, but for nothing at all."""
    a, b = 0, 1

    def setter(stage: Stage) -> None:
        stage.write(a, 1)
        stage.write(b, -1)

    def checker(stage: Stage) -> None:
        seen = stage.read(a), stage.read(b)
        if seen not in ((0, 0), (1, -1)):
            raise Failure(f"a and b are {seen}")

    return Program(f"reorder_{actors}", [*[setter] * (actors - 1), checker])


def twostage() -> Program:
    """Two words under two locks, set one after the other; the reader finds the second behind the first."""
    lock1, lock2, d1, d2 = range(4)

    def writer(stage: Stage) -> None:
        stage.lock(lock1)
        stage.write(d1, 1)
        stage.unlock(lock1)
        stage.lock(lock2)
        value = stage.read(d1)
        stage.write(d2, value + 1)
        stage.unlock(lock2)

    def reader(stage: Stage) -> None:
        stage.lock(lock1)
        first = stage.read(d1)
        stage.unlock(lock1)
        if not first:
            return
        stage.lock(lock2)
        second = stage.read(d2)
        stage.unlock(lock2)
        if second != first + 1:
            raise Failure(f"d1 is {first} and d2 is {second}")

    return Program("twostage", [writer, reader])


def wronglock(others: int) -> Program:
    """One increments under lock D, the others under lock T."""
    lock_d, lock_t, v = range(3)

    def right(stage: Stage) -> None:
        stage.lock(lock_d)
        before = stage.read(v)
        value = stage.read(v)
        stage.write(v, value + 1)
        after = stage.read(v)
        stage.unlock(lock_d)
        if after != before + 1:
            raise Failure(f"v went from {before} to {after}")

    def wrong(stage: Stage) -> None:
        stage.lock(lock_t)
        value = stage.read(v)
        stage.write(v, value + 1)
        stage.unlock(lock_t)

    return Program(f"wronglock_{others}", [right, *[wrong] * others])


def deadlock01() -> Program:
    a, b, c = range(3)

    def actor(first: int, second: int) -> Actor:
        def run(stage: Stage) -> None:
            stage.lock(first)
            stage.lock(second)
            value = stage.read(c)
            stage.write(c, value + 1)
            stage.unlock(second)
            stage.unlock(first)
        return run

    return Program("deadlock01", [actor(a, b), actor(b, a)])


def bluetooth() -> Program:
    """A driver that is stopped while a request comes in."""
    flag, stopped, pending, event = range(4)

    def take_away(stage: Stage) -> int:
        def action() -> int:
            left = stage.board.words[pending] - 1
            stage.board.words[pending] = left
            return left
        return stage.event(pending, Kind.WRITE, action)

    def add(stage: Stage) -> None:
        stage.board.words[pending] = stage.board.words[pending] + 1

    def adder(stage: Stage) -> None:
        if not stage.read(flag):
            stage.event(pending, Kind.WRITE, lambda: add(stage))
            if stage.read(stopped):
                raise Failure("a request on a driver that is stopped")
        if take_away(stage) == 0:
            stage.write(event, 1)

    def stopper(stage: Stage) -> None:
        stage.write(flag, 1)
        if take_away(stage) == 0:
            stage.write(event, 1)
        if stage.read(event):
            stage.write(stopped, 1)

    return Program("bluetooth", [adder, stopper], initial=[0, 0, 1, 0])


def stack(size: int) -> Program:
    """A pusher and a popper; the flag that says "there is something" is never taken back."""
    lock, top, flag = range(3)

    def pusher(stage: Stage) -> None:
        def push() -> None:
            stage.board.words[top] = stage.board.words[top] + 1
            stage.board.words[flag] = 1
        for _ in range(size):
            stage.lock(lock)
            stage.event(top, Kind.WRITE, push)
            stage.unlock(lock)

    def popper(stage: Stage) -> None:
        def pop() -> None:
            if stage.board.words[flag]:
                if not stage.board.words[top]:
                    raise Failure("pop from an empty stack")
                stage.board.words[top] = stage.board.words[top] - 1
        for _ in range(size):
            stage.lock(lock)
            stage.event(top, Kind.WRITE, pop)
            stage.unlock(lock)

    return Program(f"stack_{size}", [pusher, popper])


def account() -> Program:
    """Three that come one after the other; wrong when the checker is last."""
    lock, turns = 0, 1

    def customer(who: int) -> Actor:
        def body(stage: Stage) -> None:
            stage.board.words[turns] = stage.board.words[turns] + 1
            if who == 0 and stage.board.words[turns] == 3:
                raise Failure("the checker came last")

        def run(stage: Stage) -> None:
            stage.lock(lock)
            stage.event(turns, Kind.WRITE, lambda: body(stage))
            stage.unlock(lock)
        return run

    return Program("account", [customer(who) for who in range(3)])


def token_ring() -> Program:
    """x1 = (x3 + 1) % 4, x2 = x1, x3 = x2, and a check, each under the lock, in whatever order."""
    lock, x1, x2, x3, done = range(5)

    def holder(who: int) -> Actor:
        def body(stage: Stage) -> None:
            words = stage.board.words
            if who == 0:
                words[x1] = (words[x3] + 1) % 4
            elif who == 1:
                words[x2] = words[x1]
            elif who == 2:
                words[x3] = words[x2]
            elif words[done] == 3 and not words[x1] == words[x2] == words[x3]:
                raise Failure("all have been here, and they differ")
            words[done] = words[done] + 1

        def run(stage: Stage) -> None:
            stage.lock(lock)
            stage.event(x1, Kind.WRITE, lambda: body(stage))
            stage.unlock(lock)
        return run

    return Program("token_ring", [holder(who) for who in range(4)], initial=[0, 1, 2, 1])


def irq_window(events: int) -> Program:
    """A CPU with so many private events, and one interrupt pending from the start: how late is it taken?"""
    cpu_word, handled, delay = range(3)

    def cpu(stage: Stage) -> None:
        def work() -> None:
            if not stage.board.words[handled]:
                stage.board.words[delay] = stage.board.words[delay] + 1
        for _ in range(events):
            stage.event(cpu_word, Kind.WRITE, work)

    def delivery(stage: Stage) -> None:
        stage.write(handled, 1)

    return Program(f"irq_window_{events}", [cpu, delivery], check=_say_delay)


def _say_delay(board: Board) -> str:
    return str(board.words[2])
