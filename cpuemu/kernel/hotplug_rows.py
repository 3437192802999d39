"""The names of a hotplug operation's rows, and which one is under way: for whoever reads RAM from outside.

Invariant:     the names are those of the table in cpu_hotplug.py, which asserts it.
Writers:       none: reads RAM only.
Steps:         none.
Not modelled:  none.
"""

from __future__ import annotations

from cpuemu.layout import Hotplug

DOWN_ROWS = ("cpu_hotplug_begin", "CPU_DOWN_PREPARE", "take_cpu_down", "take_process", "CPU_DEAD", "cpu_hotplug_done",
             "CPU_POST_DEAD")
UP_ROWS = ("cpu_hotplug_begin", "CPU_UP_PREPARE", "start_process", "__cpu_up", "wait_running", "cpu_hotplug_done")

UP_FLAG, UNDO_FLAG = 1 << 9, 1 << 8


def row_code(up: bool, undo: bool, row: int) -> int:
    """A row as the coordinator asks for it in ``Hotplug.request``."""
    return (UP_FLAG if up else 0) | (UNDO_FLAG if undo else 0) | row


def row_under_way(hotplug: Hotplug) -> str:
    """The step of the operation under way, for whoever watches from outside: ``take_cpu_down, 4 of 8``.

    The hands' own rows are asked of nobody: when the kernel has answered, the row after its own is theirs.
    """
    code, asked = divmod(hotplug.request, 1 << 32)
    rows, undoing, position = UP_ROWS if hotplug.up else DOWN_ROWS, bool(code & UNDO_FLAG), code & 0xFF
    if hotplug.answer == asked:
        position += -1 if undoing else 1
    if bool(code & UP_FLAG) != bool(hotplug.up) or not 0 <= position < len(rows):
        position, undoing = 0, False  # the request is still the last operation's
    return f"{'undo of ' if undoing else ''}{rows[position]}, {position + 1} of {len(rows)}"
