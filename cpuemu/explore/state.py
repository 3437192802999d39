"""The state of a machine between two steps, as a number: two ways into one state have the same future.

Counts: every word of RAM that code goes by; every process's kernel stacks (arch/stacks.py); where each actor stands and
what it waits for; the walk of the hotplug request; the virtual clock.  Does not count: what only says how it came to
this (LEFT_OUT), numbers of tickets, frames that ZeroMQ has brought already: a CPU that takes an interrupt waits for its
frame however long it takes.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Generator

from cpuemu.arch.baton import Baton
from cpuemu.arch.controlled import Clock
from cpuemu.core import Ram
from cpuemu.errors import UserError
from cpuemu.explore.hotplug import Requests
from cpuemu.layout import (
    KEEPING,
    WAIT_TERMS,
    Actor,
    ActorState,
    CallFunctionData,
    Cpu,
    Csd,
    Header,
    Lock,
    LockClass,
    Machine,
    Process,
    Task,
)
from cpuemu.schema import Word

REGIONS_LEFT_OUT = frozenset({
    "histograms", "drains", "allocations", "page_operations", "oom_moments", "findings", "sites", "pairs", "streams",
    "ops", "slots", "faults",
})
"""Statistics, what is written once, and who has linked two sockets."""
LEFT_OUT: frozenset[Word] = frozenset({
    Header.tickets, Header.start_ns, Header.boot_ns, Header.ready_ns, Header.pace_start_ns, Header.frozen,
    Lock.site, Lock.since_ns,
    Cpu.pid, Cpu.sleeping, Cpu.point_site, Cpu.point_word, Cpu.heart, Cpu.lock_wait_site, Cpu.hello_ns, Cpu.raised_ns,
    Cpu.in_hand, Cpu.counters, Cpu.stopped_ns, Cpu.starved_ns, Cpu.open_ns, Cpu.errand_ticket,
    Cpu.last_words,
    Process.pid, Process.sleeping,
    Task.stack, Task.wait_ns, Task.since_ns,
    Csd.queued_ns, CallFunctionData.queued_ns,
    LockClass.usage_site, LockClass.held_site, LockClass.after_site,
})
"""Words that only say how it came to this: times of the past, places, counts, the host's."""
SOMETIMES: frozenset[Word] = frozenset({
    Task.nterms, Task.why, Task.busy, Task.op, Task.word, Task.value, Task.wait_hardirq, Task.rq_next, Cpu.held_locks,
    Csd.func, Csd.info, Csd.next, Csd.source, Csd.target,
})
"""Of a task that waits, one on a run queue, locks that are held, calls under way; else what is left of the last one."""
SOURCES: frozenset[Word] = frozenset({Cpu.pending, Cpu.inservice})
"""A ticket, and in the low 16 bits who sent it: that counts."""
WAIT_END = Task.value.offset + WAIT_TERMS * Task.value.size


class State:
    """Of one machine, as often as it is asked for."""

    def __init__(self, machine: Machine, ram: Ram, clock: Clock, baton: Baton) -> None:
        self.machine, self.ram, self.clock, self.baton = machine, ram, clock, baton
        self.places, self.masks = array("q"), array("Q")
        image = bytearray(machine.size)
        for start, mask in _words(machine):
            image[start:start + len(mask)] = mask
        for place in range(0, len(image), 8):
            if bits := int.from_bytes(image[place:place + 8], "little"):
                self.places.append(place)
                self.masks.append(bits)

    def now(self, requests: Requests, done: object) -> bytes:
        """``done``: what was got done, and when.  Raises UserError in a state that cannot be told from others."""
        if any(process.state in KEEPING for process in self.machine.processes):
            raise UserError("--strategy states: a CPU went offline and its process keeps tasks: such stacks are not "
                            "compared; give dfs, or a scenario in which nobody is inside the kernel there")
        digest = hashlib.blake2b(digest_size=16)
        digest.update(repr((self.ram.digest(self.places, self.masks), self.clock.now_ns, done,
                            *requests.place())).encode())
        for task in self.machine.tasks:
            if task.on_rq:
                digest.update(b"%d then %d" % (task.index, task.rq_next))
            if task.nterms:
                digest.update(b"%d in %d" % (task.index, task.wait_hardirq))
                digest.update(self.ram.load_bytes(task.base + Task.nterms.offset, WAIT_END - Task.nterms.offset))
        for cpu in self.machine.cpus:
            for number in range(cpu.nr_held):
                digest.update(b"%d" % cpu.held_locks[number])
        for csd in self.machine.csds:
            if csd.flags:
                digest.update(self.ram.load_bytes(csd.base, Csd.queued_ns.offset))
        for actor in self.baton.actors:
            digest.update(b"%d" % actor.state)
            if actor.state == ActorState.POINT:
                digest.update(b"%d" % actor.stacks)
                record = actor.mem.load_bytes(actor.base, Actor.SIZE)
                digest.update(record[Actor.kind.offset:Actor.opens.offset + 4])
                for terms in (Actor.term_word, Actor.term_op, Actor.term_value):
                    digest.update(record[terms.offset:terms.offset + actor.nterms * terms.size])
        return digest.digest()


def _words(machine: Machine) -> Generator[tuple[int, bytes]]:
    """Every word that counts: its place, and the bits of it that do."""
    for name, where in machine.placed.items():
        if name in REGIONS_LEFT_OUT:
            continue
        size = where.region.struct.SIZE
        for word in where.region.struct.WORDS:
            if word in LEFT_OUT or word in SOMETIMES:
                continue
            one = b"\xff\xff" + bytes(word.size - 2) if word in SOURCES else b"\xff" * word.size
            for element in range(where.count):
                yield where.base + element * size + word.offset, one * word.count
