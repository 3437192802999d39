"""/proc/zoneinfo of a real machine, as zones to power on with: v3.x to v6.x."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from cpuemu.kernel.mmzone import ZoneSpec, drift_mark, reserve_blocks
from cpuemu.layout import MAX_NR_ZONES
from cpuemu.workloads.base import InputError

_ZONE = re.compile(r"^Node (\d+), zone\s+(\w+)\s*$")
_NUMBER = re.compile(r"^\s*(?:pages )?([\w() ]+?):?\s+(\d+)\s*$")
_PROTECTION = re.compile(r"protection: \(([\d, ]+)\)")
_NEEDED = ("min", "low", "high", "spanned", "present", "start_pfn")


@dataclass
class Section:
    """One zone's lines: its own numbers, and those of each CPU's page set."""

    node: int
    name: str
    numbers: dict[str, int] = field(default_factory=dict)
    sets: list[dict[str, int]] = field(default_factory=list)
    protection: list[int] = field(default_factory=list)

    @property
    def managed(self) -> int:
        return self.numbers.get("managed", self.numbers.get("present", 0))  # one number before v3.9


def read_zoneinfo(path: Path) -> list[ZoneSpec]:
    """The populated zones, lowest first.  Raises InputError."""
    try:
        text = path.read_text(encoding="ascii")
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a copy of /proc/zoneinfo (it is not text)") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); name another file") from None
    return parse_zoneinfo(text, str(path))


def parse_zoneinfo(text: str, name: str = "zoneinfo") -> list[ZoneSpec]:
    """The populated zones, lowest first.  Raises InputError on what is no zoneinfo, or of a machine unlike this one."""
    sections = list(_sections(text))
    populated = [each for each in sections if each.managed]
    if not populated:
        raise InputError(f"{name}: not a copy of /proc/zoneinfo (it names no zone with memory)")
    if any(each.node != populated[0].node for each in populated):
        raise InputError(f"{name}: it has several memory nodes, a machine here has one; keep the lines of one node")
    # protection has a number for each zone that could be, populated or not
    places = [[each.name for each in sections if each.node == populated[0].node].index(zone.name) for zone in populated]
    zones = sorted((_zone(each, places, name) for each in populated), key=lambda zone: zone.start_pfn)
    for lower, upper in pairwise(zones):
        if upper.start_pfn < lower.end_pfn:
            raise InputError(f"{name}: zones {lower.name} and {upper.name} overlap; is it two files in one?")
    if len(populated) > MAX_NR_ZONES:
        raise InputError(f"{name}: it has {len(populated)} zones with memory, a machine here at most {MAX_NR_ZONES}")
    return zones


def _sections(text: str) -> Iterator[Section]:
    section: Section | None = None
    in_sets = False
    for line in text.splitlines():
        start = _ZONE.match(line)
        if start:
            if section is not None:
                yield section
            section, in_sets = Section(int(start[1]), start[2]), False
        elif section is not None:
            in_sets = in_sets or line.strip() == "pagesets"
            _read_line(section, line, in_sets)
    if section is not None:
        yield section


def _read_line(section: Section, line: str, in_sets: bool) -> None:
    found = _NUMBER.match(line)
    if found:
        key, value = found[1].strip(), int(found[2])
        if in_sets and key == "cpu":
            section.sets.append({})
        elif in_sets and section.sets and key in ("count", "high", "batch", "high_min", "vm stats threshold"):
            section.sets[-1][key] = value
        else:
            section.numbers.setdefault(key, value)
    elif (protection := _PROTECTION.search(line)) is not None:
        section.protection = [int(part) for part in protection[1].split(",")]


def _zone(section: Section, places: list[int], name: str) -> ZoneSpec:
    numbers = section.numbers
    for key in _NEEDED:
        if key not in numbers:
            raise InputError(f"{name}: zone {section.name} has no line for {key}; is the file cut short?")
    wmark = (numbers["min"], numbers["low"], numbers["high"])
    spanned, present, managed = numbers["spanned"], numbers["present"], section.managed
    if not (wmark[0] <= wmark[1] <= wmark[2] and managed <= present <= spanned):
        raise InputError(f"{name}: zone {section.name}: expected min <= low <= high and managed <= present <= spanned")
    batch, high = _pcp_sizes(section.sets)
    threshold = max((each.get("vm stats threshold", 1) for each in section.sets), default=1)
    protection = [section.protection[place] if place < len(section.protection) else 0 for place in places]
    free = numbers.get("nr_free_pages", numbers.get("free", 0)) + sum(each.get("count", 0) for each in section.sets)
    return ZoneSpec(
        name=section.name, start_pfn=numbers["start_pfn"], spanned=spanned, present=present, managed=managed,
        wmark=wmark, lowmem_reserve=tuple((protection + [0] * MAX_NR_ZONES)[:MAX_NR_ZONES]),
        pcp_batch=batch, pcp_high=high, stat_threshold=threshold,
        percpu_drift_mark=drift_mark(wmark, len(section.sets), threshold), nr_reserve_blocks=reserve_blocks(wmark[0]),
        nr_file=_file_pages(numbers), free=min(free, managed),
    )


def _pcp_sizes(sets: list[dict[str, int]]) -> tuple[int, int]:
    """Batch and high.  v6.7 and later tune ``high`` for each CPU while they run: the lowest that is in use counts."""
    batch = max(1, min((each["batch"] for each in sets if "batch" in each), default=1))
    highs = [each.get("high") or each.get("high_min", 0) for each in sets]
    high = min((each for each in highs if each), default=0)
    # v3.2 frees a batch when the count reaches high: with fewer pages than that on the lists it would never end.
    return batch, max(high, batch) if batch > 1 else high


def _file_pages(numbers: dict[str, int]) -> int:
    if "nr_zone_inactive_file" in numbers:
        return numbers["nr_zone_inactive_file"] + numbers.get("nr_zone_active_file", 0)
    return numbers.get("nr_inactive_file", 0) + numbers.get("nr_active_file", 0)  # counted by zone before v4.8
