"""One run of the real command in a test: its processes, its RAM, its verdict."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import resource
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cpuemu.arch.ram import RamFile, open_ram
from cpuemu.coordinator.host_time import process_state
from cpuemu.layout import MachineState

ROOT = Path(__file__).resolve().parent.parent


def children(pid: int) -> list[int]:
    """The living children of a process (zombies too)."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def title_of(pid: int) -> str:
    """What ps shows as its arguments."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode(errors="replace").replace("\0", " ")
    except OSError:
        return ""


def is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def wait_for(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """Wait for something to become true; its value."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.01)
    return value


class Launched:
    """``cpuemu launch`` under way; ``--json`` unless told otherwise."""

    def __init__(self, run_dir: Path, options: tuple[str, ...], environment: dict[str, str], as_json: bool = True,
                 largest_file: int | None = None, module: str = "cpuemu") -> None:
        self.run_dir, self.json = run_dir, as_json
        command = [sys.executable, "-m", module, "launch", "--run-dir", str(run_dir), *options]
        command += ["--json"] * as_json
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
        self.largest_file = largest_file
        self.process = self._start(command, {**os.environ, "PYTHONPATH": path, **environment})
        self._image: RamFile | None = None

    def _start(self, command: list[str], environment: dict[str, str]) -> subprocess.Popen[str]:
        limit = self.largest_file
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
                                preexec_fn=(lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit or 0,) * 2))
                                if limit else None)

    # --- while it runs -------------------------------------------------------------------------------------

    @property
    def image(self) -> RamFile:
        """The machine's RAM, as soon as it is there."""
        if self._image is None:
            def opened() -> RamFile | None:
                assert self.process.poll() is None, self.process.communicate()
                try:
                    return open_ram(self.run_dir)
                except (OSError, ValueError):
                    return None  # not made yet, or not finished

            self._image = wait_for(opened, 20, "RAM")
        return self._image

    def running(self) -> Launched:
        """Wait until every CPU is up and the workload runs."""
        header = self.image.machine.header
        wait_for(lambda: header.state >= MachineState.RUNNING, 30, "the machine runs")
        assert header.state == MachineState.RUNNING
        return self

    def pid(self, role: str) -> int:
        """A process of the tree by role: launcher, coordinator, zygote, "cpu 3", "cpu 3 gen 1 lent to cpu 0"."""
        if role == "launcher":
            return self.process.pid
        return next(pid for pid, title in self.tree() if re.fullmatch(rf"cpuemu {role}( gen \d+)?", title))

    def tree(self) -> list[tuple[int, str]]:
        """All descendants of the launcher with their titles."""
        found, waiting = [], [self.process.pid]
        while waiting:
            for pid in children(waiting.pop()):
                found.append((pid, title_of(pid)))
                waiting.append(pid)
        return found

    def kill(self, role: str, number: int = signal.SIGKILL) -> None:
        os.kill(self.pid(role), number)

    @staticmethod
    def signal(pid: int, number: int) -> None:
        """To a process that may be gone."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    # --- afterwards ----------------------------------------------------------------------------------------

    def end(self, seconds: float = 30.0) -> tuple[int, dict[str, Any]]:
        """Wait for the command; its exit code and what --json printed."""
        try:
            self.output, self.errors = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            left = [f"{pid} {title} ({process_state(pid)})" for pid, title in self.tree()]
            raise AssertionError(f"the launcher does not end within {seconds} s; {left} run\n{self.log}") from None
        print(self.output, self.errors, self.log, sep="\n")  # pytest shows it when the test fails
        return self.process.returncode, json.loads(self.output) if self.json and self.output else {}

    @property
    def log(self) -> str:
        """What the machine's own processes said."""
        path = self.run_dir / "stderr.log"
        return path.read_text() if path.exists() else ""


class OnTerminal(Launched):
    """The same on a terminal of its own, its controlling one.

    ``in_shell``: started by a shell with job control, which says BACK when it was stopped, and lets it go on when
    something is typed.
    """

    BACK = "back at the shell"

    def __init__(self, run_dir: Path, options: tuple[str, ...], environment: dict[str, str],
                 size: tuple[int, int], in_shell: bool = False) -> None:
        self.in_shell = in_shell
        self.master, self.slave = pty.openpty()
        self.slave_name = os.ttyname(self.slave)
        self.resize(*size)
        self._text: list[bytes] = []
        self._reads, self._closes = threading.Event(), threading.Event()
        self._reads.set()
        super().__init__(run_dir, options, {"TERM": "xterm-256color", **environment}, as_json=False)
        os.close(self.slave)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _start(self, command: list[str], environment: dict[str, str]) -> subprocess.Popen[str]:
        if self.in_shell:
            command = ["bash", "-c", f'set -m; "$@"; echo {self.BACK}; read; fg', "bash", *command]
        return subprocess.Popen(command, stdin=self.slave, stdout=self.slave, stderr=self.slave, text=True,
                                env=environment, start_new_session=True,
                                preexec_fn=lambda: fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0))

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # EIO: the last one that had the terminal open has ended
            while not self._closes.is_set():
                if self._reads.wait(0.05) and select.select([self.master], [], [], 0.05)[0]:
                    self._text.append(os.read(self.master, 1 << 16))

    @property
    def screen(self) -> str:
        """Everything that was written to the terminal so far."""
        return b"".join(self._text).decode(errors="replace")

    def stop_reading(self) -> None:
        """As Ctrl-S: the terminal takes nothing more, soon."""
        self._reads.clear()

    def read_on(self) -> None:
        self._reads.set()

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def type(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def hang_up(self) -> None:
        """The terminal's window is closed."""
        if not self._closes.is_set():
            self._closes.set()
            self._reader.join()
            os.close(self.master)

    def end(self, seconds: float = 30.0) -> tuple[int, dict[str, Any]]:
        code = self.process.wait(seconds)
        self._reader.join(5)
        self.hang_up()
        print(self.screen, self.log, sep="\n")
        return code, {}
