"""A look at the machine as lines of text, as wide and as high as the terminal.

Calm: everything keeps its place and its width.  Quiet: no colour for what is ordinary, yellow for states that matter
(spinning, interrupts off, memory below its low watermark), red only for what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rich.text import Text

from cpuemu.cli.look import CpuRow, Look, Status, Watcher, ZoneGauge
from cpuemu.cli.progress import short
from cpuemu.coordinator.launcher import Progress

DIM, NOTABLE, WRONG = "dim", "yellow", "bold red"
STYLES = {
    Status.IDLE: DIM, Status.OFFLINE: DIM, Status.STARTING: DIM, Status.LEAVING: NOTABLE, Status.IRQS_OFF: NOTABLE,
    Status.SPINNING: NOTABLE, Status.HOST_STOPPED: "bold yellow", Status.DIED: WRONG,
}
LETTERS = {
    Status.IDLE: "·", Status.USER: "u", Status.KERNEL: "k", Status.INTERRUPT: "i", Status.WAITING: "w",
    Status.IRQS_OFF: "x", Status.SPINNING: "s", Status.STARTING: "+", Status.LEAVING: "-", Status.OFFLINE: "_",
    Status.HOST_STOPPED: "H", Status.DIED: "D",
}
"""For the map of all CPUs, where not each has a row."""

LABEL = 10
"""Columns before a bar or a sentence."""
WIDEST_BAR = 60


@dataclass(frozen=True)
class Column:
    """Of the table of CPUs.  ``least``: the width of the terminal from which on it is shown."""

    title: str
    width: int
    cell: Callable[[CpuRow], str]
    right: bool = False
    least: int = 0

    def text(self, value: str) -> str:
        value = value if len(value) <= self.width else value[:self.width - 1] + "…"
        return f"{value:>{self.width}}" if self.right else f"  {value:<{self.width}}"


COLUMNS = (
    Column("CPU", 4, lambda row: str(row.number), right=True),
    Column("state", 12, lambda row: row.status.value),
    Column("task", 13, lambda row: row.task, least=72),
    Column("pcp", 5, lambda row: str(row.pcp), right=True),
    Column("IPIs", 7, lambda row: short(row.ipis), right=True, least=50),
    Column("steps/s", 8, lambda row: short(int(row.steps)) if row.task else "", right=True, least=40),
)


def screen(watcher: Watcher, progress: Progress, now_ns: int, size: tuple[int, int], title: str,
           goal_s: float | None) -> Text:
    """All lines, at most as many as fit.  ``goal_s``: seconds after which the run is ended, if it is by time."""
    width, height = size
    cpus = watcher.machine.dims.cpus
    fixed = 7 + watcher.machine.dims.zones + bool(progress.note) + bool(watcher.machine.header.nr_findings)
    room = max(1, height - 1 - fixed)
    rows = cpus if cpus <= room else max(1, room - 1 - len(_map([Status.IDLE] * cpus, width)))
    look = watcher.look(now_ns, rows)
    lines = [_title(title, progress, width), Text(), *_table(look, width)]
    if look.hidden:
        lines += [_more(look), *_map(look.statuses, width)]
    lines += [Text(), *_zones(look.zones, width), _hotplug(progress, look), _pages(progress, look),
              _work(progress, look, goal_s, width)]
    if progress.note:
        lines.append(Text(f" {progress.note}", NOTABLE))
    if look.finding:
        lines.append(Text(f" finding: {look.finding}", NOTABLE if "(known: " in look.finding else WRONG))
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return Text("\n", no_wrap=True, end="").join(lines[:height])


def _title(title: str, progress: Progress, width: int) -> Text:
    phase = f"{progress.phase} {progress.seconds:6.1f} s "
    line = Text(f" {title}", DIM)
    line.truncate(max(0, width - len(phase) - 1), overflow="ellipsis", pad=True)
    return line.append(f" {phase}", "bold")


# --- CPUs --------------------------------------------------------------------------------------------------


def _table(look: Look, width: int) -> list[Text]:
    columns = [column for column in COLUMNS if width >= column.least]
    heading = "".join(column.text(column.title) for column in columns) + "  waits for"
    return [Text(heading, DIM), *(_row(columns, row) for row in look.cpus)]


def _row(columns: list[Column], row: CpuRow) -> Text:
    ordinary = DIM if STYLES.get(row.status) == DIM else ""
    line = Text(style=ordinary)
    for column in columns:
        line.append(column.text(column.cell(row)), STYLES.get(row.status, "") if column.title == "state" else None)
    return line.append(f"  {row.waits}", NOTABLE if row.long_wait and not ordinary else DIM)


def _more(look: Look) -> Text:
    """How many have no row, and what they do: the legend of the map too."""
    digits = len(str(len(look.statuses)))
    line = Text(f"   … {look.hidden.total():>{digits}} more:", DIM)
    for status in Status:
        if count := look.hidden[status]:
            line.append(f"  {LETTERS[status]} {count:>{digits}} {status.value}", STYLES.get(status, ""))
    return line


def _map(statuses: list[Status], width: int) -> list[Text]:
    """A letter for each CPU, in groups of eight."""
    a_line = next((cpus for cpus in (128, 64, 32) if width >= 6 + cpus + cpus // 8), 16)
    lines = []
    for first in range(0, len(statuses), a_line):
        line = Text(f"{first:>4}  ", DIM)
        for number, status in enumerate(statuses[first:first + a_line]):
            line.append(" " * (number > 0 and number % 8 == 0) + LETTERS[status], STYLES.get(status, ""))
        lines.append(line)
    return lines


# --- the machine -------------------------------------------------------------------------------------------


def _label(name: str) -> Text:
    return Text().append(f" {name:<{LABEL - 1}}", DIM)


def _zones(zones: list[ZoneGauge], width: int) -> list[Text]:
    """Free pages as a bar.  Not to scale: half of it is below the high watermark, where it matters."""
    pages = max(len(f"{zone.managed:,}") for zone in zones)
    marks = max(len(f"{zone.high:,}") for zone in zones)
    lines = []
    for zone in zones:
        tail = f"  {zone.free:>{pages},} free"
        if width >= 72:
            tail += f"  min {zone.min:>{marks},}  low {zone.low:>{marks},}  high {zone.high:>{marks},}"
        cells = max(10, min(WIDEST_BAR, width - LABEL - len(tail) - 1))
        line = _label(zone.name) + gauge(zone, cells)
        lines.append(line.append(tail, NOTABLE if zone.free < zone.low else ""))
    return lines


def gauge(zone: ZoneGauge, cells: int) -> Text:
    """``━━━╋━╋━╋━━━━────``: min, low and high stand at the same places in every zone."""
    values = (0, zone.min, zone.low, zone.high, max(zone.managed, zone.high + 1))
    places = (0.0, 0.2, 0.35, 0.5, 1.0)
    full = 0.0
    for below, above, start, end in zip(values, values[1:], places, places[1:], strict=False):
        if zone.free > below:
            full = start + (end - start) * min(1.0, (zone.free - below) / max(1, above - below))
    return bar(full, cells, NOTABLE if zone.free < zone.low else "", {int(place * cells) for place in places[1:4]})


def bar(share: float, cells: int, style: str = "", marks: set[int] | frozenset[int] = frozenset()) -> Text:
    full = round(share * cells)
    line = Text()
    line.append("".join("╋" if cell in marks else "━" for cell in range(full)), style)
    return line.append("".join("┼" if cell in marks else "─" for cell in range(full, cells)), DIM)


def _hotplug(progress: Progress, look: Look) -> Text:
    line = _label("hotplug")
    if progress.hotplug:
        return line.append(progress.hotplug + (f"; {look.barrier}" if look.barrier else ""))
    return line.append(f"{look.counts['offline']:,} offline, {look.counts['online']:,} online so far", DIM)


def _pages(progress: Progress, look: Look) -> Text:
    counts = {"allocated": progress.allocs, "freed": progress.frees, **look.counts}
    return _label("pages").append(" ".join(
        f"{short(counts[name]):>{width}} {name}" for name, width in (
            ("allocated", 6), ("freed", 7), ("drains", 6), ("reclaims", 6), ("OOM", 5))))


def _work(progress: Progress, look: Look, goal_s: float | None, width: int) -> Text:
    """How much is done, and how long the rest takes at the pace so far."""
    of, share, what = _goal(progress, look, goal_s)
    line = _label(what)
    if share is None:
        return line.append(of)
    left = _left(share, progress.running)
    tail = f"  {share:4.0%}{of}{left:>13}"
    return line + bar(share, max(10, min(WIDEST_BAR, width - LABEL - len(tail) - 1))).append(tail)


def _goal(progress: Progress, look: Look, goal_s: float | None) -> tuple[str, float | None, str]:
    """Of how much, the share that is done, and the name of the line."""
    if progress.total:
        return f" of {progress.total:,} lines", progress.done / progress.total, "replay"
    by_time = None if goal_s is None else min(1.0, progress.running / goal_s)
    shares = [share for share in (look.done, by_time) if share is not None]
    if not shares:
        return f"{look.tasks_done:,} of {look.tasks:,} tasks have ended", None, "work"
    return "", max(shares), "work" if max(shares) == look.done else "time"


def _left(share: float, seconds: float) -> str:
    if not 0.01 <= share < 1 or seconds < 1:
        return ""
    left = seconds * (1 - share) / share
    return f"{left:.0f} s left" if left < 100 else f"{left // 60:.0f}:{left % 60:02.0f} left"
