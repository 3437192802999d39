"""Reading wait records and their words out of RAM that may be anything (Linux: crash and kgdb do this).

Invariant:     no number found in RAM is used as an index before it is checked; nothing raises.
Writers:       none.
Steps:         none.
Not modelled:  a consistent snapshot: a running machine changes while it is read.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable

from cpuemu.layout import Cpu, Machine, Op, Task
from cpuemu.schema import Address
from cpuemu.sites import site_name

Node = tuple[str, int]
"""("task", t): t's kernel code goes on.  ("cpu", n): CPU n takes interrupts.  ("irq", n): its handler goes on."""

SIGN_BIT = 1 << 63


class Look:
    """One look at the machine, at a time."""

    def __init__(self, machine: Machine, now_ns: int | None = None) -> None:
        self.machine = machine
        self.now_ns = latest_ns(machine) if now_ns is None else now_ns
        placed = sorted(machine.placed.items(), key=lambda item: item[1].base)
        self._bases, self._regions = [where.base for _, where in placed], placed

    def task(self, number: int) -> Task | None:
        return self.machine.tasks[number] if 0 <= number < self.machine.dims.tasks else None

    def cpu(self, number: int) -> Cpu | None:
        return self.machine.cpus[number] if 0 <= number < self.machine.dims.cpus else None

    def in_hand(self, cpu: Cpu) -> int:
        """Frames that a CPU has received and not taken.  Explored, none: each comes when its turn is chosen."""
        return 0 if self.machine.header.explored else cpu.in_hand

    def comm(self, number: int) -> str:
        task = self.task(number)
        return task.comm or f"task {number}" if task else f"task {number}"

    def node(self, node: Node) -> str:
        kind, number = node
        if kind == "task":
            return self.comm(number)
        return f"cpu {number}" if kind == "cpu" else f"cpu {number}'s interrupt"

    def place(self, address: Address) -> tuple[str, int, str, int]:
        """Region, element, word, and element of an array word, of an address; empty names for no word."""
        offset = address >> 2
        name, where = self._regions[max(0, bisect.bisect_right(self._bases, offset) - 1)]
        element, inside = divmod(offset - where.base, where.region.struct.SIZE)
        if 0 <= element < where.count:
            for word in where.region.struct.WORDS:
                if word.offset <= inside < word.offset + word.size * word.count:
                    return name, element, word.name, (inside - word.offset) // word.size
        return "", 0, "", 0

    def word_name(self, address: Address) -> str:
        region, element, word, part = self.place(address)
        if not region:
            return f"RAM+{address >> 2:#x}"
        if region == "locks":
            return self.machine.locks[element].name or f"locks[{element}]"
        where = self.machine.placed[region].region
        index = "" if where.count == "1" else f"[{element}]"
        array = next(each.count > 1 for each in where.struct.WORDS if each.name == word)
        return f"{region}{index}.{word}" + (f"[{part}]" if array else "")

    def holds(self, task: Task, term: int) -> bool:
        """Whether one term of a wait record holds now.  A term that cannot be read never does."""
        address, op, value = task.word[term], task.op[term], task.value[term]
        size = 1 << (address & 3)
        try:
            now = self.machine.mem.load(address >> 2, size)
        except IndexError:
            return False
        value &= (1 << size * 8) - 1
        signed = (now ^ 1 << size * 8 - 1) - (value ^ 1 << size * 8 - 1)
        results = {Op.EQ: now == value, Op.NE: now != value, Op.GE: signed >= 0, Op.LE: signed <= 0,
                   Op.MASK_CLEAR: not now & value, Op.MASK_SET: bool(now & value)}
        return results.get(op, False)  # type: ignore[call-overload, no-any-return]

    def blocked(self, task: Task) -> bool:
        """Whether a task waits, and none of its terms holds."""
        terms = min(task.nterms, len(task.op))
        return bool(terms) and not any(self.holds(task, term) for term in range(terms))

    def ago(self, since_ns: int) -> str:
        return f"{max(0, self.now_ns - since_ns) / 1e9:.1f} s"

    def site(self, number: int) -> str:
        return site_name(self.machine, number)

    def source(self, number: int) -> str:
        """Who sends interrupts under this number."""
        return "the coordinator" if number == self.machine.dims.cpus else f"cpu {number}"

    def host(self, cpu: Cpu) -> str:
        return ", stopped by the host" if cpu.host_stopped else ""

    def bits(self, words: Iterable[int]) -> list[int]:
        """The CPUs of a mask that exist."""
        return [index * 64 + bit for index, word in enumerate(words) for bit in range(64)
                if word >> bit & 1 and index * 64 + bit < self.machine.dims.cpus]


def latest_ns(machine: Machine) -> int:
    """The latest time that stands anywhere in RAM: "now" for a machine that is dead."""
    times = [machine.header.start_ns, machine.header.boot_ns, machine.header.ready_ns]
    for task in machine.tasks:
        times += (task.wait_ns, task.since_ns)
    for cpu in machine.cpus:
        times += (cpu.hello_ns, *cpu.raised_ns)
    times += [lock.since_ns for lock in machine.locks]
    times += [finding.time_ns for finding in machine.findings]
    return max(times)
