"""Calling functions on other CPUs (Linux: kernel/smp.c, v3.2.7: one global queue).

Invariant:     a call_function_data is on the queue exactly while its refs are not 0; a csd is locked from
               before it is queued until its function has run.
Writers:       a block's words by its CPU while it holds the csd lock; then receivers clear their bit and take
               one from refs; the last one unlinks the block and unlocks the csd.
Steps:         before the csd is locked, before refs and mask are filled, before the block is published, between
               publication and the read of the mask for the interrupt, before each receiver's test of its bit.
Not modelled:  early boot, virtual interrupts, store reordering (refs is stored last under the lock, as 3.2 does).

The race of the 2012 thread is here on purpose: the interrupt is sent to the block's own mask, *after* the block is
published, when receivers may already be clearing it (fixed by f44310b98ddb in v3.8; zoo 13b).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cpuemu.arch.gate import Kind
from cpuemu.events import Event
from cpuemu.kernel import oracles
from cpuemu.kernel.bug import BUG_ON, WARN_ON_ONCE
from cpuemu.kernel.call_functions import function_name
from cpuemu.kernel.cpumask import (
    bits_of,
    cpu_online,
    cpumask_any_and,
    cpumask_copy,
    cpumask_test_cpu,
    for_each_cpu,
    store_bits,
)
from cpuemu.kernel.irqflags import (
    in_interrupt,
    irqs_disabled,
    local_irq_disable,
    local_irq_enable,
    local_irq_restore,
    local_irq_save,
    preempt_disable,
    preempt_enable,
)
from cpuemu.kernel.percpu import per_cpu
from cpuemu.kernel.sched import wake
from cpuemu.kernel.spinlock import spin_lock, spin_lock_irqsave, spin_unlock, spin_unlock_irqrestore
from cpuemu.layout import (
    LOCK_CALL_FUNCTION,
    NOBODY,
    CallFunctionData,
    Csd,
    Mask,
    Op,
    Vector,
    single_queue_lock,
)
from cpuemu.sites import site

if TYPE_CHECKING:
    from cpuemu.arch.cpu import Cpu
    from cpuemu.schema import Address

CSD_FLAG_LOCK = 1
LIST_POISON2 = NOBODY

P_CSD_LOCK = site("csd_lock")
P_CSD_LOCK_WAIT = site("csd_lock_wait")
P_CSD_UNLOCK = site("csd_unlock")
P_MANY_MASK = site("smp_call_function_many:cpumask")
P_MANY_FILL = site("smp_call_function_many:fill")
P_MANY_LOCK = site("smp_call_function_many:call_function.lock")
P_MANY_SEND = site("smp_call_function_many:ipi_mask")
P_ANY_ONLINE = site("smp_call_function_any:cpu_online_mask")
P_SINGLE_ONLINE = site("smp_call_function_single:cpu_online")
P_SINGLE_LOCK = site("generic_exec_single:lock")
P_SINGLE_SEND = site("generic_exec_single:ipi")
P_HANDLER_WALK = site("call_function_interrupt:walk")
P_HANDLER_CLEAR = site("call_function_interrupt:cpumask_test_and_clear_cpu")
P_HANDLER_REFS = site("call_function_interrupt:refs")
P_HANDLER_LOCK = site("call_function_interrupt:call_function.lock")
P_HANDLER_SINGLE = site("call_function_single_interrupt:lock")
P_CALL_SITE = site("on_each_cpu")


# --- csd locks ---------------------------------------------------------------------------------------------


def csd_lock_wait(cpu: Cpu, flags: Address, why: int = P_CSD_LOCK_WAIT) -> None:
    """Wait until the lock bit is clear, with interrupts as they are: Linux spins here, we sleep in the poll."""
    WARN_ON_ONCE(cpu, irqs_disabled(cpu) and bool(cpu.ram.read(flags) & CSD_FLAG_LOCK), oracles.CSD_WAIT_IRQS_OFF,
                 "a csd is waited for with interrupts off")
    cpu.wait_until(flags, Op.MASK_CLEAR, CSD_FLAG_LOCK, why)


def csd_lock(cpu: Cpu, flags: Address) -> None:
    csd_lock_wait(cpu, flags, P_CSD_LOCK)
    WARN_ON_ONCE(cpu, bool(cpu.ram.xchg(flags, CSD_FLAG_LOCK) & CSD_FLAG_LOCK), oracles.CSD_LOCKED_TWICE,
                 "csd_lock: a csd that is locked already")


def csd_unlock(cpu: Cpu, flags: Address) -> None:
    """The acknowledgement: a store, and a ring if the sender sleeps."""
    cpu.point(P_CSD_UNLOCK, flags, Kind.WRITE)
    cpu.core.trace(Event.CPUEMU_CSD_UNLOCK, _number(cpu, flags))
    WARN_ON_ONCE(cpu, not cpu.ram.xchg(flags, 0) & CSD_FLAG_LOCK, oracles.CSD_UNLOCKED_TWICE,
                 "csd_unlock: a csd that is not locked")
    wake(cpu, flags)


def _number(cpu: Cpu, flags: Address) -> int:
    """What csd_queue_cpu has traced for the csd with this lock word."""
    single, many = cpu.machine.placed["csds"].base, cpu.machine.placed["cfds"].base
    place = flags >> 2
    return 0x10000 + (place - many) // CallFunctionData.SIZE if place >= many else (place - single) // Csd.SIZE


def _warn_unsafe_context(cpu: Cpu) -> None:
    # Two CPUs that wait for each other with interrupts off never end; a CPU not yet online is excepted.
    WARN_ON_ONCE(cpu, irqs_disabled(cpu) and cpu_online(cpu, cpu.number), oracles.SMP_CALL_IRQS_OFF,
                 "WARNING: smp_call_function with interrupts disabled")
    WARN_ON_ONCE(cpu, in_interrupt(cpu), oracles.SMP_CALL_IN_INTERRUPT,
                 "WARNING: smp_call_function in an interrupt handler")


def _warn_offline(cpu: Cpu, target: int) -> None:
    # Preemption is off since the mask was read, so stop_machine cannot have taken the CPU away meanwhile.  The oracle
    # looks at the mask itself: what a caller believes is what it is there to check.
    if not cpumask_test_cpu(cpu, target, Mask.ONLINE):
        WARN_ON_ONCE(cpu, True, oracles.IPI_TO_OFFLINE, f"call interrupt to cpu {target}, which is offline",
                     cpus=(target,))


def _warn_taken_offline(cpu: Cpu, kind: str) -> None:
    # The stopper of a dying CPU lets interrupts in once more after take_cpu_down: what was raised before is taken
    # then.  v3.2 has nothing against it; v3.16 flushes first (8d056c48e486).
    if not cpu_online(cpu, cpu.number):
        dying = cpu.me.current == cpu.me.stop_task
        WARN_ON_ONCE(cpu, True, oracles.IPI_ON_OFFLINE,
                     f"{kind} interrupt taken on cpu {cpu.number}, which is not online", known="4" if dying else "")


# --- one CPU -----------------------------------------------------------------------------------------------


def smp_call_function_single(cpu: Cpu, target: int, func: int, info: int, wait: bool) -> int:
    """Run ``func(info)`` on one CPU.  0, or -ENXIO when that CPU is not online.

    Context: interrupts on.  wait: the csd stands on the caller's stack, else it is this CPU's own.
    """
    preempt_disable(cpu)
    _warn_unsafe_context(cpu)
    error = 0
    if target == cpu.number:
        flags = local_irq_save(cpu)
        cpu.calls[func](cpu, info)
        local_irq_restore(cpu, flags)
    else:
        cpu.point(P_SINGLE_ONLINE, cpu.machine.cpumasks[Mask.ONLINE].base << 2 | 3, Kind.READ)
        if target < cpu.machine.dims.cpus and cpu_online(cpu, target):
            csd = cpu.machine.csds[cpu.current.csd] if wait else per_cpu(cpu, cpu.machine.csds, cpu.number)
            csd_lock(cpu, csd.addr(Csd.flags))
            csd.func, csd.info = func, info
            generic_exec_single(cpu, target, csd, wait)
        else:
            error = -6  # ENXIO
    preempt_enable(cpu)
    return error


def smp_call_function_any(cpu: Cpu, mask: int, func: int, info: int, wait: bool) -> int:
    """Run ``func(info)`` on one CPU of ``mask``: this one if it is in it, else any that is online.

    0, or -ENXIO when none is: smp_call_function_single is then given nr_cpu_ids, the end of every mask, and is what
    must know that this is no CPU.  Context: interrupts on.
    """
    preempt_disable(cpu)
    target = cpu.number
    if not mask >> target & 1:
        cpu.point(P_ANY_ONLINE, cpu.machine.cpumasks[Mask.ONLINE].base << 2 | 3, Kind.READ)
        target = cpumask_any_and(cpu, mask, Mask.ONLINE)
    error = smp_call_function_single(cpu, target, func, info, wait)
    preempt_enable(cpu)
    return error


def smp_call_function_single_async(cpu: Cpu, target: int, csd: Csd) -> None:
    """Run a csd of the caller's own on another CPU, and do not wait (v3.2: __smp_call_function_single).

    The csd may be used again when its function has run, which only the function itself can tell.
    Context: any; the target is online.
    """
    preempt_disable(cpu)
    csd_lock(cpu, csd.addr(Csd.flags))
    generic_exec_single(cpu, target, csd, wait=False)
    preempt_enable(cpu)


def generic_exec_single(cpu: Cpu, target: int, csd: Csd, wait: bool) -> None:
    """Queue a csd; the interrupt is sent only when the queue was empty."""
    queue = cpu.machine.single_queues[target]
    lock = single_queue_lock(target, cpu.machine.dims.zones)
    csd.source, csd.target, csd.queued_ns, csd.next = cpu.number, target, cpu.now(), NOBODY
    flags = spin_lock_irqsave(cpu, lock, P_SINGLE_LOCK)
    empty = queue.head == NOBODY
    if empty:
        queue.head = csd.index
    else:
        cpu.machine.csds[queue.tail].next = csd.index
    queue.tail = csd.index
    cpu.core.trace(Event.CSD_QUEUE_CPU, target, P_SINGLE_SEND, csd.func, csd.index)
    spin_unlock_irqrestore(cpu, lock, flags)
    if empty:
        _warn_offline(cpu, target)
        cpu.apic.send(target, Vector.CALL_FUNCTION_SINGLE, cpu.off)
    if wait:
        csd_lock_wait(cpu, csd.addr(Csd.flags))


def generic_smp_call_function_single_interrupt(cpu: Cpu) -> None:
    """Context: interrupt."""
    _warn_taken_offline(cpu, "call_function_single")
    flush_smp_call_function_queue(cpu)


def flush_smp_call_function_queue(cpu: Cpu) -> None:
    """Run everything on this CPU's queue.  Context: interrupts off."""
    queue = cpu.machine.single_queues[cpu.number]
    lock = single_queue_lock(cpu.number, cpu.machine.dims.zones)
    spin_lock(cpu, lock, P_HANDLER_SINGLE)
    following = queue.head
    queue.head = queue.tail = NOBODY
    spin_unlock(cpu, lock)
    while following != NOBODY:
        csd = cpu.machine.csds[following]
        following = csd.next  # before the unlock: the sender may reuse its stack
        if csd.target != cpu.number:
            WARN_ON_ONCE(cpu, True, oracles.CSD_REUSED, f"csd {csd.index} on the queue of cpu {cpu.number} was filled "
                         f"anew for cpu {csd.target} by cpu {csd.source}", cpus=(csd.source,))
        _run(cpu, csd.func, csd.info, csd.index, csd.source)
        csd_unlock(cpu, csd.addr(Csd.flags))


