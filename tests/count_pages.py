"""Counts the pages of a run by what docs/layout.md says, and by nothing else: python -m tests.count_pages RUN_DIR.

No part of the machine: it imports nothing of it.  The file `ram` and the page that documents it are its only inputs.
"""

from __future__ import annotations

import json
import mmap
import re
import sys
from pathlib import Path

LAYOUT = Path(__file__).resolve().parent.parent / "docs" / "layout.md"
BUDDY, PCP, ALLOCATED = 2, 3, 4


class Layout:
    """The tables of the page."""

    def __init__(self, text: str) -> None:
        rows = [[cell.strip(" `") for cell in line.strip("|").split(" | ")] for line in text.splitlines()
                if line.startswith("| [")]
        self.regions = {re.sub(r"\[`(\w+)`\].*", r"\1", row[0].strip()): int(row[2]) for row in rows}
        self.order = list(self.regions)
        self.words: dict[tuple[str, str], tuple[int, int]] = {}
        struct = ""
        for line in text.splitlines():
            if line.startswith("## "):
                struct = line[3:]
            elif found := re.match(r"\| (\d+) \| `(\w+)` \| [ui](\d+)", line):
                self.words[struct, found[2]] = int(found[1]), int(found[3]) // 8


def count(run_dir: Path) -> dict[str, int]:
    """Pages managed, and in each place."""
    layout = Layout(LAYOUT.read_text())
    with (run_dir / "ram").open("rb") as file:
        ram = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)

    def word(struct: str, name: str, base: int = 0, element: int = 0) -> int:
        offset, size = layout.words[struct, name]
        start = base + offset + element * size
        return int.from_bytes(ram[start : start + size], "little")

    def region(name: str, record: int) -> int:
        return word("Header", "bases", element=layout.order.index(name)) + record * layout.regions[name]

    pages = {"managed": 0, "buddy": 0, "pcp": 0, "allocated": 0}
    for zone in range(word("Header", "nr_zones")):
        pages["managed"] += word("Zone", "managed", region("zones", zone))
    pfn, end = 0, word("Header", "nr_pages")
    while pfn < end:
        page = region("mem_map", pfn)
        state, order = word("Page", "state", page), word("Page", "order", page)
        where = {BUDDY: "buddy", PCP: "pcp", ALLOCATED: "allocated"}.get(state)
        if where:
            pages[where] += 1 << order
        pfn += 1 << order if where else 1
    return pages


if __name__ == "__main__":
    print(json.dumps(count(Path(sys.argv[1]))))
