"""What a schedule says of the orders that it ran: told from fine to coarse, cheap enough to be asked of every one.

Two schedules are of one species when they agree in what is looked at: all of the order that can matter (*orders*, the
happens-before relation of Mazurkiewicz), or for each shared word only who handed it to whom (*handovers*).
"""

from __future__ import annotations

import hashlib
import struct
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cpuemu.explore.strategies.base import Event
from cpuemu.sites import NAMES

INTERRUPT = "interrupt"
"""The name of the point at which a delivery stands: it has none in kernel code."""
_STEP = struct.Struct("<qQ?QQQQ")
_WRAP = (1 << 64) - 1

Pair = tuple[str, str]
"""Two points, in the order in which two actors passed them at one word; at least one of them writes it."""


class Access(NamedTuple):
    """How often an actor came to a word at one point."""

    actor: int
    word: int
    site: str
    write: bool
    lock: bool
    times: int


def point_name(site: int) -> str:
    """The name of a point: numbers of sites differ from process to process, names do not."""
    return NAMES[site] if site else INTERRUPT


def trace(events: Sequence[Event]) -> str:
    """Every step, in its order."""
    text = "\n".join(f"{event.actor} {event.word} {event.write:d} {point_name(event.site)}" for event in events)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def orders(events: Iterable[Event]) -> str:
    """The happens-before relation: equal for schedules that differ only in the order of steps that do not conflict.

    A step's number is made of its own and those of the steps that it directly comes behind; the sum of all is the
    relation's, whatever order they were met in.
    """
    line: dict[int, int] = {}
    written: dict[int, int] = {}
    read: dict[int, int] = {}
    total = 0
    for event in events:
        before = read.get(event.word, 0) if event.write else 0
        step = _STEP.pack(event.actor, event.word, event.write, _number(point_name(event.site).encode()),
                          line.get(event.line, 0), written.get(event.word, 0), before)
        number = line[event.line] = _number(step)
        total = (total + number) & _WRAP
        if event.word and event.write:
            written[event.word], read[event.word] = number, 0
        elif event.word:
            read[event.word] = (read.get(event.word, 0) + number) & _WRAP
    return f"{total:016x}"


def _number(content: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")


def handovers(events: Iterable[Event]) -> str:
    """For each word, which actor handed it to which: as a set, however often."""
    last: dict[int, int] = {}
    found = set()
    for event in events:
        if event.word:
            before = last.get(event.word, event.actor)
            if before != event.actor:
                found.add((event.word, before, event.actor))
            last[event.word] = event.actor
    return hashlib.blake2b(repr(sorted(found)).encode(), digest_size=8).hexdigest()


def pairs(events: Iterable[Event]) -> list[Pair]:
    """Points that two actors passed one directly after the other at a word, where that order can matter."""
    last: dict[int, Event] = {}
    found = set()
    for event in events:
        before = last.get(event.word)
        if before is not None and before.conflicts(event):
            found.add((before.site, event.site))
        if event.word:
            last[event.word] = event
    return sorted((point_name(first), point_name(second)) for first, second in found)


def accesses(events: Iterable[Event]) -> list[Access]:
    """Who came to which word, where and how often."""
    counts = Counter((event.actor, event.word, event.site, event.write, event.lock) for event in events)
    return sorted(Access(actor, word, point_name(site), write, lock, count)
                  for (actor, word, site, write, lock), count in counts.items())
