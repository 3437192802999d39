"""Strategies by the names that ``--strategy`` takes, and what those that have run tell those that come.

PCT has to know how long a schedule is (k), URW and SURW how often each actor comes to each word.  Both are learnt while
it goes on, and in rounds: a round's strategies know what was known when the round before it began, however many
schedules run at a time.  So what comes out does not depend on that.
"""

from __future__ import annotations

import sys
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import ceil

from cpuemu.errors import UserError
from cpuemu.explore.species import Access
from cpuemu.explore.strategies.base import Strategy
from cpuemu.explore.strategies.delay import Delay
from cpuemu.explore.strategies.pct import Pct
from cpuemu.explore.strategies.pos import Pos
from cpuemu.explore.strategies.random_walk import RandomWalk
from cpuemu.explore.strategies.surw import Profile, Surw, Urw
from cpuemu.explore.strategies.user import UserStrategy

PORTFOLIO = ("random", "pct:1", "pct:2", "pct:3", "pct:5", "pos", "surw")
KINDS = ("random", "pct:DEPTH", "pos", "basic-pos", "urw", "surw", "delay:DELAYS")
SEARCHES = ("dfs", "dfs:PREEMPTIONS", "dpor", "states")
PROFILE = "profile"
"""The name of the random walks that measure."""
PROFILE_RUNS = 5
"""So many at the beginning, and again after each PROFILE_EVERY schedules."""
PROFILE_EVERY = 1000
ROUND = 64
"""Schedules a round: no fewer than may run at a time."""
RECENT = 50
MARGIN = 1.25
"""k is so many times the longest of the last RECENT schedules: PCT's guarantee needs one that is no smaller than a
schedule's steps.  It stays until it is too small, or more than twice too large."""


def check_strategies(names: Iterable[str]) -> None:
    """Raises UserError on a name that is none, and on an exhaustive search that is to take turns with others."""
    names = list(names)
    for name in names:
        _check(name)
    if len(names) > 1 and any(is_search(name) for name in names):
        search = next(name for name in names if is_search(name))
        raise UserError(f"--strategy {search}: an exhaustive search takes no turns with others; give it alone")


def _check(name: str) -> None:
    kind, _, number = name.partition(":")
    if is_user(name):
        UserStrategy(name)
        return
    if name == "states" and sys.version_info >= (3, 14):
        raise UserError("--strategy states: it looks into frames of CPython 3.11 to 3.13, and this is another one")
    if name in ("dfs", "dpor", "states") or (kind == "dfs" and number.isdigit()):
        return
    with_number = kind in ("pct", "delay")
    if kind not in {each.partition(":")[0] for each in KINDS} or (with_number != number.isdigit()) or number == "0" \
            or (not with_number and ":" in name):
        raise UserError(f"--strategy {name}: unknown; known are {', '.join((*KINDS, *SEARCHES))}, FILE.py:CLASS")


def runs(names: Sequence[str], schedules: int) -> int:
    """How many runs so many schedules are, with the walks that measure."""
    return schedules if is_search(names[0]) else schedules + PROFILE_RUNS * ceil(schedules / PROFILE_EVERY)


def is_user(name: str) -> bool:
    return ".py" in name.partition(":")[0]


def is_search(name: str) -> bool:
    return name.partition(":")[0] in ("dfs", "dpor", "states")


@dataclass(frozen=True)
class Tuning:
    """What strategies are told.  ``steps``: k.  ``taken``: how many profiles were taken up to this one."""

    steps: int
    profile: Profile
    taken: int

    def series(self, name: str) -> str:
        """What this strategy draws from, in words: while it is the same, its schedules are of one distribution."""
        kind = name.partition(":")[0]
        if kind in ("pct", "delay"):
            return f"k = {self.steps}"
        return f"profile {self.taken}" if kind in ("urw", "surw") else ""

    def strategy(self, name: str) -> Strategy:
        kind, _, number = name.partition(":")
        if is_user(name):
            return UserStrategy(name)
        made: dict[str, Callable[[], Strategy]] = {
            "random": RandomWalk, PROFILE: RandomWalk, "pos": Pos, "basic-pos": lambda: Pos(resample=False),
            "urw": lambda: Urw(self.profile), "surw": lambda: Surw(self.profile),
            "pct": lambda: Pct(int(number), self.steps), "delay": lambda: Delay(int(number), self.steps),
        }
        return made[kind]()


class Learnt:
    """The tuning of each round, from the schedules before."""

    def __init__(self) -> None:
        self.rounds: list[Tuning] = []
        self.walks: list[list[Access]] = []
        self.recent: deque[int] = deque(maxlen=RECENT)
        self.counted = 0
        self.taken = 0

    def walked(self, accesses: list[Access]) -> None:
        """A random walk that measures."""
        self.walks.append(accesses)

    def count(self, steps: int, cut: bool) -> None:
        """A schedule, in the order of their numbers.  ``cut``: the limit of steps ended it: it says nothing of k."""
        if not cut:
            self.recent.append(steps)
        self.counted += 1
        past = self.counted - PROFILE_RUNS
        if past == 0:  # in force in the first round, and in the second
            self.rounds = [self._tuning()] * 2
        elif past > 0 and past % ROUND == 0:
            self.rounds.append(self._tuning())

    def of(self, number: int) -> Tuning:
        """What holds for a schedule; number 0 is the first one after the first walks."""
        return self.rounds[number // ROUND]

    def _tuning(self) -> Tuning:
        before = self.rounds[-1] if self.rounds else None
        longest = max(self.recent, default=1)
        steps = ceil(MARGIN * longest)
        if before and longest <= before.steps <= 2 * steps:
            steps = before.steps
        profile = before.profile if before else None
        if profile is None or len(self.walks) >= PROFILE_RUNS:
            profile = profile_of(self.walks)
            self.walks = []
            self.taken += 1
        return Tuning(steps, profile, self.taken)


def profile_of(walks: Iterable[list[Access]]) -> Profile:
    """The most that each actor came to each word in any of these."""
    counts: Counter[tuple[int, int]] = Counter()
    locks = set()
    for accesses in walks:
        walk: Counter[tuple[int, int]] = Counter()
        for each in accesses:
            walk[each.actor, each.word] += each.times
        counts |= walk
        locks |= {each.word for each in accesses if each.lock}
    return Profile(counts, frozenset(locks))
