"""Packets of a Perfetto trace, and the tracks that they are about."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as protos

SEQUENCE = 1
"""All packets are of one writer."""
TOGETHER = 500
"""Packets serialized at a time."""
TRACK = protos.TrackDescriptor
EVENT = protos.TrackEvent

Notes = Mapping[str, str | int]
"""What a click on a slice shows beside its name."""


@dataclass
class Track:
    """A row of the timeline.  ``open``: its slices under way, outermost first."""

    uuid: int
    open: list[Hashable] = field(default_factory=list)


class Packets:
    """Written as they come: a Trace message cut into pieces is the same bytes as the whole."""

    def __init__(self, out: BinaryIO, power_on: int) -> None:
        self.out, self.power_on = out, power_on
        self.trace = protos.Trace()
        self.tracks = 0
        self._new().sequence_flags = protos.TracePacket.SEQ_INCREMENTAL_STATE_CLEARED

    def flush(self) -> None:
        self.out.write(self.trace.SerializeToString())
        self.trace = protos.Trace()  # a message that is cleared keeps the memory of all it ever held

    def since_power_on(self, time_ns: int) -> int:
        return max(0, time_ns - self.power_on)

    def write_bundle(self, bundle: Any) -> None:
        """The ftrace events of a CPU."""
        self._new().ftrace_events.MergeFrom(bundle)

    def _new(self) -> Any:
        if len(self.trace.packet) >= TOGETHER:
            self.flush()
        packet = self.trace.packet.add()
        packet.trusted_packet_sequence_id = SEQUENCE
        return packet

    # --- tracks --------------------------------------------------------------------------------------------

    def track(self, name: str, parent: Track | None = None, rank: int = 0) -> Track:
        """A row; its place among its siblings is ``rank``."""
        return self._described(name, parent, rank)[0]

    def counter(self, name: str, parent: Track, rank: int, axis: str) -> Track:
        """A row that shows a number; those of one ``axis`` share its scale."""
        track, descriptor = self._described(name, parent, rank)
        descriptor.counter.unit_name = "pages"
        descriptor.counter.y_axis_share_key = axis
        return track

    def process(self, name: str, pid: int) -> Track:
        track, descriptor = self._described("", None, 0)
        descriptor.process.pid, descriptor.process.process_name = pid, name
        return track

    def thread(self, name: str, pid: int, tid: int) -> Track:
        track, descriptor = self._described("", None, 0)
        descriptor.thread.pid, descriptor.thread.tid, descriptor.thread.thread_name = pid, tid, name
        return track

    def _described(self, name: str, parent: Track | None, rank: int) -> tuple[Track, Any]:
        self.tracks += 1
        descriptor = self._new().track_descriptor
        descriptor.uuid = self.tracks
        descriptor.child_ordering = TRACK.EXPLICIT
        if name:
            descriptor.name = name
        if parent is not None:
            descriptor.parent_uuid, descriptor.sibling_order_rank = parent.uuid, rank
        return Track(self.tracks), descriptor

    # --- what happens on them ------------------------------------------------------------------------------

    def begin(self, track: Track, time_ns: int, name: str, key: Hashable, notes: Notes | None = None,
              flows: Iterable[int] = (), last: Iterable[int] = ()) -> None:
        """A slice begins; ``key`` ends it.  ``flows``: arrows through it; ``last``: arrows that end at it."""
        track.open.append(key)
        self._event(track, time_ns, EVENT.TYPE_SLICE_BEGIN, name, notes, flows, last)

    def end(self, track: Track, time_ns: int, key: Hashable) -> None:
        """Whatever has begun inside it and was not seen to end ends with it; what was not seen to begin is nothing."""
        if key not in track.open:
            return
        while True:
            inner = track.open.pop()
            self._event(track, time_ns, EVENT.TYPE_SLICE_END)
            if inner == key:
                return

    def instant(self, track: Track, time_ns: int, name: str, notes: Notes | None = None, flows: Iterable[int] = (),
                last: Iterable[int] = ()) -> None:
        self._event(track, time_ns, EVENT.TYPE_INSTANT, name, notes, flows, last)

    def count(self, track: Track, time_ns: int, value: int) -> None:
        self._event(track, time_ns, EVENT.TYPE_COUNTER).counter_value = value

    def _event(self, track: Track, time_ns: int, kind: int, name: str = "", notes: Notes | None = None,
               flows: Iterable[int] = (), last: Iterable[int] = ()) -> Any:
        packet = self._new()
        packet.timestamp = self.since_power_on(time_ns)
        event = packet.track_event
        event.type, event.track_uuid = kind, track.uuid
        if name:
            event.name = name
        event.flow_ids.extend(flows)
        event.terminating_flow_ids.extend(last)
        for key, value in (notes or {}).items():
            note = event.debug_annotations.add()
            note.name = key
            if isinstance(value, str):
                note.string_value = value
            else:
                note.int_value = value
        return event
