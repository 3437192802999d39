"""A story as text: one column a CPU, time from top to bottom."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Generator, Sequence
from itertools import groupby

from cpuemu.explore.story import Scene, Story, columns
from cpuemu.explore.witness import Move, Stand

NARROWEST = 16
"""Columns narrower than this become one."""
GAP = 1
NUMBER = 5
WRAPPERS = ("raw_spin_lock", "spin_lock", "spin_lock_irqsave", "wait_event")
"""Functions that say nothing of who waits in them."""
_LONG = re.compile(r"(\s+)")
LEGEND = "→ interrupt sent, ⇒ interrupt taken, · steps that no other CPU could notice, or the scheduler's"


def text(story: Story, width: int, everything: bool = False) -> Generator[str]:
    """Lines no wider than ``width``.  ``everything``: also what others cannot see, and the scheduler's steps."""
    names = columns(story)
    column = (width - NUMBER) // len(names)
    layout: _Columns | _Lines = _Columns(names, column) if column >= NARROWEST else _Lines(width)
    for line in (story.head, *story.programs):
        yield from textwrap.wrap(line, width, subsequent_indent="  ")
    yield ""
    yield from layout.head()
    last: dict[int | None, str] = {}
    for aside, scenes in groupby(story.scenes, lambda scene: (scene.move.cpu, scene.aside and not everything)):
        group = list(scenes)
        if aside[1]:
            yield from layout.row(group[0], [_summary(group)])
            last.pop(aside[0], None)
            continue
        for scene in group:
            yield from layout.row(scene, _told(scene, last.get(aside[0], "")))
            last[aside[0]] = scene.move.point.partition(":")[0] if scene.move.does != "takes" else ""
    if story.scenes and not story.waits:
        rule = re.split(r"[:( ]", story.message)[0] if story.verdict == "failed" else story.verdict
        yield from layout.lines("", story.scenes[-1].move.cpu, [f"✗ {rule}"])
    yield from _end(story, layout, width)


class _Columns:
    def __init__(self, names: Sequence[str], width: int) -> None:
        self.names, self.width = names, width

    def head(self) -> Generator[str]:
        yield (" " * NUMBER + "".join(name.ljust(self.width) for name in self.names)).rstrip()
        yield " " * NUMBER + "".join(("─" * (self.width - GAP)).ljust(self.width) for _ in self.names).rstrip()

    def row(self, scene: Scene, sentences: Sequence[str]) -> Generator[str]:
        yield from self.lines(f"{scene.step + 1:>4}", scene.move.cpu, sentences)

    def lines(self, number: str, cpu: int | None, sentences: Sequence[str]) -> Generator[str]:
        indent = self.width * (cpu if cpu is not None else len(self.names) - 1)
        for sentence in sentences:
            for line in _wrapped(sentence, self.width - GAP):
                yield f"{number:<{NUMBER}}{' ' * indent}{line}".rstrip()
                number = ""

    def together(self, parts: dict[int, list[str]]) -> Generator[str]:
        """Something of every CPU, side by side."""
        wrapped = {cpu: [line for sentence in sentences for line in _wrapped(sentence, self.width - GAP)]
                   for cpu, sentences in parts.items()}
        for at in range(max(map(len, wrapped.values()))):
            yield " " * NUMBER + "".join((wrapped[cpu][at] if at < len(wrapped[cpu]) else "").ljust(self.width)
                                         for cpu in sorted(wrapped)).rstrip()


class _Lines:
    """For many CPUs: a line says whose it is."""

    def __init__(self, width: int) -> None:
        self.width = width

    def head(self) -> Generator[str]:
        yield from ()

    def row(self, scene: Scene, sentences: Sequence[str]) -> Generator[str]:
        yield from self.lines(f"{scene.step + 1:>4}", scene.move.cpu, sentences)

    def lines(self, number: str, cpu: int | None, sentences: Sequence[str]) -> Generator[str]:
        who = f"cpu {cpu}" if cpu is not None else "plug"
        for line in _wrapped("  ".join(sentences), self.width - NUMBER - 8):
            yield f"{number:<{NUMBER}}{who:<8}{line}".rstrip()
            number = who = ""

    def together(self, parts: dict[int, list[str]]) -> Generator[str]:
        for cpu, sentences in sorted(parts.items()):
            yield from self.lines("", cpu, sentences)


