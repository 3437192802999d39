"""The documentation says what is: generated pages are up to date, links lead somewhere, commands exist."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tools import document_events, document_faults, document_formats, document_layout

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md",
         *sorted(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")))


@pytest.mark.parametrize("tool", [document_events, document_faults, document_formats, document_layout])
def test_generated_pages_are_up_to_date(tool: object) -> None:
    page, path = tool.page(), tool.PAGE  # type: ignore[attr-defined]
    assert path.read_text() == page, f"run python -m {tool.__name__}"  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", PAGES)
def test_links_and_files_named_in_the_text_exist(name: str) -> None:
    text = re.sub(r"^```.*?^```$", "", (ROOT / name).read_text(), flags=re.MULTILINE | re.DOTALL)  # code links nowhere
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    files = re.findall(r"`((?:cpuemu|workers|tools|tests|docs|\.ci)/[\w./-]+)`", text)
    missing = [each for each in links if not (ROOT / name).parent.joinpath(each).exists()]
    missing += [each for each in files if not (ROOT / each).exists()]
    assert not missing


def test_continuous_integration_runs_the_command_of_the_readme() -> None:
    """In a virtual environment of its own, otherwise word for word."""
    block = re.search(r"^<!-- the tests -->\n```\n(.+)\n```$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert block and block[1].startswith("python3 -m venv .venv && ")
    printed = subprocess.run([ROOT / ".ci" / "run", "-n"], capture_output=True, text=True, check=True).stdout
    assert re.sub(r"/\S+/venv", ".venv", printed) == f"+ {block[1]}\n"
