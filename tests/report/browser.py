"""A real browser without a window, driven over its DevTools protocol through a pair of pipes.

Two pipes and JSON need no package and no port.  ``chromium()`` finds the browser, or says why there is none.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
PATIENCE_S = 60.0
"""For an answer or a condition: a loaded machine is slow, a broken page never gets there."""


@cache
def chromium() -> str | None:
    """The path of a browser that starts: some of these names are stubs that ask for something else."""
    for found in filter(None, map(shutil.which, NAMES)):
        asked = subprocess.run([found, "--version"], stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE_S)
        if asked.returncode == 0:
            return found
    return None


ON_3_AND_4 = """\
import fcntl, os, sys
high = [fcntl.fcntl(int(each), fcntl.F_DUPFD, 10) for each in sys.argv[1:3]]
for number, descriptor in zip((3, 4), high):
    os.dup2(descriptor, number)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""The protocol is spoken on these two descriptors of the browser: in and out."""


class Browser:
    """One page.  ``errors``: what it wrote to the console as an error, exceptions, requests that failed or left."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self.to_browser, self.from_browser = to_browser, from_browser
        self.buffer = b""
        self.number = 0
        self.session: str | None = None
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.loaded = False

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command; its result."""
        self.number += 1
        message: dict[str, Any] = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.to_browser, data) :]
        end = time.monotonic() + PATIENCE_S
        while True:
            answer = self._read(end)
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise AssertionError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result

    def _read(self, end: float) -> dict[str, Any]:
        """The next message; what happened meanwhile is noted."""
        while b"\0" not in self.buffer:
            if not select.select([self.from_browser], [], [], max(0.0, end - time.monotonic()))[0]:
                raise AssertionError("the browser does not answer")
            data = os.read(self.from_browser, 1 << 20)
            if not data:
                raise AssertionError("the browser has ended")
            self.buffer += data
        text, self.buffer = self.buffer.split(b"\0", 1)
        message: dict[str, Any] = json.loads(text)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, method: str, what: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            details = what["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Runtime.consoleAPICalled" and what["type"] in ("error", "assert", "warning"):
            said = " ".join(str(each.get("value", each.get("description"))) for each in what["args"])
            self.errors.append(f"console {what['type']}: {said}")
        elif method == "Log.entryAdded" and what["entry"]["level"] in ("error", "warning"):
            self.errors.append(what["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(what["request"]["url"])
        elif method == "Page.loadEventFired":
            self.loaded = True

    # --- the page --------------------------------------------------------------------------------------------

    def open(self, path: Path, width: int = 1366, height: int = 900, dark: bool = False) -> None:
        """Load a file and wait until it says that it is ready."""
        if self.session is None:
            target = self.call("Target.createTarget", url="about:blank")["targetId"]
            self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                self.call(f"{domain}.enable")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.scheme(dark)
        self.call("Page.navigate", url=path.resolve().as_uri())
        self.wait("window.report?.ready === true")

    def scheme(self, dark: bool) -> None:
        value = "dark" if dark else "light"
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": value}])

    def value(self, expression: str) -> Any:
        """What an expression comes to, in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"]["exception"].get("description"))
        return answer["result"].get("value")

    def wait(self, expression: str) -> None:
        """Until it is true."""
        end = time.monotonic() + PATIENCE_S
        while not self.value(expression):
            if time.monotonic() > end or self.errors:
                raise AssertionError(f"never true: {expression}; errors: {self.errors}")
            time.sleep(0.02)

    def drawn(self) -> None:
        """Two frames later: what was asked for before is on the screen."""
        self.value("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))")

    def press(self, key: str) -> None:
        text = key if len(key) == 1 else ""
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, text=text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def drag(self, x: float, y: float, by: float) -> None:
        """With the left button, along a line to the right."""
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        self.call("Input.dispatchMouseEvent", type="mousePressed", x=x, y=y, button="left", clickCount=1)
        for step in range(1, 11):
            self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x + by * step / 10, y=y, button="left",
                      buttons=1)
        self.call("Input.dispatchMouseEvent", type="mouseReleased", x=x + by, y=y, button="left", clickCount=1)

    def wheel(self, x: float, y: float, delta: float, ctrl: bool = False) -> None:
        self.call("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=delta,
                  modifiers=2 if ctrl else 0)

    def point(self, x: float, y: float) -> None:
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def screenshot(self, path: Path, whole: bool = False) -> None:
        """A PNG of what is seen, or of the whole page."""
        self.drawn()
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A browser with a directory of its own; gone at the end."""
    found = chromium()
    assert found is not None
    to_browser, from_us = os.pipe()
    from_browser, to_us = os.pipe()

    command = [sys.executable, "-c", ON_3_AND_4, str(to_browser), str(to_us), found, "--headless=new",
               "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage",
               "--disable-background-networking", "--disable-component-update", "--hide-scrollbars",
               f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(command, pass_fds=(to_browser, to_us), stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(to_browser)
    os.close(to_us)
    try:
        one = Browser(from_us, from_browser)
        yield one
        one.session = None
        one.call("Browser.close")
        process.wait(PATIENCE_S)
    finally:
        os.close(from_us)
        os.close(from_browser)
        if process.poll() is None:
            process.kill()
            process.wait()
