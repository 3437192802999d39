"""Names of places in emulated code: points, waits, lock acquisitions, kernel threads.

A site is made at import, so every process of a run (all forked from one zygote) gives it the same number.
The table is written into RAM at power-on: a post-mortem reads names, not numbers.
"""

from __future__ import annotations

from cpuemu.layout import NR_SITES, Machine

NAMES: list[str] = ["(none)"]
_NUMBERS: dict[str, int] = {"(none)": 0}

NO_SITE = 0


def site(name: str) -> int:
    """The number of a place; the same name always gives the same number."""
    number = _NUMBERS.get(name)
    if number is None:
        number = len(NAMES)
        if number >= NR_SITES:
            raise AssertionError(f"more than {NR_SITES} sites: raise layout.NR_SITES")
        _NUMBERS[name] = number
        NAMES.append(name)
    return number


def write_sites(machine: Machine) -> None:
    """Put the table into RAM."""
    for number, name in enumerate(NAMES):
        machine.sites[number].name = name
    machine.header.nr_sites = len(NAMES)


def site_name(machine: Machine, number: int) -> str:
    """The name of a site of this image; a number that is none is shown as such."""
    if 0 <= number < min(machine.header.nr_sites, NR_SITES):
        return machine.sites[number].name
    return f"site {number}"
