"""Deliberate defects of the emulated kernel, one for each oracle: ``python -m tests.mutants NAME launch …``.

The patch is made in the launcher's process; coordinator, zygote and CPUs are forked from it, so all of them have it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from cpuemu.arch.cpu import Cpu
from cpuemu.cli.main import main
from cpuemu.kernel import cpu_hotplug, page_alloc, page_lists, smp, stop_machine, user_mode


def no_drain_of_the_dead() -> None:
    """CPU_DEAD without the allocator's notifier."""
    cpu_hotplug.CPU_DEAD = (cpu_hotplug.migration_dead,)


def a_block_is_lost() -> None:
    """A free of a higher order that never reaches the free lists."""
    page_lists.free_one_page = lambda *arguments: None


def freed_twice() -> None:
    """Every system call that frees does it again."""
    right: Callable[..., None] = user_mode.free_pages  # type: ignore[attr-defined]

    def twice(cpu: Cpu, pfn: int, order: int, cold: bool = False) -> None:
        right(cpu, pfn, order, cold)
        right(cpu, pfn, order, cold)

    user_mode.free_pages = twice  # type: ignore[attr-defined]


def calls_without_looking() -> None:
    """smp_call_function_single believes that every CPU is online."""
    smp.cpu_online = lambda cpu, number: True  # type: ignore[attr-defined]


def no_acknowledgement() -> None:
    """A csd is never unlocked."""
    smp.csd_unlock = lambda cpu, flags: None


def an_ack_too_few() -> None:
    """One thread of the barrier that acknowledges nothing."""
    right: Callable[[Cpu], None] = stop_machine.ack_state

    def ack(cpu: Cpu) -> None:
        if cpu.number != 1:
            right(cpu)

    stop_machine.ack_state = ack


def called_with_irqs_off() -> None:
    """Drains are asked for with interrupts off."""
    right: Callable[..., Any] = page_alloc.drain_from_reclaim

    def drain(cpu: Cpu, order: int) -> None:
        cpu.me.irqs_off = 1
        right(cpu, order)
        cpu.me.irqs_off = 0

    page_alloc.drain_from_reclaim = drain


MUTANTS: dict[str, Callable[[], None]] = {
    each.__name__: each for each in (
        no_drain_of_the_dead, a_block_is_lost, freed_twice, calls_without_looking, no_acknowledgement, an_ack_too_few,
        called_with_irqs_off,
    )
}

if __name__ == "__main__":
    MUTANTS[sys.argv[1]]()
    main(sys.argv[2:])
