"""Processes of the tree: how they are started, named, tied to their parent, and seen to die.

One way to start: multiprocess' fork context, before any thread or ZeroMQ context exists in the parent.  Deaths are
seen by pidfd: a ``sentinel`` fires only when the grandchildren have ended too.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import select
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import multiprocess
from setproctitle import setproctitle

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36

_libc = ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def start(name: str, target: Callable[..., None], *args: Any) -> int:
    """Fork a child of the tree; its pid.  The child's title is ``name``; it never returns into the caller's code."""
    process = multiprocess.get_context("fork").Process(target=_enter, args=(name, target, args), name=name)
    process.start()
    return int(process.pid)


def _enter(name: str, target: Callable[..., None], args: tuple[Any, ...]) -> None:
    setproctitle(name)
    # Ctrl-C and the terminal's hang-up are for the launcher: it stops the machine in order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    status = 70
    try:
        target(*args)
        status = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        # Not sys.exit: multiprocess would wait for the grandchildren, and atexit handlers are the launcher's.
        os._exit(status)


def title(name: str) -> None:
    """The name that ps shows."""
    setproctitle(name)


def die_with(parent: int) -> None:
    """SIGKILL when the parent dies; ends at once if it has died already."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def adopt_orphans() -> None:
    """Descendants whose parent died become our children: they can be waited for."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def raise_file_limit() -> int:
    """The soft limit of open files to the hard one; the limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def gone(pidfd: int) -> bool:
    """Whether the process behind a pidfd has ended."""
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    return bool(poller.poll(0))


def exit_status(pidfd: int) -> int:
    """Reap a child that has ended; its exit status, negative: the signal that killed it."""
    result = os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
    assert result is not None
    return result.si_status if result.si_code == os.CLD_EXITED else -result.si_status


def children(pid: int | None = None) -> list[int]:
    """Children of a process (ours; adopted ones too), zombies among them."""
    parent = pid or os.getpid()
    try:
        return [int(child) for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
    except OSError:  # it has ended
        return []


def kill(pid: int) -> None:
    """SIGKILL to a process of ours that may be gone already.  Context: not yet reaped, so the pid is still its own."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def status_text(status: int) -> str:
    """A wait status (negative: signal) in words."""
    if status >= 0:
        return f"exit status {status}"
    with contextlib.suppress(ValueError):
        return f"killed by {signal.Signals(-status).name}"
    return f"killed by signal {-status}"
