"""Counting pages: the result of an audit, and conservation by count for quiet moments (Linux has no such thing).

Invariant:     for every zone: pages in buddy blocks + pages on pcp lists + allocated pages == managed.
Writers:       none: reads an image, takes no lock.
Steps:         none.
Not modelled:  a running machine: these numbers agree at a quiet moment, when no CPU is inside the allocator.
"""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cpuemu.kernel.oracles import PAGE_CONSERVATION, Rule
from cpuemu.layout import MAX_ORDER, Machine, PageState

if TYPE_CHECKING:
    from typing_extensions import Buffer

RECORD = 16
"""Bytes of a ``layout.Page``."""

MAX_FINDINGS = 50
"""Sentences kept; one damaged list can produce a hundred thousand."""


@dataclass
class ZoneAudit:
    """What was counted in one zone, in pages but for ``free_blocks``."""

    name: str
    managed: int = 0
    buddy: int = 0
    pcp: int = 0
    allocated: int = 0
    file: int = 0
    free_blocks: list[int] = field(default_factory=lambda: [0] * MAX_ORDER)
    pcp_by_cpu: list[int] = field(default_factory=list)

    @property
    def lost(self) -> int:
        """Managed pages that are nowhere (negative: counted twice)."""
        return self.managed - self.buddy - self.pcp - self.allocated


@dataclass
class PageAudit:
    """The result: totals, zones, pages by owner, and what is wrong."""

    managed: int = 0
    buddy: int = 0
    pcp: int = 0
    allocated: int = 0
    zones: list[ZoneAudit] = field(default_factory=list)
    owned: dict[int, int] = field(default_factory=dict)
    """Allocated pages by owner: a task, OWNER_BOOT, OWNER_FILE."""
    wrong: list[tuple[Rule, str]] = field(default_factory=list)
    """The rule that is broken, and how."""
    suppressed: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def lost(self) -> int:
        return self.managed - self.buddy - self.pcp - self.allocated

    @property
    def findings(self) -> list[str]:
        """The sentences alone."""
        return [sentence for _, sentence in self.wrong]

    @property
    def ok(self) -> bool:
        return not self.wrong

    def pages(self) -> dict[str, int]:
        """The ``pages`` object of ``--json``."""
        return {"managed": self.managed, "buddy": self.buddy, "pcp": self.pcp, "allocated": self.allocated}

    def found(self, sentence: str, rule: Rule = PAGE_CONSERVATION) -> None:
        if len(self.wrong) < MAX_FINDINGS:
            self.wrong.append((rule, sentence))
        else:
            self.suppressed += 1


def count_only(machine: Machine, image: Buffer | None = None) -> PageAudit:
    """Conservation by count, for quiet moments: milliseconds.

    With the image every page record is counted by state and order; without it, only the counters are compared, and
    ``allocated`` is what they leave.
    """
    result = PageAudit(managed=machine.header.managed)
    for zone in machine.zones:
        buddy = sum(blocks << order for order, blocks in enumerate(zone.nr_free))
        pcp = sum(machine.pcp(cpu, zone.index).count for cpu in range(machine.dims.cpus))
        result.zones.append(ZoneAudit(zone.name, zone.managed, buddy, pcp, zone.managed - buddy - pcp))
        check_free_pages(machine, zone.index, buddy, "free blocks hold", result)
        if not 0 <= pcp <= zone.managed - buddy:
            result.found(f"zone {zone.name}: {buddy} pages free and {pcp} on pcp lists, of {zone.managed} managed")
    if image is not None:
        _count_states(machine, image, result)
        return result
    result.buddy = sum(zone.buddy for zone in result.zones)
    result.pcp = sum(zone.pcp for zone in result.zones)
    result.allocated = result.managed - result.buddy - result.pcp
    return result


def _count_states(machine: Machine, image: Buffer, result: PageAudit) -> None:
    """The page records themselves, counted without looking at one of them: state and order are two bytes."""
    words = array("H")
    words.frombytes(records(machine, image, machine.dims.pages))
    pages: Counter[int] = Counter()
    tails = 0
    for word, count in Counter(words[::RECORD // 2]).items():
        state, order = word & 0xFF, word >> 8
        if state in (PageState.BUDDY, PageState.PCP, PageState.ALLOCATED) and order < MAX_ORDER:
            pages[state] += count << order
            tails += count * ((1 << order) - 1)
        else:
            pages[state] += count
    result.buddy, result.pcp = pages[PageState.BUDDY], pages[PageState.PCP]
    result.allocated = pages[PageState.ALLOCATED]
    for name, counted, words_say in (("free blocks hold", result.buddy, sum(zone.buddy for zone in result.zones)),
                                     ("pcp lists hold", result.pcp, sum(zone.pcp for zone in result.zones))):
        if counted != words_say:
            result.found(f"by their records {name} {counted} pages, by the counters {words_say}")
    if result.lost or tails != pages[PageState.TAIL]:
        result.found(f"{result.buddy} buddy + {result.pcp} pcp + {result.allocated} allocated = "
                     f"{result.managed - result.lost}, of {result.managed} managed; "
                     f"{pages[PageState.TAIL] - tails} pages belong to no block")


def check_free_pages(machine: Machine, zone: int, buddy: int, what: str, result: PageAudit) -> None:
    record = machine.zones[zone]
    diffs = sum(machine.pcp(cpu, zone).free_diff for cpu in range(machine.dims.cpus))
    if record.free_pages + diffs != buddy:
        result.found(f"zone {record.name}: NR_FREE_PAGES is {record.free_pages} {diffs:+d} in per-CPU differentials, "
                     f"{what} {buddy} pages")


def records(machine: Machine, image: Buffer, count: int) -> bytes:
    """A copy of the first ``count`` page records (a run may still be writing them)."""
    base = machine.placed["mem_map"].base
    with memoryview(image) as view:
        return bytes(view[base : base + count * RECORD])
