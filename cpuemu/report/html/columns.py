"""What was collected as columns of numbers: what the scripts of the page unpack (data.js).

Numbers that rise are written as differences: they compress to a fraction.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable, Iterator
from typing import Any

from cpuemu.coordinator.verdict import LATENCIES, bucket_ns, histogram_summary
from cpuemu.events import BY_ID, REASONS, Event
from cpuemu.layout import HISTOGRAM_STEPS, Latency, Machine, Wmark
from cpuemu.report.html.collect import Collected, complete_since
from cpuemu.report.html.lives import LIVES, page_runs
from cpuemu.report.html.slices import KIND_NAMES, VECTOR_KINDS, Kind

BARS_PER_OCTAVE = 4
"""Of a latency histogram as drawn; RAM has 16."""
SUGGESTED = 12
"""Pages that a reader is offered to look at."""


def columns(found: Collected) -> dict[str, Any]:
    """Everything, by the names that the scripts use.  Times in ns since power-on."""
    image = found.image
    machine = image.machine
    _, pages = complete_since(found)
    return {
        "cpus": machine.dims.cpus, "end": found.end,
        "slices": _slices(found), "labels": list(found.timeline.slices.labels),
        "kinds": [{"key": kind.name.lower().replace("_", "-"), "name": KIND_NAMES[kind]} for kind in Kind],
        "vectors": [name.removesuffix("s") for name in REASONS], "vectorKinds": VECTOR_KINDS,
        "arrows": _arrows(found),
        "missed": [[at, *way] for at, way in found.interrupts.missed],
        "sent": [[*way, count] for way, count in sorted(found.interrupts.sent.items())],
        "marks": found.marks, "levels": _levels(found, pages),
        "latencies": [each for name, kind in LATENCIES.items() if (each := _latency(machine, name, kind))["n"]],
        "lives": _lives(found),
    }


def _deltas(numbers: Iterable[int]) -> list[int]:
    """The first, then by how much each is more than the one before it: small numbers compress."""
    found, last = [], 0
    for number in numbers:
        found.append(number - last)
        last = number
    return found


def _slices(found: Collected) -> list[dict[str, Any]]:
    rows = []
    for place, slices in sorted(found.timeline.slices.rows.items()):
        slices.sort(key=lambda each: each.start)
        many = {index: [each.count, each.busy] for index, each in enumerate(slices) if each.count > 1}
        rows.append({
            "lane": place.lane, "row": place.row, "start": _deltas(each.start for each in slices),
            "length": [each.end - each.start for each in slices], "kind": [each.kind for each in slices],
            "label": [each.label for each in slices], "many": many,
        })
    return rows


def _arrows(found: Collected) -> dict[str, list[int]]:
    arrows = sorted(((arrow.start, arrow.end, way, arrow) for (way, _), arrow in found.interrupts.arrows.items()),
                    key=lambda each: each[:3])
    return {
        "start": _deltas(start for start, *_ in arrows), "length": [end - start for start, end, *_ in arrows],
        "source": [way.source for *_, way, _ in arrows], "target": [way.target for *_, way, _ in arrows],
        "vector": [way.vector for *_, way, _ in arrows], "count": [arrow.count for *_, arrow in arrows],
        "longest": [arrow.longest for *_, arrow in arrows],
    }


def _levels(found: Collected, complete: dict[int, int]) -> dict[str, Any]:
    machine, levels = found.image.machine, found.levels
    if not any(event in found.events for event in LIVES):
        return {"width": 0, "zones": [], "cpus": []}
    everywhere = max(complete.values(), default=0)
    control = complete.get(0, 0)  # CPU 0 empties the lists of CPUs that are gone
    zones = []
    for zone in machine.zones:
        marks = [zone.wmark[mark] for mark in (Wmark.MIN, Wmark.LOW, Wmark.HIGH)]
        zones.append({"name": zone.name, "marks": marks, "managed": zone.managed,
                      **_level(levels.zone(zone.index, everywhere))})
    cpus = [_level(levels.cpu(cpu, max(complete.get(cpu, 0), control))) for cpu in range(machine.dims.cpus)]
    return {"width": levels.width, "zones": zones, "cpus": cpus}


def _level(points: Iterator[tuple[int, int, int, int]]) -> dict[str, list[int]]:
    found = list(points)
    return {"at": _deltas(at for at, *_ in found), "low": [low for _, low, *_ in found],
            "high": [high for *_, high, _ in found], "last": [last for *_, last in found]}


def _latency(machine: Machine, name: str, kind: Latency) -> dict[str, Any]:
    step = HISTOGRAM_STEPS // BARS_PER_OCTAVE
    bars: Tally[int] = Tally()
    for cpu in range(machine.dims.cpus):
        histogram = machine.histogram(cpu, kind)
        if histogram.n:
            for index, count in enumerate(histogram.buckets):
                if count:
                    bars[index // step] += count
    return {"name": name, **histogram_summary(machine, kind), "bars": [
        [bucket_ns(bar * step), bucket_ns((bar + 1) * step), count] for bar, count in sorted(bars.items())]}


def _lives(found: Collected) -> dict[str, Any]:
    image, moments = found.image, found.lives.moments()
    travelled = Tally(each.pfn for each in moments)
    tasks = sorted({each.task for each in moments})
    runs = page_runs(image)
    owners = sorted({owner for *_, owner in runs or () if owner < image.machine.dims.tasks})
    return {
        "total": found.lives.total, "pages": image.machine.dims.pages,
        "suggested": [*sorted(found.lives.named), *(pfn for pfn, _ in travelled.most_common(8))][:SUGGESTED],
        "named": sorted(found.lives.named),
        "at": _deltas(each.at for each in moments), "pfn": _deltas(each.pfn for each in moments),
        "order": [each.order for each in moments], "cpu": [each.cpu for each in moments],
        "event": [LIVES.index(Event(each.event)) for each in moments],
        "task": [each.task for each in moments],
        "tasks": {task: image.comm(task) for task in sorted({*tasks, *owners})},
        "events": [BY_ID[event].name for event in LIVES],
        "runs": None if runs is None else [list(column) for column in zip(*runs, strict=True)],
    }
