"""/proc/zoneinfo of a real machine, as zones to power on with: v3.x to v6.x."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from cpuemu.kernel.mmzone import ZoneSpec
from cpuemu.layout import MAX_NR_ZONES
from cpuemu.workloads.base import InputError

ORDER = ("DMA", "DMA32", "Normal", "Movable", "Device")
_ZONE = re.compile(r"^Node (\d+), zone\s+(\w+)\s*$")
_NUMBER = re.compile(r"^\s*(?:pages )?([\w() ]+?):?\s+(\d+)\s*$")
_PROTECTION = re.compile(r"protection: \(([\d, ]+)\)")


def read_zoneinfo(path: Path) -> list[ZoneSpec]:
    """The populated zones of node 0, lowest first.  Raises InputError."""
    try:
        text = path.read_text(encoding="ascii")
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a copy of /proc/zoneinfo (it is not text)") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    zones = parse_zoneinfo(text)
    if not zones:
        raise InputError(f"{path}: not a copy of /proc/zoneinfo (it names no zone with memory)")
    return zones


def parse_zoneinfo(text: str) -> list[ZoneSpec]:
    """The populated zones of node 0, lowest first; what the text does not say is 0."""
    sections = [(name, lines) for node, name, lines in _sections(text) if node == 0]
    populated = [name for name, lines in sections if _managed(_first_numbers(lines))]
    zones = [_zone(name, lines, populated) for name, lines in sections if name in populated]
    return sorted(zones, key=lambda zone: zone.start_pfn)[:MAX_NR_ZONES]


def _sections(text: str) -> Iterator[tuple[int, str, list[str]]]:
    node, name, lines = -1, "", []
    for line in text.splitlines():
        match = _ZONE.match(line)
        if match:
            if name:
                yield node, name, lines
            node, name, lines = int(match[1]), match[2], []
        else:
            lines.append(line)
    if name:
        yield node, name, lines


def _first_numbers(lines: list[str]) -> dict[str, int]:
    """The first value of each name: pagesets repeat ``count``, ``high`` and ``batch`` for every CPU."""
    numbers: dict[str, int] = {}
    for line in lines:
        match = _NUMBER.match(line)
        if match:
            numbers.setdefault(match[1].strip(), int(match[2]))
    return numbers


def _managed(numbers: dict[str, int]) -> int:
    return numbers.get("managed", numbers.get("present", 0))  # one number before v3.9


def _zone(name: str, lines: list[str], populated: list[str]) -> ZoneSpec:
    pagesets = next((index for index, line in enumerate(lines) if line.strip() == "pagesets"), len(lines))
    numbers, sets = _first_numbers(lines[:pagesets]), lines[pagesets:]
    first = _first_numbers(sets)
    counts = [int(match[2]) for match in map(_NUMBER.match, sets) if match and match[1].strip() == "count"]
    batch = max(1, first.get("batch", 1))
    high = first.get("high", first.get("high_min", 0))
    free = numbers.get("nr_free_pages", numbers.get("free", 0))
    return ZoneSpec(
        name=name, start_pfn=first.get("start_pfn", numbers.get("start_pfn", 1)), spanned=numbers.get("spanned", 0),
        present=numbers.get("present", 0), managed=_managed(numbers),
        wmark=(numbers.get("min", 0), numbers.get("low", 0), numbers.get("high", 0)),
        lowmem_reserve=_protection("\n".join(lines), populated), pcp_batch=batch,
        # v3.2 frees a batch when the count reaches high: with fewer pages than that on the lists it never ends.
        pcp_high=max(high, batch) if batch > 1 else high,
        stat_threshold=first.get("vm stats threshold", 1),
        nr_file=_file_pages(numbers), free=free + sum(counts),
    )  # fmt: skip


def _file_pages(numbers: dict[str, int]) -> int:
    zone = numbers.get("nr_zone_inactive_file", 0) + numbers.get("nr_zone_active_file", 0)
    if "nr_zone_inactive_file" in numbers:
        return zone
    return numbers.get("nr_inactive_file", 0) + numbers.get("nr_active_file", 0)  # counted by zone before v4.8


def _protection(text: str, populated: list[str]) -> tuple[int, ...]:
    match = _PROTECTION.search(text)
    values = [int(part) for part in match[1].split(",")] if match else []
    result = [values[ORDER.index(name)] if name in ORDER and ORDER.index(name) < len(values) else 0 for name in populated]
    return tuple((result + [0] * MAX_NR_ZONES)[:MAX_NR_ZONES])
