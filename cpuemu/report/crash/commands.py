"""The sub-commands by name, and a line of them as a person types it."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from cpuemu.report.crash import calls, locks, log, memory, plugging, tasks, waits
from cpuemu.report.crash.reading import Reading, UsageError, guarded

Run = Callable[[Reading, list[str]], Iterator[str]]


@dataclass(frozen=True)
class Command:
    """``usage``: its line in the help.  ``words``: what can stand behind the name, for completion."""

    name: str
    usage: str
    says: str
    run: Run
    words: tuple[str, ...] = ()


def _help(reading: Reading, words: list[str]) -> Iterator[str]:
    for each in COMMANDS.values():
        yield f"{each.usage:<28} {each.says}"


COMMANDS: dict[str, Command] = {each.name: each for each in (
    Command("ps", "ps [PID|NAME …]", "tasks: state, pages, what they wait in; > runs on its CPU", tasks.ps),
    Command("bt", "bt [-a|-c CPU|PID|NAME …]", "kernel stacks: of each CPU's task (-a), of one CPU's, of these, of all",
            tasks.bt, ("-a", "-c")),
    Command("waits", "waits", "the wait graph, a cycle marked", waits.waits),
    Command("locks", "locks [-o]", "locks held, who waits for them; -o: the orders seen", locks.locks, ("-o",)),
    Command("csd", "csd", "call queues and the blocks and csds in use", calls.csd),
    Command("stop", "stop", "stop_machine: state, acknowledgements, works", plugging.stop),
    Command("hotplug", "hotplug", "the operation under way, the hotplug lock, each CPU's state", plugging.hotplug),
    Command("cpumask", "cpumask", "possible, present, online, active, callout", plugging.cpumask),
    Command("zone", "zone", "free pages, watermarks, free blocks, pages on CPUs' lists", memory.zone),
    Command("pcp", "pcp CPU", "one CPU's page lists, page by page", memory.pcp),
    Command("page", "page PFN", "what a page frame is, and whose (0x… or decimal)", memory.page),
    Command("log", "log [N]", "findings, and the last N events of each CPU", log.log),
    Command("help", "help", "this list", _help),
)}


def run(reading: Reading, line: str) -> Iterator[str]:
    """The lines that a command prints.  Raises UsageError, before the first one, for what there is not."""
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise UsageError(f"{line}: {error}") from None
    if not words:
        return iter(())
    command = COMMANDS.get(words[0])
    if command is None:
        near = difflib.get_close_matches(words[0], COMMANDS, 1)
        raise UsageError(f"{words[0]}: no such command" + (f"; did you mean {near[0]}?" if near else "; see help"))
    return _begun(guarded(lambda: command.run(reading, words[1:]), words[0]))


def _begun(lines: Iterator[str]) -> Iterator[str]:
    """The same lines, the first of which has been asked for: mistakes show now."""
    first = next(lines, None)

    def rest() -> Iterator[str]:
        if first is not None:
            yield first
            yield from lines

    return rest()