def _run(cpu: Cpu, func: int, info: int, csd: int, source: int) -> None:
    cpu.core.trace(Event.CSD_FUNCTION_ENTRY, func, csd, source)
    cpu.me.call_source = source + 1
    cpu.calls[func](cpu, info)
    cpu.me.call_source = 0
    cpu.core.trace(Event.CSD_FUNCTION_EXIT, func, csd, source)


# --- many CPUs ---------------------------------------------------------------------------------------------


def smp_call_function_many(cpu: Cpu, mask: int, func: int, info: int, wait: bool) -> None:
    """Run ``func(info)`` on every online CPU of ``mask`` but this one.

    Context: preemption off, interrupts on.
    """
    machine = cpu.machine
    _warn_unsafe_context(cpu)
    cpu.point(P_MANY_MASK, machine.cpumasks[Mask.ONLINE].base << 2 | 3, Kind.READ)
    others = mask & cpumask_copy(cpu, Mask.ONLINE) & ~(1 << cpu.number)
    if not others:
        return
    if others & (others - 1) == 0:
        smp_call_function_single(cpu, others.bit_length() - 1, func, info, wait)
        return
    data = machine.cfds[cpu.number]
    csd_lock(cpu, data.addr(CallFunctionData.flags))
    if data.refs or bits_of(data.cpumask):
        BUG_ON(cpu, True, oracles.CFD_REUSED,
               f"BUG: call_function_data of cpu {cpu.number} is still referenced ({data.refs} refs)")
    cpu.point(P_MANY_FILL, data.addr(CallFunctionData.cpumask), Kind.WRITE)
    data.refs = 0
    data.func, data.info, data.queued_ns = func, info, cpu.now()
    # Read again, after the lock: the mask may have been another one while we waited.
    online = mask & cpumask_copy(cpu, Mask.ONLINE) & ~(1 << cpu.number)
    store_bits(data.cpumask, online)
    private = bool(cpu.header.private_ipi_mask)
    if private:
        store_bits(data.cpumask_ipi, online)
    refs = online.bit_count()
    if not refs:
        csd_unlock(cpu, data.addr(CallFunctionData.flags))
        return
    flags = spin_lock_irqsave(cpu, LOCK_CALL_FUNCTION, P_MANY_LOCK)
    _list_add(cpu, data)
    cpu.ram.xchg(data.addr(CallFunctionData.refs), refs)  # last: a walker skips a block with refs 0
    for target in for_each_cpu(online):
        cpu.core.trace(Event.CSD_QUEUE_CPU, target, P_MANY_SEND, func, 0x10000 + cpu.number)
    spin_unlock_irqrestore(cpu, LOCK_CALL_FUNCTION, flags)
    cpu.point(P_MANY_SEND, data.addr(CallFunctionData.cpumask), Kind.READ)
    for target in for_each_cpu(online & ~cpumask_copy(cpu, Mask.ONLINE)):
        _warn_offline(cpu, target)
    # v3.2 hands over the mask that receivers may be clearing by now (13b); v3.4.39 the copy made before.
    sent = cpu.apic.send_mask(data.cpumask_ipi if private else data.cpumask, Vector.CALL_FUNCTION, cpu.off)
    WARN_ON_ONCE(cpu, not sent, oracles.EMPTY_IPI_MASK,
                 "empty IPI mask: every receiver had run the call before the interrupt was sent", known="13b")
    if wait:
        csd_lock_wait(cpu, data.addr(CallFunctionData.flags))


