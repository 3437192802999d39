"""How a run ended, as the coordinator, or its launcher when the coordinator is gone, saw it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Outcome:
    """``kind``: finished, interrupted, failed (a fatal finding), hung, cpu-died, coordinator-died, zygote-died,
    disk-full, defect.  ``who``: the process that died or failed; ``detail``: a sentence about it.
    """

    kind: str
    who: str = ""
    detail: str = ""
    seconds: float = 0.0
    boot_seconds: float = 0.0
    offline_us: list[float] = field(default_factory=list)
    online_us: list[float] = field(default_factory=list)
    offlines: int = 0
    onlines: int = 0
    hotplug_skipped: int = 0
    notes: list[str] = field(default_factory=list)
