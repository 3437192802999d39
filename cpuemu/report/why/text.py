"""``--why`` as text: the paragraph first, which is the answer; then the graph; then everything that stands in RAM."""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Callable, Iterator

from cpuemu.report.crash import calls, locks, log, memory, plugging, waits
from cpuemu.report.crash.reading import Reading, guarded
from cpuemu.report.image import Image
from cpuemu.report.next_steps import again, trace_dump_of
from cpuemu.report.why.case import Case
from cpuemu.report.why.outside import faults_injected
from cpuemu.report.why.paragraph import paragraph
from cpuemu.report.why.sheet import sheets

NARROWEST, WIDEST = 60, 120
LABELLED = re.compile(r"  \w+( \w+)? {2,}| {14}\[")
"""A line of a sheet: what is long goes on below its value."""
SHORT_GRAPH = 24
"""Lines of the graph at the end of a launch."""


def why_text(image: Image, width: int | None = None) -> Iterator[str]:
    """All of it, wrapped to the terminal's width."""
    case = Case(Reading(image))
    reading = case.reading
    width = width or text_width()
    yield from _answer(case, width)
    parts: list[tuple[str, Callable[[], Iterator[str]]]] = [
        ("waits", lambda: waits.graph(reading)),
        ("CPUs", lambda: sheets(reading)),
        ("calls", lambda: calls.csd(reading, [])),
        ("stop_machine and hotplug", lambda: iter([*plugging.stop(reading, []), *plugging.hotplug(reading, [])])),
        ("cpumasks", lambda: plugging.cpumask(reading, [])),
        ("memory", lambda: memory.zone(reading, [])),
        ("locks", lambda: locks.locks(reading, ["-o"])),
    ]
    for title, lines in parts:
        yield from ("", _heading(title, width))
        yield from _folded(guarded(lines, title), width)
    yield from ("", _heading(f"events up to {reading.at(case.moment_ns)}", width))
    yield from guarded(lambda: log.events(reading, case.moment_ns, log.EVENTS), "the trace")
    yield ""
    yield from commands(image)


def why_short(image: Image, width: int | None = None) -> Iterator[str]:
    """What a launch that ends badly prints: the paragraph, the graph, where there is more."""
    case = Case(Reading(image))
    width = width or text_width()
    yield from _answer(case, width)
    if case.waits:
        graph = list(_folded(guarded(lambda: waits.graph(case.reading, case.waits), "waits"), width))
        yield ""
        yield from graph[:SHORT_GRAPH]
        if len(graph) > SHORT_GRAPH:
            yield f"  … {len(graph) - SHORT_GRAPH} lines more"


def commands(image: Image) -> Iterator[str]:
    """What to type next."""
    yield f"ask on:    {trace_dump_of(image, '--shell')}    (or --cmd 'bt -a', --cmd help, …)"
    command = again(image)
    if command:
        yield f"run again: {command}"


def text_width() -> int:
    return max(NARROWEST, min(WIDEST, shutil.get_terminal_size((100, 24)).columns))


def _answer(case: Case, width: int) -> Iterator[str]:
    verdict = case.reading.image.verdict.get("verdict")
    injected = faults_injected(case)
    said = f"verdict {verdict}" if verdict else "no verdict"
    rule = f", {case.finding.rule}" if case.finding is not None else ""
    yield f"why: {said}{rule}{f' (injected: {injected})' if injected else ''}"
    yield ""
    for text in guarded(lambda: iter([paragraph(case)]), "the story"):
        for line in textwrap.wrap(text, width, initial_indent="  ", subsequent_indent="  ", break_long_words=False,
                                  break_on_hyphens=False):
            yield line.replace("\u00a0", " ")  # between a number and its unit no line ends


def _heading(title: str, width: int) -> str:
    return f"-- {title} ".ljust(min(width, 78), "-")


def _folded(lines: Iterator[str], width: int) -> Iterator[str]:
    """Long lines go on below, further in."""
    for line in lines:
        label = LABELLED.match(line)
        inside = label.end() if label else len(line) - len(line.lstrip()) + 4
        yield from textwrap.wrap(line, width, subsequent_indent=" " * inside, break_long_words=False,
                                 break_on_hyphens=False, drop_whitespace=True, replace_whitespace=False) or [""]
