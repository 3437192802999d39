"""Ctrl-C and its like, collected instead of raised: whoever works looks whether somebody wants it to stop."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator


@contextlib.contextmanager
def interrupts() -> Iterator[list[float]]:
    """Times of Ctrl-C, SIGTERM, and the terminal's hang-up, instead of exceptions anywhere.

    A hang-up comes from the terminal and from the shell: it asks once, however often it comes.
    """
    times: list[float] = []

    def interrupted(number: int, _: object) -> None:
        if number != signal.SIGHUP or not times:
            times.append(time.monotonic())

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup
        numbers.append(signal.SIGHUP)
    previous = {each: signal.signal(each, interrupted) for each in numbers}
    try:
        yield times
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
