"""Interprocessor interrupts: the pending words, the tickets, the frames.

Invariant:     an interrupt is taken only with its frame in hand and its pending word naming that frame's ticket.
Writers:       a pending word goes 0 -> (ticket, source) by the sender's compare-and-swap and back to 0 by its CPU.
Steps:         one before the pending word is set; none between the word and the frame.
Not modelled:  priorities among vectors (the lowest ticket in hand goes first); an NMI is masked as any other.

Arrival is a fact, delivery is a decision: ``collect`` takes in what ZeroMQ has, ``take`` hands out one ticket.
One ROUTER socket a CPU, bound on a path of its generation.  A pair of sockets is connected when its first
interrupt is sent, by the one side that wins a compare-and-swap on the pair's word: a second connect to a peer
already linked aborts the process inside libzmq, and a connect without a routing id loses messages.
"""

from __future__ import annotations

import select
import struct
from collections.abc import Callable, Iterable
from pathlib import Path

import zmq

from cpuemu.arch.wire import Wire
from cpuemu.core import Core, Ram, now
from cpuemu.events import Event
from cpuemu.layout import Counter, Cpu, CpuState, Header, Latency, Machine, MachineState, Pair, Vector
from cpuemu.schema import Address

FRAME = struct.Struct("<BxHHHQ")
"""vector, source, generation of the source, generation of the target, ticket: 16 bytes."""

MORE, LAST = int(zmq.SNDMORE | zmq.NOBLOCK), int(zmq.NOBLOCK)
READABLE = int(zmq.POLLIN)
"""As plain numbers: an operation on pyzmq's enumerations costs more than the whole frame."""
VECTORS = tuple(Vector(number) for number in range(Vector.NR))
NOBODY_THERE = (CpuState.ABSENT, CpuState.DEAD, CpuState.GONE)
"""States of a CPU that no process will come to any more."""

RETRY_MS = 1
"""How long the side that did not connect waits before it tries to send again."""


def socket_path(directory: Path | str, cpu: int, generation: int) -> str:
    """Where a CPU's socket of one generation is bound."""
    return f"{directory}/{cpu}.{generation}"


def routing_id(cpu: int, generation: int) -> bytes:
    return b"C%d.%d" % (cpu, generation)


def _no_step(word: Address) -> None:
    pass