def _wrapped(sentence: str, width: int) -> list[str]:
    indent = len(sentence) - len(sentence.lstrip())
    first, *rest = _LONG.split(sentence.strip())
    fits = [*_pieces(first, width - indent), *(piece for word in rest for piece in _pieces(word, width - indent - 2))]
    return textwrap.wrap(" " * indent + "".join(fits), width, subsequent_indent=" " * (indent + 2),
                         break_on_hyphens=False)


def _pieces(word: str, width: int) -> Generator[str]:
    """A word that does not fit into a line is broken where its parts end."""
    while len(word) > width:
        at = max(word.rfind(mark, 1, width) for mark in "_.[") + 1 or width
        yield word[:at] + " "
        word = word[at:]
    yield word


def _summary(scenes: Sequence[Scene]) -> str:
    """Steps that are nobody else's business."""
    names = dict.fromkeys(scene.move.point.partition(":")[0] for scene in scenes)
    return f"· {', '.join(names)}"


def _told(scene: Scene, last: str) -> list[str]:
    """What a step is: its function, unless that is the last one's, and what it does."""
    move = scene.move
    if move.does == "takes":
        return [f"⇒ {move.vector} from {move.source}"]
    function, _, detail = move.point.partition(":")
    if move.does == "sends":
        return [f"→ {move.vector} to cpu {move.to}"]
    if move.does == "strikes":
        return [f"⚡ {move.actor}"]
    if move.cpu is None:
        return [f"goes on: {move.point}"] if move.point != "a request" else ["begins a request"]
    lines = [] if function == last else [function]
    mark = "*" if scene.key else " "
    lines.append(f"{mark} {_detail(move, detail)}{_does(move)}")
    return lines


def sentence(move: Move) -> str:
    """What somebody is about to do, in one line; in brackets what stands in the word now."""
    if move.does in ("takes", "sends", "walks", "strikes"):
        return " ".join(_told(Scene(0, move), ""))
    if not move.word:
        return f"{move.point}: {_does(move)}"
    if move.does == "locks":
        return f"{move.point}: takes {move.word}"
    does = "waits for" if move.does == "waits" else move.does
    return f"{move.point}: {does} {move.word} ({_value(move, move.before)})"


def _detail(move: Move, detail: str) -> str:
    """The part of the function, unless the word says the same."""
    return "" if not detail or move.word.endswith(detail) else f"{detail}: "


def _does(move: Move) -> str:
    if not move.word:
        return "goes on"
    before, after = _value(move, move.before), _value(move, move.after)
    if move.does == "locks":
        return f"{move.word} taken"
    if move.does == "waits":
        return f"has waited for {move.word}: {before}"
    if before != after:
        return f"{move.word} {before} → {after}"
    return f"{move.word} = {after}"


def _value(move: Move, value: int | None) -> str:
    if value is None:
        return "?"
    if move.mask:
        return "{" + ",".join(str(bit) for bit in range(64) if value >> bit & 1) + "}"
    return str(value) if value < 1 << 16 else f"{value:#x}"


def _end(story: Story, layout: _Columns | _Lines, width: int) -> Generator[str]:
    yield ""
    yield "In the end:"
    yield from layout.together({stand.cpu: _stands(stand) for stand in story.ends})
    yield ""
    for sentence in story.waits or [f"{story.verdict}: {story.message}"]:
        yield from textwrap.wrap(sentence, width, subsequent_indent="  ", break_on_hyphens=False)
    yield ""
    yield from textwrap.wrap((f"* is {story.key}, " if story.key else "") + LEGEND, width)


def _stands(stand: Stand) -> list[str]:
    """A CPU's task and functions, the newest first."""
    names = [name for name in stand.stack if name not in WRAPPERS]
    waits = [f"  waits for {stand.waits}"] if stand.waits else []
    return [stand.task + (", in an interrupt" if stand.handler else ""), *waits, *(f"  {name}" for name in names[:6])]
