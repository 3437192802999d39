"""Kernel profiles: which historical pieces make up the emulated kernel.  A bundle of names, no code of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cpuemu.policies.base import Policy
from cpuemu.policies.on_each_cpu import OnEachCpu


@dataclass(frozen=True)
class Profile:
    """One release: its drain policy, its call_function machinery, its hotplug machinery."""

    name: str
    release: str
    drain: type[Policy]
    call_function: str
    hotplug: str


PROFILES: Mapping[str, Profile] = {
    "v3.2": Profile("v3.2", "3.2.7", OnEachCpu, call_function="global-queue", hotplug="notifiers"),
}
POLICIES: Mapping[str, type[Policy]] = {"on-each-cpu": OnEachCpu}
"""Policies by the names that --policy takes."""


def policy_named(profile: str, policy: str | None) -> Policy:
    """The drain policy of a run: the profile's own, or another one by name.  Raises KeyError on an unknown name."""
    return POLICIES[policy]() if policy else PROFILES[profile].drain()
