"""How a run ended, as the coordinator, or its launcher when the coordinator is gone, saw it."""

from __future__ import annotations

from dataclasses import dataclass

DETAIL_LIMIT = 8000
"""Characters: an outcome travels as one message."""


@dataclass
class Outcome:
    """``kind``: finished, interrupted, failed (a fatal finding), hung, cpu-died, coordinator-died, zygote-died,
    launcher-died, disk-full, defect.  ``who``: the process that died or failed; ``detail``: a sentence about it.

    What was counted and measured stands in RAM: it is there whoever died.
    """

    kind: str
    who: str = ""
    detail: str = ""
    seconds: float = 0.0
    boot_seconds: float = 0.0

    def __post_init__(self) -> None:
        self.detail = self.detail[:DETAIL_LIMIT]