def generic_smp_call_function_interrupt(cpu: Cpu) -> None:
    """Walk the global queue and run what names this CPU.  Context: interrupt; the walk takes no lock."""
    _warn_taken_offline(cpu, "call_function")
    machine = cpu.machine
    head = machine.dims.cpus
    element, bit = divmod(cpu.number, 64)
    position = machine.call_function.next
    while position != head:
        data = machine.cfds[position]
        cpu.point(P_HANDLER_WALK, data.addr(CallFunctionData.cpumask, element), Kind.READ)
        mine = data.cpumask[element] >> bit & 1
        if mine and data.refs:
            _run(cpu, data.func, data.info, 0x10000 + position, position)
            _call_done(cpu, data, element, bit)
        position = data.next


def _call_done(cpu: Cpu, data: CallFunctionData, element: int, bit: int) -> None:
    cpu.point(P_HANDLER_CLEAR, data.addr(CallFunctionData.cpumask, element), Kind.WRITE)
    before = cpu.ram.clear_bits(data.addr(CallFunctionData.cpumask, element), 1 << bit)
    if not before >> bit & 1:
        WARN_ON_ONCE(cpu, True, oracles.CSD_DOUBLE_EXECUTED,
                     f"{function_name(data.func)} enabled interrupts and double executed")
        return
    cpu.point(P_HANDLER_REFS, data.addr(CallFunctionData.refs), Kind.WRITE)
    refs = cpu.ram.add(data.addr(CallFunctionData.refs), -1)
    WARN_ON_ONCE(cpu, refs >> 31 != 0, oracles.REFS_NEGATIVE, "call_function_data refs below zero")
    if refs:
        return
    WARN_ON_ONCE(cpu, bits_of(data.cpumask) != 0, oracles.REFS_MASK, "refs are 0 and the mask is not empty")
    spin_lock(cpu, LOCK_CALL_FUNCTION, P_HANDLER_LOCK)
    _list_del(cpu, data)
    spin_unlock(cpu, LOCK_CALL_FUNCTION)
    csd_unlock(cpu, data.addr(CallFunctionData.flags))


