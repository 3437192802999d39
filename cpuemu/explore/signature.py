"""The name of a failure: what stays the same when the same thing happens to other CPUs, at another time.

A finding's rule, its words without their numbers, and the kernel functions it was found in; of a deadlock, who waits
where for whom, each once, however many do.  What was injected before is no part of it: perhaps it did not matter.
"""

from __future__ import annotations

import re
from itertools import takewhile

_NUMBER = re.compile(r"\b(0x[0-9a-f]+|\d+(\.\d+)?)\b")
_LIST = re.compile(r"\bN(,? (and )?N)+\b")
_LINE = re.compile(r":\d+\b")
_ENTRIES = ("_system_call", "run_task")
"""Where a stack leaves the kernel functions that Linux has, too."""
DEADLOCK = "deadlock"
CPU_DIED = "cpu-died:"
"""Who waits for what after that depends on where it died, and is one failure all the same."""


def signature(verdict: str, message: str, stack: str = "") -> str:
    """``stack``: kernel functions, newest first, as a finding has them."""
    message = message.partition("; injected: ")[0]
    if message.startswith(CPU_DIED):
        message = message.partition("; ")[0]
    if verdict == DEADLOCK:
        sentences = dict.fromkeys(_cycle(_nameless(each)) for each in message.split("; "))
        return f"{verdict}: {'; '.join(sorted(sentences, key=lambda each: (not each.startswith(DEADLOCK), each)))}"
    where = " < ".join(takewhile(lambda each: each not in _ENTRIES, _LINE.sub("", stack).split(" < ")))
    return f"{verdict}: {_nameless(message)}" + (f" in {where}" if where else "")


def _nameless(text: str) -> str:
    known = re.search(r" \(known: .*?\)", text)  # the number of a defect is no number that varies
    if known:
        return _nameless(text[:known.start()]) + known[0] + _nameless(text[known.end():])
    return _LIST.sub("N", _NUMBER.sub("N", text)).replace("cpus N", "cpu N")


def _cycle(sentence: str) -> str:
    """A cycle of three that do the same is one of two."""
    head, colon, names = sentence.partition(": ")
    return f"{head}: {' -> '.join(dict.fromkeys(names.split(' -> ')))}" if colon and " -> " in names else sentence
