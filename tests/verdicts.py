"""What a machine that behaves may come to: ok, or a defect that its release really has, by its number."""

from __future__ import annotations

from typing import Any


def behaves(code: int, said: dict[str, Any]) -> bool:
    """Whether nothing was found that the emulated release does not really do."""
    findings = said["findings"]
    if said["verdict"] == "known-defect":
        return code == 1 and bool(findings) and all(each["known"] for each in findings)
    return (code, said["verdict"], findings) == (0, "ok", [])


def found_only_a_death(said: dict[str, Any]) -> bool:
    """Whether a machine that somebody was killed in shows nothing else, but for what its release really does."""
    return said["verdict"] != "ok" and all(each["known"] or each["rule"] == "owner-died" for each in said["findings"])
