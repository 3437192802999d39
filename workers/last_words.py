"""What a CPU's process says when it ends by a defect of ours: into RAM and to the run's stderr file."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from typing import TYPE_CHECKING

from cpuemu.layout import MachineState

if TYPE_CHECKING:
    from cpuemu.layout import Machine

STATUS_OFF = 0
STATUS_FAILED = 3
STATUS_DEFECT = 70


def last_words(machine: Machine, number: int, generation: int, error: BaseException, bell: int) -> None:
    """A sentence with the place into RAM; the whole traceback to stderr.  The machine cannot go on."""
    frame = traceback.extract_tb(error.__traceback__)[-1:]
    place = f" at {frame[0].name}, {os.path.basename(frame[0].filename)}:{frame[0].lineno}" if frame else ""
    machine.cpus[number].last_words = f"cpu {number} gen {generation}: {type(error).__name__}: {error}{place}"
    header = machine.header
    header.last_words = 1
    header.frozen = 1
    header.state = MachineState.FAILED
    os.eventfd_write(bell, 1)
    with contextlib.suppress(OSError):  # the disk may be full: what stands in RAM has its place there already
        traceback.print_exception(error, file=sys.stderr)
        sys.stderr.flush()
