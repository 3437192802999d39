"""BokehJS, which draws the charts: taken from the files of the installed bokeh package, which is not imported."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from cpuemu.errors import UserError

FILES = ("bokeh.min.js", "bokeh-api.min.js")


def chart_library() -> list[str]:
    """The scripts, in the order in which a page loads them.  Raises UserError where bokeh is not installed."""
    found = importlib.util.find_spec("bokeh")
    places = list(found.submodule_search_locations or ()) if found else []
    scripts = [Path(place) / "server" / "static" / "js" / name for place in places[:1] for name in FILES]
    if not scripts or not all(script.is_file() for script in scripts):
        raise UserError("cpuemu report needs bokeh to draw with; install it: pip install 'cpuemu[report]'")
    return [script.read_text(encoding="utf-8") for script in scripts]
