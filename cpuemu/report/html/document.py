"""The page: text that is read, columns that are drawn, the chart library and the scripts that draw, in one file."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path

from cpuemu import __version__
from cpuemu.report.html import facts
from cpuemu.report.html.bokeh_js import chart_library
from cpuemu.report.html.collect import Collected, collect, notes_of
from cpuemu.report.html.columns import columns
from cpuemu.report.image import Image

SCRIPTS = ("data.js", "theme.js", "view.js", "timeline.js", "charts.js", "life.js", "main.js")
"""In this order: each uses what stands in those before it."""
SIZE_LIMIT = 10_000_000
"""Bytes: what a mail takes and a browser opens at once."""
ROOMS = (1.0, 0.25, 0.05)
"""Shares of what is collected that are tried, one after the other, until the page is small enough."""


def write_report(image: Image, path: Path) -> int:
    """Write the page; its size in bytes.  Raises UserError without bokeh, OSError where it cannot be written."""
    library = chart_library()
    for room in ROOMS:
        data = document(collect(image, room), library).encode()
        if len(data) <= SIZE_LIMIT:
            break
    return path.write_bytes(data)


def document(found: Collected, library: Sequence[str]) -> str:
    """The page as text."""
    image = found.image
    directory = image.directory.resolve()
    own = files("cpuemu.report.html")
    plain = json.dumps(columns(found), separators=(",", ":"), ensure_ascii=False).encode()
    packed = base64.b64encode(gzip.compress(plain, 6, mtime=0)).decode()
    told = list(facts.finding_articles(image))
    parts = {
        "title": escape(f"{facts.verdict_word(image)} · {directory.name} · cpuemu"), "name": escape(directory.name),
        "style": (own / "page.css").read_text(encoding="utf-8"),
        "when": escape(str(image.configuration.get("time", ""))), "version": escape(__version__),
        "summary": "\n".join(facts.summary(image, notes_of(found))),
        "findings": "\n".join(told), "no_findings": "hidden" if not told else "",
        "waits": "\n".join(facts.wait_section(found.waits)) if found.waits.edges else "",
        "no_waits": "" if found.waits.edges else "hidden",
        "details": "\n".join(facts.details(image)),
        "commands": "\n".join(f"<code>{escape(each)}</code>" for each in facts.commands(image, directory)),
        "data": packed,
        "library": "\n".join(f"<script>{_inside_script(script)}</script>" for script in library),
        "script": _inside_script("\n".join((own / name).read_text(encoding="utf-8") for name in SCRIPTS)),
    }
    page = (own / "page.html").read_text(encoding="utf-8")
    pieces = page.split("{{")
    text = [pieces[0]]
    for piece in pieces[1:]:
        name, rest = piece.split("}}", 1)
        text += [parts[name], rest]
    return "".join(text)


def _inside_script(script: str) -> str:
    """No text of a script may end it."""
    return script.replace("</script", r"<\/script").replace("<!--", r"<\!--")
