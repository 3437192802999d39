"""Reports of real runs in a real browser: all is drawn, nothing complains, the timeline can be moved and zoomed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cpuemu.report.html.document import write_report
from cpuemu.report.image import open_image
from tests.launched import Launched
from tests.report.browser import Browser, browser, chromium

pytestmark = [
    pytest.mark.skipif(chromium() is None, reason="chromium is not installed (Debian: apt-get install it)"),
    pytest.mark.timeout(400),  # a browser beside a machine of many processes, on a host that is busy with others
]


@pytest.fixture
def page(launch: Callable[..., Launched], tmp_path: Path) -> Iterator[Browser]:
    """Gone before ``launch`` looks for processes that were left behind."""
    with browser(tmp_path / "profile") as opened:
        yield opened
        assert not opened.errors
        assert all(url.startswith(("file:", "data:", "blob:")) for url in opened.requests), opened.requests


@pytest.fixture
def report(launch: Callable[..., Launched], tmp_path: Path) -> Callable[..., Path]:
    """Launch with these options; its report."""

    def written(*options: str) -> Path:
        run = launch(*options)
        run.process.communicate()
        path = tmp_path / "report.html"
        write_report(open_image(run.run_dir), path)
        return path

    return written


COUNT_CANVASES = """{
    window.canvases = 0
    const create = document.createElement.bind(document)
    document.createElement = (name, ...more) => { canvases += name === "canvas"; return create(name, ...more) }
}"""


def shown(page: Browser) -> tuple[float, float]:
    start, end = page.value("report.range()")
    return start, end


def middle_of(page: Browser, selector: str) -> tuple[float, float]:
    page.value(f"document.querySelector({selector!r}).scrollIntoView({{block: 'center'}})")
    page.drawn()
    x, y = page.value(f"(r => [r.x + r.width / 2, r.y + r.height / 2])(document.querySelector({selector!r})"
                      ".getBoundingClientRect())")
    return x, y


def test_a_good_run_is_drawn_and_can_be_looked_into(page: Browser, report: Callable[..., Path]) -> None:
    path = report("--cpus", "4", "--workload", "storm:4000", "--hotplug", "1,2", "--seconds", "0.5", "--memory", "32M")
    page.open(path)
    assert page.value("document.querySelector('.verdict').className") == "verdict ok"
    assert page.value("document.querySelector('#findings').hidden")
    for section in ("timeline-section", "memory", "interrupts", "latencies"):
        assert not page.value(f"document.getElementById('{section}').hidden"), section
    assert page.value("report.drawn().bars") > 20

    whole = shown(page)
    page.value("document.getElementById('timeline').focus()")
    page.press("+")
    page.wait("report.range()[1] - report.range()[0] < %f" % ((whole[1] - whole[0]) * 0.6))
    before = shown(page)
    page.press("ArrowRight")
    page.wait(f"report.range()[0] > {before[0]}")

    x, y = middle_of(page, "#timeline")
    before = shown(page)
    page.drag(x, y, 150)
    page.wait(f"report.range()[0] < {before[0]}")
    before = shown(page)
    page.wheel(x, y, -300, ctrl=True)
    page.wait("report.range()[1] - report.range()[0] < %f" % ((before[1] - before[0]) * 0.99))
    page.press("z")
    before = shown(page)
    page.drag(x, y, 100)
    page.wait("report.range()[1] - report.range()[0] < %f" % ((before[1] - before[0]) * 0.5))
    page.press("0")
    page.wait(f"Math.abs(report.range()[0] - {whole[0]}) < 1e-9 && Math.abs(report.range()[1] - {whole[1]}) < 1e-9")

    page.value(COUNT_CANVASES)
    page.value(f"report.show({whole[0]}, {whole[0] + (whole[1] - whole[0]) * 0.9})")
    page.drawn()
    made, bars = page.value("[canvases, report.drawn().bars]")
    assert made < 60 < bars, "a canvas a bar: a picture takes seconds"

    page.value("document.querySelector('#suggested button').click()")
    assert page.value("document.querySelectorAll('#life-answer tbody tr').length") > 0
    page.value("document.querySelector('#life-answer tbody button').click()")
    page.wait("report.range()[1] - report.range()[0] < %f" % ((whole[1] - whole[0]) * 0.5))


def test_a_finding_is_shown_with_who_waits_in_light_and_dark(page: Browser, report: Callable[..., Path]) -> None:
    path = report("--cpus", "4", "--workload", "pressure", "--memory", "24M", "--fault", "ipi-lost:0.05")
    page.open(path)
    assert page.value("document.querySelector('.verdict').className") == "verdict failed"
    assert page.value("document.querySelectorAll('article.finding').length") >= 1
    assert page.value("document.querySelectorAll('svg.waits .arrow').length") >= 1
    assert page.value("report.drawn().missed") >= 1
    page.value("document.querySelector('[data-seek]').click()")
    at = float(page.value("document.querySelector('[data-seek]').dataset.seek"))
    page.wait(f"report.range()[0] <= {at} && {at} <= report.range()[1]")

    page.value("document.querySelector('.story .moment').click()")
    at = float(page.value("document.querySelector('.story .moment').dataset.seek"))
    page.wait(f"report.range()[0] <= {at} && {at} <= report.range()[1]")

    colours = []
    for dark in (False, True):
        page.scheme(dark)
        page.drawn()
        colours.append(page.value("[getComputedStyle(document.body).backgroundColor, report.drawn().text]"))
    assert colours[0][0] == "rgb(255, 255, 255)"
    assert colours[1][0] == "rgb(16, 22, 29)"
    assert colours[0][1] != colours[1][1]
    page.value("document.getElementById('theme').click()")  # light, whatever the system says
    assert page.value("[getComputedStyle(document.body).backgroundColor, report.drawn().text]") == colours[0]
