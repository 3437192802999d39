"""docs/reading-a-hang.md: its commands are run, and what does not change from run to run is what the page shows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from tools.document_commands import HANG, blocks, page, run

STABLE: dict[str, Sequence[str]] = {
    "lost": (
        r"^why: verdict failed, (csd-lock-wait|ipi-lost) \(injected: \d+ ipi-lost\)$",
        r"cpu \d raises (function call|rescheduling) interrupt \d+ on cpu \d: its frame is lost on purpose \(--fault ",
        r"(csd-lock-wait|ipi-lost) is found, and the machine stops\.",
        r"So cpu \S+ (does|do) not know of the interrupt: it stays pending",
        r"--> cpu \d: cpu \d waits for the frame of ticket \d+ \(",
        r"^see more:  trace-dump lost --why$",
        r"^run again: cpuemu launch --cpus 4 --workload pressure .*--fault ipi-lost:0.05",
        r"^verdict: failed$"),
    "lost-calls": (r"^call_function.queue: (empty|\d blocks)",),
    "lost-trace": (r"cpuemu_fault: fault=ipi-lost target=\d detail=\d usecs=0",),
    "held": (
        r"^why: verdict cpu-died(, owner-died)? \(injected: 1 killed-holder\)$",
        r"cpu (\d) \(pressure/\d+\) takes zone->lock/\w+ in \S+\. At \S+ s cpu \1's process kills itself on purpose",
        r"cpu \d gen 1 \(killed by SIGKILL\) died at .* holding zone->lock/\w+ \(taken in",
        r"^verdict: cpu-died$"),
    "held-locks": (r"^  zone->lock/\w+: held by cpu \d gen 1 \(pressure/\d+\) since \d",),
    "held-stacks": (r"^    \[(last sleep; since then it ran on,|no stack: .*;) its process died after the point ",),
    "lockup": (
        r"^why: verdict failed, stop-machine-stuck \(injected: 1 lockup\)$",
        r"cpu 3 begins to go offline\.",
        r"a system call of pressure/\d+ on cpu [123] begins to go on, on purpose, for 60 s \(--fault lockup\)\.",
        r"stop_machine comes to STOPMACHINE_PREPARE \(take_cpu_down, 3 of 7\), where 1 of 4 acknowledgements are ",
        r"migration/(\d) could run on cpu \1, but pressure/\d+ has that CPU and does not call schedule\(\), and ",
        r"All of it comes down to pressure/\d+, which waits for nobody: cpu \d was last seen at test_lockup\.",
        r"--> pressure/\d+: migration/\d is runnable on cpu \d but task pressure/\d+ has not called",
        r"^verdict: failed$"),
    "lockup-stop": (
        r"^stop_machine STOPMACHINE_PREPARE, 1 of 4 acknowledgements missing; the function runs on cpu 3$",
        r"^  cpu \d: migration/\d has not acknowledged, interrupts on$",
        r"^hotplug: cpu 3 going offline, row 2 not answered yet \(take_cpu_down, 3 of 7\)$"),
    "help": (r"^bt \[-a", r"^page PFN"),
}
"""Of each command, what every run of it prints: paragraphs are taken as one line."""


def one_line(output: str) -> str:
    """Paragraphs and long lines of the graph unfolded."""
    return re.sub(r"\n +(?=\S)", lambda found: " " if len(found[0]) in (3, 9) else found[0], output)


def says(name: str, output: str) -> None:
    text = f"{output}\n{one_line(output)}"
    missing = [each for each in STABLE[name] if not re.search(each, text, re.MULTILINE)]
    assert not missing, (missing, text)


def test_the_page_shows_what_the_tools_print() -> None:
    shown = blocks(HANG.read_text())
    assert list(shown) == list(STABLE)
    for name, each in shown.items():
        says(name, each.output)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("scene", ["lost", "held", "lockup"])
def test_the_commands_of_the_page(scene: str, tmp_path: Path) -> None:
    for name, each in blocks(HANG.read_text()).items():
        if name.partition("-")[0] == scene:
            says(name, run(each.command, tmp_path.resolve()))


def test_commands_are_put_back_where_they_stand() -> None:
    text = "a\n<!-- x: begin -->\n```\n$ trace-dump --version\nold\n```\n<!-- x: end -->\nb\n"
    assert re.fullmatch(r"a\n<!-- x: begin -->\n```\n\$ trace-dump --version\n.*version \S+\n```\n<!-- x: end -->\nb\n",
                        page(text))
