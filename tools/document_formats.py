"""Writes docs/trace-formats.md; the fields come from their declaration: python -m tools.document_formats."""

from __future__ import annotations

from pathlib import Path

from cpuemu.events import EVENT_TYPES
from cpuemu.report.fields import FIELDS, Field, Kind
from cpuemu.report.json_lines import COMMON

PAGE = Path(__file__).resolve().parent.parent / "docs" / "trace-formats.md"

TEXT = """\
# Trace formats

Written by `python -m tools.document_formats`; the table of fields comes from `cpuemu/report/fields.py`.

    trace-dump RUN_DIR [--format FORMAT] [-o FILE] [filters]

| format | for |
|---|---|
| `text` | people, grep, awk, and whatever reads `trace_pipe` |
| `json` | jq, pandas: one event a line |
| `trace.dat` | trace-cmd and KernelShark |
| `perfetto` | [ui.perfetto.dev](https://ui.perfetto.dev): tracks, slices, counters, arrows |

Every format takes the same filters, and has the same events in the same order: by time, events of one moment by CPU.
The trace is read ring by ring, a piece at a time: a long one needs no more memory than a short one. Of a trace of 1.15
million events from 8 CPUs, `text` took about 4 s of processor time and 27 MiB, `trace.dat` 5 s and 28 MiB, `json` 7 s
and 27 MiB, `perfetto` 9 s and 38 MiB.

| filter | keeps |
|---|---|
| `--cpu N` | events of this CPU; may be repeated, as all but the times and `--tail` |
| `--event GLOB` | events of this name ([trace-events.md](trace-events.md)) |
| `--task NAME` | what a task did and what was done to it (woken, moved, switched to); a glob, or its number |
| `--pfn N` | the life of a page: every page event whose block holds it |
| `--since S`, `--until S` | a part of time, in seconds since power-on; negative: before the last event |
| `--grep REGEX` | events whose line in `text` has a match; of several, all must have one |
| `--tail N` | the last N of what is left |

## text

The layout of `trace_pipe`, with the kernel's names of events and fields; the time is that since power-on. What the
letters mean stands above the first line, as in a kernel's own. `<idle>-0` is any CPU's idle task.

```
          cpuctl-8       [000] .....     0.144014: cpuhp_enter: cpu: 0001 target:  10 step:  60 (hotplug:take_cpu_down)
          cpuctl-8       [000] .....     0.144054: cpuemu_stop_state: state=STOPMACHINE_PREPARE thread_ack=8
          cpuctl-8       [000] dN.2.     0.144312: sched_wakeup: comm=migration/0 pid=11 prio=120 target_cpu=000
          cpuctl-8       [000] dN.2.     0.144325: sched_wakeup: comm=migration/1 pid=12 prio=120 target_cpu=001
          cpuctl-8       [000] dN.2.     0.144335: ipi_raise: target_mask=00000000,00000002 (Rescheduling interrupts)
```
"""

PERFETTO = """\
## perfetto

    pip install 'cpuemu[perfetto]'
    trace-dump RUN_DIR --format perfetto -o trace.pftrace

Then "Open trace file" in ui.perfetto.dev; nothing leaves the browser. In it are

- **CPUs**: a track a CPU. The task that runs, in it the interrupts that are taken, in those the functions that other
  CPUs asked for. Moments: an interrupt sent, a call queued, a csd unlocked, findings, faults, OOM kills. Below: the
  pages on its lists, zone by zone.
- **Arrows**: from every interrupt sent to the interrupt taken, and from every call through its function to the unlock
  of its csd. An arrow without an end: it never came.
- **tasks**: a track a task, wherever it runs. Direct reclaim, compaction, drains of all CPUs, and what it waits for: a
  lock it spins or sleeps for, csd_lock_wait, the barrier of stop_machine. A slice that does not end is where it hangs.
- **zones**: free pages, on one scale with the watermarks.
- **hotplug**: the states of stop_machine, each CPU's steps on the way down and up, and when it was offline.
- The records themselves as ftrace events, under the kernel's names: states of threads, SQL in the browser.

Of a counter that moves faster, one point every 20 µs is drawn.
"""

TRACE_DAT = """\
## trace.dat

    trace-dump RUN_DIR --format trace.dat -o trace.dat
    trace-cmd report -N trace.dat
    kernelshark trace.dat

Version 6 of the file, which every trace-cmd reads (tested with 3.1.6). It describes itself: the layout of each event,
how it is printed, the names of places and functions as symbols, of tasks as comms. `trace-cmd report -N` prints the
same events in the same order and words as `--format text`, but for `page=(null)`, an address of zeros there; without
`-N`, plugins of trace-cmd print some events in words of their own. Its time counts from power-on, too.

```
          cpuctl-8     [000]     0.144014: cpuhp_enter:          cpu: 0001 target:  10 step:  60 (hotplug:take_cpu_down)
          cpuctl-8     [000]     0.144054: cpuemu_stop_state:    state=STOPMACHINE_PREPARE thread_ack=8
```

On the way to FILE the pages are kept in a temporary file.
"""

JSON = """\
## json

One object a line:

```
{"time": 0.276742662, "cpu": 0, "comm": "replay/0", "pid": 19, "irqs_off": true, "need_resched": false,
 "hardirq": false, "preempt_depth": 2, "event": "csd_queue_cpu",
 "args": {"cpu": 2, "callsite": "generic_exec_single:ipi", "func": "nop", "csd": 27}}
```

(broken for this page only). Which CPU sends the most interrupts, and how long each took to be taken:

    trace-dump RUN_DIR --format json --event ipi_raise | jq -r .cpu | sort | uniq -c | sort -rn

```python
events = pandas.json_normalize([json.loads(line) for line in open("trace.json")])
ipis = events[events.event.isin(["ipi_raise", "ipi_entry"])].pivot(index="args.ticket", columns="event", values="time")
(ipis.ipi_entry - ipis.ipi_raise).describe()
```

Every line has

| field | is |
|---|---|
{common}

and in `args`, by event:

| event | field | is |
|---|---|---|
{fields}
"""


def _row(event: str, field: Field) -> str:
    kind = field.kind.value.replace("|", "\\|")
    if not field.meaning:
        what = kind
    else:
        what = field.meaning if field.kind in (Kind.NUMBER, Kind.WIDE) else f"{field.meaning} ({kind})"
    return f"| {event} | `{field.name}` | {what} |"


def page() -> str:
    """The whole page."""
    common = "\n".join(f"| `{name}` | {meaning} |" for name, meaning in COMMON.items())
    rows = [_row(f"`{kind.name}`" if not number else "", field)
            for kind in EVENT_TYPES for number, field in enumerate(FIELDS[kind.event])]
    tables = JSON.replace("{common}", common).replace("{fields}", "\n".join(rows))
    return "\n".join((TEXT, TRACE_DAT, PERFETTO, tables))


if __name__ == "__main__":
    PAGE.write_text(page())