class Apic:
    """One sender and receiver of interrupts: a CPU, or (``who`` = nr_cpus) the coordinator, which only sends."""

    def __init__(self, ram: Ram, machine: Machine, who: int, generation: int, directory: str,
                 core: Core | None = None, wire: Wire | None = None) -> None:
        self.ram, self.machine, self.who, self.generation = ram, machine, who, generation
        self.directory, self.core, self.wire = directory, core, wire
        self.step: Callable[[Address], None] = _no_step
        """The point before a pending word is set; the coordinator, outside of the machine, has none."""
        self.in_hand: dict[int, tuple[int, int]] = {}
        self.told = False
        """The poll has said that something has come: a frame nearly always, and to ask costs more than to try."""
        self.lives: dict[int, int] = {}
        """Of us, that each frame was sent to."""
        self.life_taken = generation & 0xFFFF
        """The same of the last frame taken."""
        self._tickets = machine.header.addr(Header.tickets)
        self.open()

    def open(self) -> None:
        """A context and a socket of this process's own, linked to nobody yet."""
        who, generation, machine = self.who, self.generation, self.machine
        self._linked: dict[int, int] = {}
        self._peers: dict[int, bytes] = {}
        self.context = zmq.Context(1)
        self.socket = socket = self.context.socket(zmq.ROUTER)
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        socket.setsockopt(zmq.RECONNECT_IVL, -1)
        # Without: the link to a peer that has died waits for ever for its frames to be taken, and close() for the link.
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.HANDSHAKE_IVL, 0)
        socket.setsockopt(zmq.BACKLOG, max(128, machine.dims.cpus + 8))
        socket.setsockopt(zmq.SNDHWM, 0)
        socket.setsockopt(zmq.RCVHWM, 0)
        socket.setsockopt(zmq.ROUTING_ID, routing_id(who, generation))
        if who < machine.dims.cpus:
            socket.bind("ipc://" + socket_path(self.directory, who, generation))
        self.fd = int(socket.getsockopt(zmq.FD))

    # --- sending -------------------------------------------------------------------------------------------

    def send(self, cpu: int, vector: Vector, abandon: Callable[[], bool] = lambda: False) -> bool:
        """Raise ``vector`` on ``cpu``; False if it was pending already (then no frame is sent, as Linux coalesces).

        ``abandon`` is asked while the frame cannot leave yet; True gives up (the machine is ending).
        """
        self.step(self.machine.cpus[cpu].addr(Cpu.pending, vector))
        return self.post(cpu, vector, abandon)

    def post(self, cpu: int, vector: Vector, abandon: Callable[[], bool]) -> bool:
        """The rest of ``send``, after its point: the pending word, and its frame."""
        target = self.machine.cpus[cpu]
        word = target.addr(Cpu.pending, vector)
        if self.ram.read(word) or not self.ram.cmpxchg(word, 0, (ticket := self._ticket()) << 16 | self.who + 1):
            if self.core is not None:
                self.core.count(Counter.IPI_COALESCED)
            return False
        target.raised_ns[vector] = now()
        if self.core is not None:
            self.core.trace(Event.IPI_RAISE, cpu, vector, ticket & 0xFFFFFFFF, ticket >> 32)
            self.core.count(Counter.IPI_SENT)
        if not self.machine.header.ipi_disabled:
            frame = FRAME.pack(vector, self.who, self.generation, target.generation & 0xFFFF, ticket)
            for _ in range(1 if self.wire is None else self.wire.copies(cpu, vector)):
                self._transmit(cpu, frame, abandon)
        return True

    def send_mask(self, mask: Iterable[int], vector: Vector, abandon: Callable[[], bool] = lambda: False) -> bool:
        """Raise ``vector`` on every CPU whose bit is set in ``mask``, which is read here and now.

        False on an empty mask: x86 warns of it (default_send_IPI_mask_logical: "empty IPI mask").
        """
        empty = True
        for index, word in enumerate(mask):
            while word:
                bit = word & -word
                word ^= bit
                empty = False
                self.send(index * 64 + bit.bit_length() - 1, vector, abandon)
        return not empty

    def _ticket(self) -> int:
        return self.ram.add(self._tickets, 1)

    def _transmit(self, cpu: int, frame: bytes, abandon: Callable[[], bool]) -> None:
        target = self.machine.cpus[cpu]
        generation = target.generation
        if self._linked.get(cpu) != generation:
            self._link(cpu, generation)
        peer = self._peers[cpu]
        while True:
            try:
                self.socket.send(peer, MORE)
                self.socket.send(frame, LAST)
                return
            except zmq.ZMQError as error:
                if error.errno not in (zmq.EHOSTUNREACH, zmq.EAGAIN):
                    raise
            # The other side won the right to connect and is not through yet, or it has died.
            if target.generation != generation or target.state in NOBODY_THERE or abandon():
                if self.core is not None:
                    self.core.trace(Event.CPUEMU_IPI_LOST, cpu, frame[0], 0, 0)
                    self.core.count(Counter.IPI_LOST_BY_DEATH)
                return
            # The greeting is handled by ZeroMQ's own thread; reading EVENTS lets the socket notice it.
            poller = select.poll()
            poller.register(self.fd, select.POLLIN)
            poller.poll(RETRY_MS)
            self.socket.getsockopt(zmq.EVENTS)

    def _link(self, cpu: int, generation: int) -> None:
        low, high = sorted((self.who, cpu))
        mine, theirs = self.generation & 0xFFFF, generation & 0xFFFF
        lives = (mine if low == self.who else theirs) << 32 | (theirs if low == self.who else mine) << 16
        word = self.machine.pairs[high * (high + 1) // 2 + low].addr(Pair.word)
        while True:
            seen = self.ram.read(word)
            if seen and seen >> 16 == lives >> 16:
                break
            if self.ram.cmpxchg(word, seen, lives | self.who + 1):
                self.socket.setsockopt(zmq.CONNECT_ROUTING_ID, routing_id(cpu, generation))
                self.socket.connect("ipc://" + socket_path(self.directory, cpu, generation))
                break
        self._linked[cpu], self._peers[cpu] = generation, routing_id(cpu, generation)

    # --- receiving -----------------------------------------------------------------------------------------

    def arrived(self) -> bool:
        """Whether ZeroMQ has a frame.  Its descriptor is edge-triggered: this is asked before every sleep."""
        return bool(self.socket.getsockopt(zmq.EVENTS) & READABLE)  # type: ignore[operator]

    def comes(self) -> bool:
        """Whether there is anything to be taken in."""
        late = self.wire.next_ns() if self.wire is not None else 0
        return self.arrived() or 0 < late <= now()

    def collect(self) -> None:
        """Take in the frames that have arrived, until that of every raised interrupt is in hand.

        A frame to or from an earlier life is dropped and counted.
        """
        assert self.core is not None
        socket, in_hand = self.socket, self.in_hand
        if self.wire is not None:
            in_hand.update(self.wire.due())
        while self.told or self.arrived():
            self.told = False
            try:
                socket.recv(LAST)
            except zmq.Again:
                continue
            vector, source, _, life, ticket = FRAME.unpack(socket.recv(LAST))
            if life != self.generation & 0xFFFF:
                self._stale()
                continue
            self.lives[ticket] = life
            if self.wire is not None and not self.wire.hears(ticket, vector, source):
                continue
            if ticket in in_hand:
                self._stale()
            in_hand[ticket] = (vector, source)
            if in_hand.keys() >= set(self.core.raised()):
                break  # the rest is for the next look: to ask once more costs more than a whole frame
        self.machine.cpus[self.who].in_hand = len(in_hand)

    def holds(self) -> bool:
        """Whether any frame is in hand."""
        return bool(self.in_hand)

    def gather(self) -> bool:
        """Before a sleep: take in what has arrived; whether there is anything to be taken."""
        if self.arrived():
            self.collect()
        return bool(self.in_hand)

    def deliverable(self) -> list[int]:
        """Tickets in hand whose pending word names them, lowest first: the gate decides among these."""
        if not self.in_hand:
            return []
        assert self.core is not None
        named = set(self.core.raised())
        ready = [ticket for ticket in self.in_hand if ticket in named]
        if len(ready) < len(self.in_hand):
            self._drop_orphans(named)
        return sorted(ready)

    def take(self, ticket: int) -> tuple[Vector, int]:
        """Acknowledge one interrupt: its word becomes 0, so that the next one of its vector can be raised."""
        vector, source = self.in_hand.pop(ticket)
        self.life_taken = self.lives.pop(ticket, self.life_taken)
        me = self.machine.cpus[self.who]
        me.in_hand = len(self.in_hand)
        raised = me.raised_ns[vector]
        me.inservice[vector] = ticket << 16 | source + 1
        self.ram.xchg(me.addr(Cpu.pending, vector), 0)
        if self.core is not None and vector != Vector.PLATFORM:
            self.core.count(Counter.IPI_TAKEN)
            self.core.latency(Latency.IPI, max(0, now() - raised))
        return VECTORS[vector], source

    def clear(self) -> None:
        """Acknowledge what is pending and serve none of it: an earlier life's (setup_local_APIC).

        The platform's stays: a device asserts it until it is served.
        """
        for vector in (Vector.RESCHEDULE, Vector.CALL_FUNCTION, Vector.CALL_FUNCTION_SINGLE):
            self.ram.xchg(self.machine.cpus[self.who].addr(Cpu.pending, vector), 0)

    def _drop_orphans(self, named: set[int]) -> None:
        # A frame is sent after its word was set, and the word is cleared only by taking it: no word, no life.
        for ticket in [ticket for ticket in self.in_hand if ticket not in named]:
            del self.in_hand[ticket]
            self.lives.pop(ticket, None)
            self._stale()
        self.machine.cpus[self.who].in_hand = len(self.in_hand)

    def _stale(self) -> None:
        if self.core is not None:
            self.core.count(Counter.IPI_STALE)

    def undelivered(self) -> list[tuple[int, int]]:
        """Address and content of the pending words of our interrupts that have not been taken yet."""
        words = [cpu.addr(Cpu.pending, vector) for cpu in self.machine.cpus for vector in range(Vector.NR)]
        return [(word, seen) for word in words if (seen := self.ram.read(word)) & 0xFFFF == self.who + 1]

    def close(self, linger_ms: int = 1000) -> None:
        """Leave in order: wait until the frames sent have been taken, then let go of the socket.

        A frame on its way is lost with its sender's process, linger or not: the receiver would wait for ever.
        """
        end = now() + linger_ms * 1_000_000
        left = self.undelivered()  # of this moment: the CPU may have another process already, that sends more
        while left and now() < end and self.machine.header.state < MachineState.OFF:
            select.poll().poll(1)
            left = [(word, seen) for word, seen in left if self.ram.read(word) == seen]
        self.socket.close(linger=linger_ms)
        self.context.term()
