"""Writes docs/trace-events.md from the declaration in cpuemu/events.py: python -m tools.document_events."""

from __future__ import annotations

from pathlib import Path

from cpuemu.events import EVENT_TYPES, SINCE, EventType, Names, Ring

PAGE = Path(__file__).resolve().parent.parent / "docs" / "trace-events.md"

INTRODUCTION = """\
# Trace events

Written by `python -m tools.document_events` from `cpuemu/events.py`.

`trace-dump` prints these as ftrace text, with the kernel's names, fields and layout, so that scripts made for
`trace_pipe` take them. Linux 3.2 did not trace all of this: page events have the names of 3.3 and later; interrupts,
calls and hotplug have the first names that Linux gave them. What only cpuemu has begins with `cpuemu_`.

A record is 32 bytes, little endian: time (u64, CLOCK_MONOTONIC in ns), sequence number (u32, from 1), event (u8),
flags (u8: 1 interrupts off, 2 need_resched, 4 in an interrupt; the upper four bits are the preempt depth), task (u16),
and four arguments (u32). `RUN_DIR/rings` holds the last ones of each CPU in two rings; `--trace all` also writes all of
them to `cpuN.ringR.trace`.

Differences from a kernel's own trace: `page=` is the address that the page's `struct page` would have; `callsite=` and
the function in `cpuhp_enter` are names of places in the emulated kernel; `pid` is the number of the task, 0 for the
idle ones; migratetypes are numbered as in 3.2 (0 unmovable, 1 reclaimable, 2 movable, 3 reserve).
"""


def _example(kind: EventType) -> str:
    """The event's text with plausible arguments."""
    names = Names(site=lambda _: "PLACE", function=lambda _: "FUNCTION", comm=lambda _: "COMM",
                  gfp=lambda _: "GFP_KERNEL", pid=lambda task: task, word=lambda _: "WORD")
    return kind.text(1, 1, 1, 1, names).strip()


def page() -> str:
    """The whole page."""
    lines = [INTRODUCTION]
    for ring, title in ((Ring.PAGES, "Ring 0: pages"), (Ring.SLOW, "Ring 1: everything else")):
        lines += [f"## {title}", "", "| event | id | in Linux since | arguments of the record | printed as, e.g. |",
                  "|---|---|---|---|---|"]
        for kind in EVENT_TYPES:
            if kind.ring == ring:
                arguments = ", ".join(name.replace("|", "or") for name in kind.args if name) or "–"
                text = f"`{example}`" if (example := _example(kind).replace("|", "\\|")) else "–"
                cells = (f"`{kind.name}`", str(int(kind.event)), SINCE.get(kind.event, "cpuemu only"), arguments, text)
                lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page())
