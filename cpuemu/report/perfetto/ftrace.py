"""The records as Perfetto's own ftrace events, for its tables and its scheduling tracks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as protos

from cpuemu.events import BY_ID, Event
from cpuemu.layout import TaskState
from cpuemu.report.fields import FIELDS, Args, Kind
from cpuemu.report.image import Image
from cpuemu.report.json_lines import value_of
from cpuemu.report.perfetto.packets import Packets
from cpuemu.report.records import Record
from cpuemu.report.text import names_of

TOGETHER = 256
"""Events of a CPU in one bundle."""
KERNELS_STATE: dict[int, int] = {TaskState.INTERRUPTIBLE: 1, TaskState.UNINTERRUPTIBLE: 2, TaskState.DEAD: 16}
"""prev_state as the kernel numbers it; any other is 0, running."""

Fill = Callable[[Any, Args], None]


class Ftrace:
    """Bundles of the events of each CPU, written when they are full."""

    def __init__(self, packets: Packets, image: Image) -> None:
        self.packets, self.image = packets, image
        self.names = names_of(image)
        self.values = value_of(self.names)
        self.fills = {int(event): self._fill(event) for event in FIELDS}
        self.bundles: dict[int, Any] = {}

    def add(self, record: Record) -> None:
        fill = self.fills.get(record.event)
        if fill is None:
            return  # of another version of cpuemu
        bundle = self.bundles.get(record.cpu)
        if bundle is None:
            bundle = self.bundles[record.cpu] = protos.FtraceEventBundle(cpu=record.cpu)
        event = bundle.event.add()
        event.timestamp = max(0, record.time_ns - self.packets.power_on)
        event.pid = self.names.pid(record.task)
        try:
            fill(event, record.args)
        except ValueError:
            del bundle.event[-1]  # a number that is too large for its field: a ring may hold anything
        if len(bundle.event) >= TOGETHER:
            self._write(bundle)

    def flush(self) -> None:
        for bundle in list(self.bundles.values()):
            self._write(bundle)

    def _write(self, bundle: Any) -> None:
        self.packets.write_bundle(bundle)
        # A new one: a message that is cleared keeps the memory of all it ever held.
        self.bundles[bundle.cpu] = protos.FtraceEventBundle(cpu=bundle.cpu)

    def _fill(self, event: Event) -> Fill:
        """How an event's arguments become its message: field by field, under the kernel's names."""
        name = BY_ID[event].name
        known = protos.FtraceEvent.DESCRIPTOR.fields_by_name.get(name)
        if known is None:
            return self._generic(event)
        setters: list[tuple[str, Callable[[Args], Any]]] = []
        theirs = known.message_type.fields_by_name
        for field in FIELDS[event]:
            if field.name in theirs:
                value = self.values[field.kind]
                if theirs[field.name].type == FieldDescriptor.TYPE_STRING:
                    setters.append((field.name, _text(field.of, value)))
                else:
                    setters.append((field.name, _of(field.of, value) if field.kind is Kind.PID else field.of))
        setters += _special(event)

        def fill(message: Any, args: Args) -> None:
            inner = getattr(message, name)
            for key, value in setters:
                setattr(inner, key, value(args))

        return fill

    def _generic(self, event: Event) -> Fill:
        """An event that Perfetto has no message for."""
        name = BY_ID[event].name
        fields = [(field.name, _of(field.of, self.values[field.kind])) for field in FIELDS[event]]

        def fill(message: Any, args: Args) -> None:
            generic = message.generic
            generic.event_name = name
            for key, value in fields:
                told = value(args)
                each = generic.field.add()
                each.name = key
                if isinstance(told, str):
                    each.str_value = told
                else:
                    each.uint_value = int(told) if told is not None else 0

        return fill


def _of(number: Callable[[Args], int], value: Callable[[int], Any]) -> Callable[[Args], Any]:
    return lambda args: value(number(args))


def _text(number: Callable[[Args], int], value: Callable[[int], Any]) -> Callable[[Args], str]:
    """A number without a name is told as a number."""
    return lambda args: str(value(number(args)))


def _special(event: Event) -> list[tuple[str, Callable[[Args], Any]]]:
    """What Perfetto has otherwise than the kernel's format file, or counts otherwise than we do."""
    if event == Event.IPI_RAISE:
        return [("target_cpus", lambda args: 1 << args[0] if args[0] < 32 else 0)]
    if event == Event.SCHED_SWITCH:
        return [("prev_state", lambda args: KERNELS_STATE.get(args[1], 0))]
    if event == Event.SCHED_WAKEUP:
        return [("success", lambda args: 1)]
    return []
