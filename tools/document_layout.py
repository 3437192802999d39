"""Writes docs/layout.md from the declaration in cpuemu/layout.py: python -m tools.document_layout."""

from __future__ import annotations

import inspect
from pathlib import Path

from cpuemu.layout import CONSTANTS, REGIONS
from cpuemu.schema import View

PAGE = Path(__file__).resolve().parent.parent / "docs" / "layout.md"

INTRODUCTION = """\
# The machine's memory

Written by `python -m tools.document_layout` from `cpuemu/layout.py`, the one declaration of every shared word.
"Writer" says who may write the word, or which lock he holds. Numbers are little endian; offsets are bytes from the
start of the record.

The file `ram` of a run directory holds these regions one after the other, each at a multiple of 64 bytes.
`header.bases` says where each begins; `header.tag` changes with the declaration, and an image with another tag is
refused.
"""


def _regions() -> list[str]:
    lines = ["## Regions", "", "| region | records | bytes each | what |", "|---|---|---|---|"]
    for each in REGIONS:
        count = each.count.replace("*", " × ").replace("+", " + ")
        link = f"[`{each.name}`](#{each.struct.__name__.lower()})"
        lines.append(f"| {link} | {count} | {each.struct.SIZE} | {each.doc} |")
    return [*lines, ""]


def _struct(struct: type[View]) -> list[str]:
    lines = [f"## {struct.__name__}", "", (inspect.getdoc(struct) or "").strip(), "",
             "| offset | word | type | writer | meaning |", "|---|---|---|---|---|"]
    for word in struct.WORDS:
        ctype = f"{word.ctype}[{word.count}]" if word.count > 1 else word.ctype
        meaning = word.doc.replace("|", "\\|")
        lines.append(f"| {word.offset} | `{word.name}` | {ctype} | {word.writer} | {meaning} |")
    return [*lines, ""]


def _constants() -> list[str]:
    lines = ["## Constants", "", "| name | values |", "|---|---|"]
    lines += [f"| `{each.__name__}` | {', '.join(f'{name} {int(value)}' for name, value in each.__members__.items())} |"
              for each in CONSTANTS]
    return [*lines, ""]


def page() -> str:
    """The whole page."""
    lines = [INTRODUCTION, *_regions()]
    for struct in dict.fromkeys(each.struct for each in REGIONS):
        lines += _struct(struct)
    return "\n".join([*lines, *_constants()])


if __name__ == "__main__":
    PAGE.write_text(page())
