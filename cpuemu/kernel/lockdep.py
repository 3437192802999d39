"""Lock orders that could deadlock, told before any does (Linux: kernel/lockdep.c, v3.2).

Invariant:     a class's ``after`` and ``usage`` say what was seen since power-on, by any CPU; bits are only set.
Writers:       the bits atomically, the sites by who sets the bit; a CPU's and a task's held locks by themselves.
Steps:         none: a check changes nothing but what lockdep knows.
Not modelled:  read locks, subclasses, softirq, the order in which a trylock comes (it cannot deadlock).

The fast half is compiled (core/locks.pxi): it knows by a few bits whether an acquisition is new to the machine.  Only
a new one comes here.  As in Linux the first report is the last: what follows from it is not told.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

from cpuemu.kernel import oracles
from cpuemu.kernel.bug import report
from cpuemu.kernel.lock_graph import reach, way
from cpuemu.kernel.oracles import Rule
from cpuemu.layout import LOCK_CLASSES, Header, LockClass, LockUsage, Machine, lock_class
from cpuemu.sites import site_name

if TYPE_CHECKING:
    from cpuemu.arch.cpu import Cpu

USAGES = (LockUsage.IN_HARDIRQ, LockUsage.HARDIRQ_ON)
"""In the order of ``usage_site``."""


def lock_acquire(cpu: Cpu, lock: int, where: int) -> None:
    """About to take a lock and, if need be, to wait for it: does that agree with all that was seen before?"""
    if cpu.core.new_to_lockdep(lock):
        _mark(cpu, _class_of(cpu, lock), _usage_here(cpu), where)
        for held in _held_here(cpu):
            _add_dependency(cpu, held, lock, where)


def held_with_irqs_on(cpu: Cpu) -> None:
    """Interrupts are about to come on, and spinlocks are held: as if they had been taken so."""
    for lock in _held_here(cpu, mutexes=False):
        _mark(cpu, _class_of(cpu, lock), LockUsage.HARDIRQ_ON, cpu.machine.locks[lock].site)


def _usage_here(cpu: Cpu) -> int:
    if cpu.me.hardirq:
        return LockUsage.IN_HARDIRQ
    return 0 if cpu.me.irqs_off else LockUsage.HARDIRQ_ON


def _held_here(cpu: Cpu, mutexes: bool = True) -> Iterator[int]:
    """Locks held in this context: an interrupt handler does not hold those of the code that it interrupted."""
    me, task = cpu.me, cpu.current
    if mutexes and not me.hardirq:
        yield from (task.mutexes[at] for at in range(task.nr_mutexes))
    for at in range(me.nr_held):
        if me.held_locks[at] >> 16 == me.hardirq:
            yield me.held_locks[at] & 0xFFFF


def _class_of(cpu: Cpu, lock: int) -> int:
    return lock_class(lock, cpu.machine.dims.zones)


# --- what becomes known ------------------------------------------------------------------------------------


def _mark(cpu: Cpu, mine: int, usage: int, where: int) -> None:
    """Locks of this class are taken in one more context."""
    known = cpu.machine.lock_classes[mine]
    if not usage & ~known.usage:
        return
    known.usage_site[USAGES.index(LockUsage(usage))] = where
    cpu.ram.set_bits(known.addr(LockClass.usage), usage)
    if known.usage == LockUsage.IN_HARDIRQ | LockUsage.HARDIRQ_ON:
        inside, outside = (site_name(cpu.machine, known.usage_site[at]) for at in range(2))
        _tell(cpu, oracles.IRQ_UNSAFE_LOCK,
              f"inconsistent lock state: {LOCK_CLASSES[mine]} is taken in interrupts ({inside}) and with interrupts on "
              f"({outside}): the interrupt can hit its holder")
    elif usage == LockUsage.IN_HARDIRQ:
        _inversion(cpu, [mine], reach(cpu.machine, mine))
    else:
        _inversion(cpu, reach(cpu.machine, mine, backwards=True), [mine])


def _add_dependency(cpu: Cpu, held: int, lock: int, where: int) -> None:
    """A lock is taken while another one is held."""
    machine = cpu.machine
    first, second = _class_of(cpu, held), _class_of(cpu, lock)
    known = machine.lock_classes[first]
    if known.after >> second & 1:
        return
    place = machine.locks[held].site
    back = way(machine, second, first)
    known.held_site[second], known.after_site[second] = place, where
    cpu.ram.set_bits(known.addr(LockClass.after), 1 << second)
    here = (f"{cpu.current.comm} on cpu {cpu.number} takes {machine.locks[lock].name} in {site_name(machine, where)} "
            f"and holds {machine.locks[held].name}, taken in {site_name(machine, place)}")
    if first == second:
        _tell(cpu, oracles.RECURSIVE_LOCK, f"possible recursive locking detected: {here}")
    elif back:
        _tell(cpu, oracles.LOCK_ORDER, f"possible circular locking dependency detected: {here}; "
              f"but before: {'; '.join(_link(machine, *pair) for pair in pairwise(back))}")
    else:
        _inversion(cpu, reach(machine, first, backwards=True), reach(machine, second))


def _inversion(cpu: Cpu, before: list[int], behind: list[int]) -> None:
    """A lock that interrupts take, and behind it one that is taken with interrupts on."""
    classes = cpu.machine.lock_classes
    safe = next((each for each in before if classes[each].usage & LockUsage.IN_HARDIRQ), None)
    unsafe = next((each for each in behind if classes[each].usage & LockUsage.HARDIRQ_ON), None)
    if safe is None or unsafe is None or safe == unsafe:
        return
    names = [site_name(cpu.machine, classes[each].usage_site[at]) for at, each in enumerate((safe, unsafe))]
    _tell(cpu, oracles.IRQ_LOCK_INVERSION,
          f"HARDIRQ-safe -> HARDIRQ-unsafe lock order detected: {LOCK_CLASSES[safe]} is taken in interrupts "
          f"({names[0]}), under it {LOCK_CLASSES[unsafe]}, which is taken with interrupts on ({names[1]}); "
          + "; ".join(_link(cpu.machine, *pair) for pair in pairwise(way(cpu.machine, safe, unsafe))))


def _tell(cpu: Cpu, rule: Rule, message: str) -> None:
    if cpu.ram.cmpxchg(cpu.header.addr(Header.debug_locks_off), 0, 1):
        report(cpu, rule, message)


def _link(machine: Machine, first: int, second: int) -> str:
    known = machine.lock_classes[first]
    return (f"{LOCK_CLASSES[first]} (in {site_name(machine, known.held_site[second])}), then {LOCK_CLASSES[second]} "
            f"(in {site_name(machine, known.after_site[second])})")
