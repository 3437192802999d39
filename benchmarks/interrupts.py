"""Interrupts between CPUs, against messages of libzmq in C: one way, there and back, to everybody."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from benchmarks.compiled import build
from benchmarks.host import libzmq
from benchmarks.machines import inside
from benchmarks.measure import Goal, Missing, Row, Settings, median
from cpuemu.events import Event
from cpuemu.layout import Vector
from cpuemu.report.image import Image
from cpuemu.report.records import Record, records

CALLS, BROADCASTS, STOPS = 1000, 200, 40
WARMUP = 10
SIZES = (2, 8, 64)

CALL_NOTE = ("smp_call_function_single to an idle CPU, and wait.  Ours sends one message, is answered by a store and a "
             "doorbell, and does what v3.2 does: csd and queue under a lock, points, handler, wait record, trace.  C "
             "sends a message of the same size and gets one back, and does nothing else")
ONE_WAY_NOTE = "from raised to taken; C from zmq_send to zmq_recv's return"
BROADCAST_NOTE = ("on_each_cpu of nothing to idle CPUs, and wait for all.  Ours walks v3.2's one queue on every CPU, "
                  "and the last one rings.  C sends each a message and gets one from each")
CALL_EVENTS = (Event.CSD_QUEUE_CPU, Event.IPI_RAISE, Event.IPI_ENTRY, Event.CSD_FUNCTION_ENTRY, Event.CSD_FUNCTION_EXIT)
STAGES = ("csd queued → interrupt raised", "raised → taken", "taken → function", "the function",
          "answered → next csd queued")
STAGE_NOTE = "where a call's time goes: medians between trace events, the last one through the loop that calls"
DRAIN_NOTE = "drain_all_pages as v3.2 does it, lists nearly empty; C as for the broadcast"
STOP_NOTE = "stop_machine of an empty function, all other CPUs idle: four states, each acknowledged by every CPU"


class Messages:
    """c/messages.c."""

    def __init__(self, directory: Path) -> None:
        self.library, self.program = libzmq(), build("messages.c", directory / "messages")

    def microseconds(self, receivers: int, rounds: int) -> tuple[float, float]:
        """Medians of one way and of a round."""
        with tempfile.TemporaryDirectory() as sockets:
            command = [str(self.program), str(self.library), sockets, str(receivers), str(rounds), str(WARMUP)]
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=120)
            except subprocess.TimeoutExpired:
                raise Missing("libzmq's answer: benchmarks/c/messages.c did not end") from None
        if done.returncode:
            raise Missing(f"libzmq in C: {done.stderr.strip()}")
        one_way, both = ([int(each) / 1000 for each in line.split()] for line in done.stdout.splitlines())
        return median(one_way), median(both)


def interrupts(settings: Settings) -> Iterator[Row]:
    """Microseconds of one call to one CPU, and of one to seven."""
    try:
        messages, missing = Messages(settings.directory), ""
    except Missing as why:
        messages, missing = None, str(why)
    one = Row("IPI, one way", "µs", [], note=ONE_WAY_NOTE, missing=missing)
    call = Row("call and acknowledgement", "µs", [], goal=Goal(ratio=1.5), note=CALL_NOTE, missing=missing)
    rounds, parts = settings.rounds(CALLS), [Row(f"… {stage}", "µs", [], note=STAGE_NOTE) for stage in STAGES]
    for _ in range(settings.repeat):
        took = inside(2, lambda image: stages(image, parts), one_way=rounds, call=rounds)
        one.ours.append(median(took["one_way"]) / 1000)
        call.ours.append(median(took["call"]) / 1000)
        if messages:
            for row, theirs in zip((one, call), messages.microseconds(1, rounds), strict=True):
                row.theirs.append(theirs)
    yield one
    yield call
    yield from parts
    broadcast = Row("broadcast to 7, wait for all", "µs", [], goal=Goal(ratio=2.0), note=BROADCAST_NOTE,
                    missing=missing)
    rounds = settings.rounds(BROADCASTS)
    for _ in range(settings.repeat):
        broadcast.ours.append(median(inside(8, broadcast=rounds)["broadcast"]) / 1000)
        if messages:
            broadcast.theirs.append(messages.microseconds(7, rounds)[1])
    yield broadcast


def stages(image: Image, parts: Sequence[Row]) -> None:
    """Where the time of a call goes, from the machine's own trace: the median of each stage to its row."""
    times: list[int] = []
    for record in records(image):
        if record.event == CALL_EVENTS[len(times) % len(CALL_EVENTS)] and _of_a_call(record):
            times.append(record.time_ns)
    took = [(after - before) / 1000 for before, after in pairwise(times)]
    for number, part in enumerate(parts):
        part.ours.append(median(took[number :: len(CALL_EVENTS)]))


def _of_a_call(record: Record) -> bool:
    return record.event not in (Event.IPI_RAISE, Event.IPI_ENTRY) or record.args[1] == Vector.CALL_FUNCTION_SINGLE


def barriers(settings: Settings) -> Iterator[Row]:
    """Microseconds of drain_all_pages and of stop_machine, by the number of CPUs."""
    try:
        messages, missing = Messages(settings.directory), ""
    except Missing as why:
        messages, missing = None, str(why)
    for cpus in SIZES[:2] if settings.quick else SIZES:
        drain = Row(f"drain_all_pages, {cpus} CPUs", "µs", [], note=DRAIN_NOTE, missing=missing)
        stop = Row(f"stop_machine, {cpus} CPUs", "µs", [], note=STOP_NOTE)
        drains = settings.rounds(BROADCASTS if cpus <= 8 else STOPS)
        for _ in range(settings.repeat):
            took = inside(cpus, drain=drains, stop_machine=settings.rounds(STOPS))
            drain.ours.append(median(took["drain"]) / 1000)
            stop.ours.append(median(took["stop_machine"]) / 1000)
            if messages:
                drain.theirs.append(messages.microseconds(cpus - 1, drains)[1])
        yield drain
        yield stop
