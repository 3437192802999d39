"""Kernel profiles: which historical pieces make up the emulated kernel.  A bundle of names, no code of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cpuemu.errors import UserError
from cpuemu.policies.base import Policy
from cpuemu.policies.cpus_with_pages import CpusWithPages
from cpuemu.policies.drain_with_hotplug_lock import DrainWithHotplugLock
from cpuemu.policies.local_only import LocalOnly
from cpuemu.policies.on_each_cpu import OnEachCpu
from cpuemu.policies.user import user_policy


@dataclass(frozen=True)
class Profile:
    """One release: its drain policy, and whether its call interrupts go to a private copy of the mask.

    Common to all profiles so far: the global queue of call blocks, notifier chains, the refcounted hotplug lock.
    """

    name: str
    release: str
    drain: type[Policy]
    private_ipi_mask: bool = False


PROFILES: Mapping[str, Profile] = {
    each.name: each for each in (
        Profile("v3.2", "3.2.7", OnEachCpu),
        Profile("gorman-2012", "3.2.7 with the patch of January 2012", LocalOnly),
        Profile("v3.4", "3.4.39", CpusWithPages, private_ipi_mask=True),
    )
}
POLICIES: Mapping[str, type[Policy]] = {
    each.name: each for each in (OnEachCpu, LocalOnly, CpusWithPages, DrainWithHotplugLock)
}
"""Policies by the names that --policy takes."""


def policy_named(profile: str, policy: str | None) -> Policy:
    """The drain policy of a run: the profile's own, or another one.  Raises UserError on an unknown name."""
    if policy is None:
        return profile_named(profile).drain()
    if policy.partition(":")[0].endswith(".py"):
        return user_policy(policy)()
    if policy not in POLICIES:
        raise UserError(f"--policy {policy}: unknown; known are {', '.join(POLICIES)}, FILE.py:CLASS")
    return POLICIES[policy]()


def profile_named(name: str) -> Profile:
    """Raises UserError on an unknown name."""
    if name not in PROFILES:
        raise UserError(f"--profile {name}: unknown; known are {', '.join(PROFILES)}")
    return PROFILES[name]
