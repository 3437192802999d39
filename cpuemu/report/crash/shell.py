"""``shell``: the sub-commands at a prompt, with completion and history, by the standard library's readline."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable

from cpuemu.report.crash.commands import COMMANDS, run
from cpuemu.report.crash.reading import Reading, UsageError
from cpuemu.report.image import Image

PROMPT = "crash> "
ENDS = ("quit", "exit", "q")


def interactive(image: Image) -> None:
    """Read lines and answer them until the end of input, or quit.  Each looks at RAM anew: the machine may run."""
    with contextlib.suppress(ImportError):
        import readline

        readline.set_completer(completer(image))
        readline.set_completer_delims(" \t")
        readline.parse_and_bind("tab: complete")
    person = sys.stdin.isatty()
    if person:
        print(f"{image.directory}: help lists the commands, Tab completes, quit or Ctrl-D ends")
    while True:
        try:
            line = input(PROMPT if person else "").strip()
        except EOFError:
            if person:
                print()
            return
        except KeyboardInterrupt:
            print()
            continue
        if line in ENDS:
            return
        _answer(image, line)


def _answer(image: Image, line: str) -> None:
    try:
        for text in run(Reading(image), line):
            print(text)
    except UsageError as error:
        print(error)
    except KeyboardInterrupt:
        print("(interrupted)")
    sys.stdout.flush()


def completer(image: Image) -> Callable[[str, int], str | None]:
    """For readline: the state-th completion of a word, by what stands before it."""

    def complete(word: str, state: int) -> str | None:
        import readline

        before = readline.get_line_buffer()[: readline.get_begidx()].split()
        found = candidates(image, before, word)
        return found[state] if state < len(found) else None

    return complete


def candidates(image: Image, before: list[str], word: str) -> list[str]:
    """What can stand here: a command first; behind it its options, tasks, CPUs."""
    if not before:
        return [f"{name} " for name in (*COMMANDS, "quit") if name.startswith(word)]
    command = COMMANDS.get(before[0])
    if command is None:
        return []
    known = list(command.words)
    if before[0] in ("ps", "bt") and before[-1] != "-c":
        known += [task.comm for task in Reading(image).tasks() if task.comm]
    elif before[0] in ("pcp", "bt"):
        known += [str(cpu) for cpu in range(image.machine.dims.cpus)]
    return [f"{each} " for each in dict.fromkeys(known) if each.startswith(word)]