def _list_add(cpu: Cpu, data: CallFunctionData) -> None:
    """At the head (list_add_rcu).  Context: call_function.lock."""
    queue, head = cpu.machine.call_function, cpu.machine.dims.cpus
    first = queue.next
    data.next, data.prev = first, head
    if first == head:
        queue.prev = data.index
    else:
        cpu.machine.cfds[first].prev = data.index
    queue.next = data.index  # last: a walker comes in here


def _list_del(cpu: Cpu, data: CallFunctionData) -> None:
    """Unlink; the block keeps its own ``next``, so that a walker standing on it goes on (list_del_rcu)."""
    if WARN_ON_ONCE(cpu, data.prev == LIST_POISON2, oracles.CALL_LIST_CORRUPTION,
                    f"list_del corruption: the block of cpu {data.index} is on no list"):
        return
    queue, head = cpu.machine.call_function, cpu.machine.dims.cpus
    before, after = data.prev, data.next
    if before == head:
        queue.next = after
    else:
        cpu.machine.cfds[before].next = after
    if after == head:
        queue.prev = before
    else:
        cpu.machine.cfds[after].prev = before
    data.prev = LIST_POISON2


# --- every CPU ---------------------------------------------------------------------------------------------


def on_each_cpu(cpu: Cpu, func: int, info: int, wait: bool) -> None:
    """Run ``func(info)`` everywhere: the others first (sent *and* awaited), then here with interrupts off."""
    preempt_disable(cpu)
    smp_call_function_many(cpu, (1 << cpu.machine.dims.cpus) - 1, func, info, wait)
    flags = local_irq_save(cpu)
    cpu.calls[func](cpu, info)
    local_irq_restore(cpu, flags)
    preempt_enable(cpu)


def on_each_cpu_mask(cpu: Cpu, mask: int, func: int, info: int, wait: bool) -> None:
    """Run ``func(info)`` on the online CPUs of ``mask``, this one too if it is in it (v3.4)."""
    preempt_disable(cpu)
    smp_call_function_many(cpu, mask, func, info, wait)
    if mask >> cpu.number & 1:
        local_irq_disable(cpu)
        cpu.calls[func](cpu, info)
        local_irq_enable(cpu)
    preempt_enable(cpu)
