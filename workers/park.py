"""A CPU offline whose process is kept (--offline park): asleep until its next life, or until the machine is off."""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING

from cpuemu.arch.cpu import LifelineLost, PowerOff
from cpuemu.layout import CpuState

if TYPE_CHECKING:
    from cpuemu.arch.cpu import Cpu


def wait_for_next_life(cpu: Cpu) -> int:
    """Sleep on doorbell and lifeline until the coordinator gives this CPU another generation; that generation."""
    poller = select.poll()
    poller.register(cpu.bell, select.POLLIN)
    poller.register(cpu.lifeline, select.POLLIN | select.POLLHUP)
    generation = cpu.apic.generation
    sleeping = cpu.me.addr(type(cpu.me).sleeping)
    while True:
        cpu.ram.xchg(sleeping, 1)
        if cpu.off():
            raise PowerOff
        if cpu.me.generation != generation and cpu.me.state == CpuState.STARTING:
            cpu.ram.xchg(sleeping, 0)
            return int(cpu.me.generation)
        for descriptor, _ in poller.poll():
            if descriptor == cpu.lifeline:
                raise LifelineLost
            os.eventfd_read(cpu.bell)
