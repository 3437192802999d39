"""Two interrupt controllers in one process: what the poll says is only a hint, what is in hand are frames."""

from __future__ import annotations

import os
import select
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from cpuemu.arch.apic import LAST, MORE, Apic, routing_id, socket_path
from cpuemu.arch.ram import create_ram
from cpuemu.core import Core
from cpuemu.layout import Dimensions, Vector
from tests.launched import wait_for


@pytest.fixture
def controllers(tmp_path: Path) -> Iterator[tuple[Apic, Apic]]:
    """The coordinator's, which sends, and CPU 0's."""
    image = create_ram(tmp_path, Dimensions(cpus=1, pages=64, zones=1, tasks=8))
    image.machine.cpus[0].generation = 1
    with tempfile.TemporaryDirectory(prefix="cpuemu-") as sockets:  # short: a socket's path is
        receiver = Apic(image.ram, image.machine, 0, 1, sockets, Core(image.ram, None, (0, 0), 0, 1))
        sender = Apic(image.ram, image.machine, 1, 1, sockets)
        yield sender, receiver
        for apic in (sender, receiver):
            apic.close(linger_ms=0)


def wait_for_frame(apic: Apic) -> None:
    poll = select.poll()
    poll.register(apic.fd, select.POLLIN)
    while not apic.arrived():
        assert poll.poll(10_000), "no frame in ten seconds"


def test_told_of_nothing_is_no_error_and_told_of_a_frame_is_that_frame(controllers: tuple[Apic, Apic]) -> None:
    sender, receiver = controllers
    receiver.told = True
    receiver.collect()
    assert not receiver.told and not receiver.in_hand
    for vector in (Vector.RESCHEDULE, Vector.CALL_FUNCTION):
        assert sender.send(0, vector)
        wait_for_frame(receiver)
        receiver.told = True
        receiver.collect()
        assert not receiver.told
        [ticket] = receiver.deliverable()
        assert receiver.take(ticket) == (vector, sender.who)
    assert not receiver.in_hand


def test_a_frame_that_nobody_told_of_is_collected(controllers: tuple[Apic, Apic]) -> None:
    sender, receiver = controllers
    sender.send(0, Vector.RESCHEDULE)
    wait_for_frame(receiver)
    receiver.collect()
    assert len(receiver.deliverable()) == 1


@pytest.mark.timeout(20)
def test_closed_beside_a_peer_that_died_with_a_frame_unread(tmp_path: Path) -> None:
    """It listens, never greets, and is killed: what was sent to it can go nowhere, and nobody waits for that."""
    image = create_ram(tmp_path, Dimensions(cpus=1, pages=64, zones=1, tasks=8))
    image.machine.cpus[0].generation = 1
    with tempfile.TemporaryDirectory(prefix="cpuemu-") as sockets:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(socket_path(sockets, 0, 1))
            listening.listen()
            if (peer := os.fork()) == 0:
                signal.pause()
                os._exit(1)
        sender = Apic(image.ram, image.machine, 1, 1, sockets)
        try:
            assert sender.send(0, Vector.RESCHEDULE)
        finally:
            os.kill(peer, signal.SIGKILL)
            os.waitpid(peer, 0)

        def unreachable() -> bool:
            try:
                sender.socket.send(routing_id(0, 1), MORE)
                sender.socket.send(b"", LAST)
            except zmq.ZMQError as error:
                return error.errno == zmq.EHOSTUNREACH
            return False

        wait_for(unreachable, 5, "the peer's death is noticed")
        sender.close(linger_ms=0)
