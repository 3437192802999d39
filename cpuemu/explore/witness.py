"""What a schedule did to the machine's words, step by step, in the names of the kernel.

A witness watches one schedule: before each step it notes what every actor that can move is about to do, and afterwards
what became of the word of the one that did.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from cpuemu.explore.actors import COORDINATOR, actor_name, coordinator
from cpuemu.explore.species import point_name
from cpuemu.explore.strategies.base import Event
from cpuemu.kernel.hotplug_rows import row_under_way
from cpuemu.kernel.wait_records import Look
from cpuemu.layout import Machine, Mask, Vector
from cpuemu.schema import Address

_REGIONS = {"cfds": "cfd", "csds": "csd", "single_queues": "call_single_queue"}
_WORD = re.compile(r"(\w+)\[(\d+)\]\.(.+)")
_MASKS = re.compile(r"(cpumask\w*|bits)(\[0\])?$")


@dataclass(frozen=True)
class Move:
    """What an actor does from its point to the next one.

    ``cpu``: where, None for the coordinator; its ``point`` is the row of the hotplug walk that it comes to.
    ``handler``: inside an interrupt.  ``source``: who sent the interrupt that is taken.  ``does``: reads, writes,
    locks, waits, sends (``to`` whom), takes, walks, strikes (a fault).  ``before``, ``after``: the word.
    """

    actor: str
    cpu: int | None
    task: str
    handler: bool
    point: str
    does: str
    word: str = ""
    mask: bool = False
    before: int | None = None
    after: int | None = None
    vector: str = ""
    to: int | None = None
    source: str = ""
    stack: list[str] = field(default_factory=list)


def describe(look: Look, event: Event) -> Move:
    """Of somebody who can move, or waits."""
    machine, cpus = look.machine, look.machine.dims.cpus
    actor, word, before = actor_name(event.actor, cpus), word_name(look, event.word), value(machine, event.word)
    if event.actor > coordinator(cpus):
        return Move(actor, event.line if event.line < cpus else 0, "", False, actor, "strikes")
    if event.actor == coordinator(cpus):
        row = row_under_way(machine.hotplug) if machine.hotplug.busy else "a request"
        return Move(actor, None, COORDINATOR, False, row, "walks", word, before=before)
    cpu = machine.cpus[event.line]
    task, handler = look.comm(cpu.current), bool(cpu.hardirq)
    stack = functions(machine.tasks[cpu.current].stack)
    region, element, name, part = look.place(event.word) if event.word else ("", 0, "", 0)
    if (region, name) == ("cpus", "pending"):
        vector = Vector(part).name.lower()
        if event.host is not None:
            source = ((before or 0) & 0xFFFF) - 1
            return Move(actor, cpu.index, task, handler, point_name(event.site), "takes", vector=vector,
                        source=f"cpu {source}" if source < cpus else COORDINATOR, stack=stack)
        return Move(actor, cpu.index, task, handler, point_name(event.site), "sends", vector=vector, to=element,
                    stack=stack)
    does = "writes" if event.write else "waits" if event.waits else "reads"
    if region == "locks":
        does = "locks"
    return Move(actor, cpu.index, task, handler, point_name(event.site), does if event.word else "", word,
                bool(_MASKS.search(name)), before, stack=stack)


def value(machine: Machine, word: Address) -> int | None:
    """What stands in a word; None where there is none."""
    return machine.mem.load(word >> 2, 1 << (word & 3)) if word else None


def word_name(look: Look, word: Address) -> str:
    """In the kernel's names, as far as it has some."""
    if not word:
        return ""
    name = look.word_name(word)
    found = _WORD.fullmatch(name)
    if found is None:
        return name
    region, element, rest = found.groups()
    if region == "cpumasks":
        return f"cpu_{Mask(int(element)).name.lower()}_mask"
    rest = rest.removesuffix("[0]") if _MASKS.search(rest) else rest
    return f"{_REGIONS.get(region, region)}[{element}].{rest}"


def functions(stack: str) -> list[str]:
    """The kernel functions of a stack, newest first, down to where the system call or the task begins."""
    names = [each.partition(":")[0] for each in stack.split(" < ")] if stack else []
    end = next((at for at, name in enumerate(names) if name in ("system_call", "_system_call", "run_task")), len(names))
    return [name for name in names[:end] if not name.startswith("<")]


@dataclass(frozen=True)
class Stand:
    """Where a CPU stands at the end.  ``waits``: the word that its task waits for, empty for none."""

    cpu: int
    task: str
    point: str
    waits: str
    handler: bool
    stack: list[str]


class Witness:
    """Of a schedule whose steps are known: ``actors``, by number."""

    def __init__(self, actors: Sequence[int]) -> None:
        self.actors = list(actors)
        self.word: Address = 0

    def __call__(self, machine: Machine, enabled: Sequence[Event]) -> str:
        look = Look(machine)
        told: dict[str, Any] = {"after": value(machine, self.word)}
        if enabled:
            actor = self.actors.pop(0)
            event = next(event for event in enabled if event.actor == actor)
            self.word = event.word
            told["move"] = asdict(describe(look, event))
            told["able"] = [actor_name(each.actor, machine.dims.cpus) for each in enabled]
        else:
            told["stands"] = [asdict(each) for each in stands(look)]
        return json.dumps(told)


def stands(look: Look) -> list[Stand]:
    """Of every CPU."""
    return [_stand(look, cpu) for cpu in range(look.machine.dims.cpus)]


def _stand(look: Look, number: int) -> Stand:
    cpu = look.machine.cpus[number]
    task = look.machine.tasks[cpu.current]
    waits = word_name(look, task.word[0]) if look.blocked(task) else ""
    if 0 < cpu.lock_wait <= len(look.machine.locks):
        waits = look.machine.locks[cpu.lock_wait - 1].name
    return Stand(number, look.comm(cpu.current), look.site(cpu.point_site), waits, bool(cpu.hardirq),
                 functions(task.stack))
