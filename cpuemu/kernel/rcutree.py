"""Grace periods: until every CPU has been seen outside of all readers (Linux: kernel/rcutree.c, v2.6.33).

Invariant:     a grace period is over when no leaf of the tree waits for a CPU; a CPU's bit stands in the leaf whose
               range of numbers its own is in.
Writers:       all words under the lock of the tree, but for what rcu_init lays down before a second CPU is there.
Steps:         the lock; before a CPU is looked at from outside.
Not modelled:  a tree of locked nodes: it is one lock, and one level.  Callbacks: who waits for a grace period sleeps.
               The tick: a CPU reports when it returns to user mode (schedule() is not counted: user mode or idle
               follow).  Whether there is a grace period, it then asks without the lock and at no point: what it misses
               now, it reports the next time.

A CPU that is idle reports nothing: force_quiescent_state, run by who waits, looks at all CPUs that a leaf is about, and
counts those that are idle (Linux: in dynticks idle mode) or offline.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from cpuemu.arch.cpu import Term
from cpuemu.arch.gate import Kind
from cpuemu.kernel import oracles
from cpuemu.kernel.bug import WARN_ON_ONCE
from cpuemu.kernel.cpumask import cpu_online, cpumask_copy, for_each_cpu
from cpuemu.kernel.sched import wait_event, wake
from cpuemu.kernel.spinlock import spin_lock_irqsave, spin_unlock_irqrestore
from cpuemu.layout import LOCK_RCU, RCU_FANOUT, Mask, Op, RcuState
from cpuemu.layout import Cpu as CpuWords
from cpuemu.sites import site

if TYPE_CHECKING:
    from cpuemu.arch.cpu import Cpu

P_LOCK = site("rcu_node->lock")
P_WAIT = site("synchronize_sched")
P_FORCE = site("force_quiescent_state")

FORCE_QS_NS = 30_000_000
"""RCU_JIFFIES_TILL_FORCE_QS: three, at HZ 100."""
STALL_NS = 10_000_000_000
"""RCU_SECONDS_TILL_STALL_CHECK."""


# --- the tree ----------------------------------------------------------------------------------------------


def rcu_init(cpu: Cpu) -> None:
    """Which CPUs each leaf is about, and the leaf of each possible CPU.  Context: the boot CPU, alone."""
    machine = cpu.machine
    nodes = machine.rcu_nodes
    for node in nodes:
        node.grplo = node.index * RCU_FANOUT
        node.grphi = node.grplo + RCU_FANOUT - 1
    leaf = 0
    for number in for_each_cpu(cpumask_copy(cpu, Mask.POSSIBLE)):
        while number > nodes[leaf].grphi:
            leaf += 1
        data = machine.rcu_data[number]
        data.mynode, data.grpmask = leaf, 1 << number - nodes[leaf].grplo
    rcu_online_cpu(cpu, cpu.number)


def rcu_online_cpu(cpu: Cpu, number: int) -> int:
    """CPU_UP_PREPARE: grace periods that begin from now on wait for this CPU."""
    data = cpu.machine.rcu_data[number]
    flags = spin_lock_irqsave(cpu, LOCK_RCU, P_LOCK)
    node = cpu.machine.rcu_nodes[data.mynode]
    node.qsmaskinit |= data.grpmask
    spin_unlock_irqrestore(cpu, LOCK_RCU, flags)
    return 0


def rcu_offline_cpu(cpu: Cpu, number: int) -> int:
    """CPU_DEAD, CPU_UP_CANCELED: none waits for it any more."""
    data = cpu.machine.rcu_data[number]
    flags = spin_lock_irqsave(cpu, LOCK_RCU, P_LOCK)
    node = cpu.machine.rcu_nodes[data.mynode]
    node.qsmaskinit &= ~data.grpmask
    spin_unlock_irqrestore(cpu, LOCK_RCU, flags)
    _report(cpu, data.mynode, data.grpmask)
    return 0


# --- quiescent states --------------------------------------------------------------------------------------


def rcu_note_quiescent(cpu: Cpu) -> None:
    """This CPU is in no reader: it is about to be in user mode, or has scheduled."""
    state = cpu.machine.rcu
    if state.gpnum != state.completed:
        data = cpu.machine.rcu_data[cpu.number]
        if cpu.machine.rcu_nodes[data.mynode].qsmask & data.grpmask:
            _report(cpu, data.mynode, data.grpmask)


def _report(cpu: Cpu, leaf: int, mask: int) -> None:
    """CPUs of a leaf have passed a quiescent state; the last one ends the grace period."""
    state, nodes = cpu.machine.rcu, cpu.machine.rcu_nodes
    flags = spin_lock_irqsave(cpu, LOCK_RCU, P_LOCK)
    nodes[leaf].qsmask &= ~mask
    over = state.gpnum != state.completed and not any(node.qsmask for node in nodes)
    if over:
        state.completed = state.gpnum
        if state.wanted > state.gpnum:
            _start_gp(cpu)
    spin_unlock_irqrestore(cpu, LOCK_RCU, flags)
    if over:
        wake(cpu, state.addr(RcuState.completed))


# --- grace periods -----------------------------------------------------------------------------------------


def synchronize_sched(cpu: Cpu) -> None:
    """Wait until a grace period that began after this call is over.  Context: may sleep."""
    state = cpu.machine.rcu
    flags = spin_lock_irqsave(cpu, LOCK_RCU, P_LOCK)
    mine = state.gpnum + 1
    if mine > state.wanted:
        state.wanted = mine
    if state.gpnum == state.completed:
        _start_gp(cpu)
    spin_unlock_irqrestore(cpu, LOCK_RCU, flags)
    over = Term(state.addr(RcuState.completed), Op.GE, mine)
    while not wait_event(cpu, P_WAIT, over, deadline_ns=cpu.now() + FORCE_QS_NS):
        rcu_note_quiescent(cpu)  # of this CPU: it has slept
        force_quiescent_state(cpu)


def _start_gp(cpu: Cpu) -> None:
    """Context: the lock; no grace period under way."""
    state = cpu.machine.rcu
    state.gpnum += 1
    state.gp_start_ns = cpu.now()
    for node in cpu.machine.rcu_nodes:
        node.qsmask = node.qsmaskinit


def force_quiescent_state(cpu: Cpu) -> None:
    """Count for them who does not count: every CPU that a leaf waits for, and that is idle or offline."""
    for node in cpu.machine.rcu_nodes:
        passed = sum(bit for number, bit in _waited_for(cpu, node.index) if _rcu_implicit_qs(cpu, number))
        if passed:
            _report(cpu, node.index, passed)
    state = cpu.machine.rcu
    stalled = state.gpnum != state.completed and cpu.now() - state.gp_start_ns > STALL_NS
    WARN_ON_ONCE(cpu, stalled, oracles.RCU_STALL,
                 f"INFO: RCU detected CPU stalls: grace period {state.gpnum} does not end")


def _waited_for(cpu: Cpu, leaf: int) -> Iterator[tuple[int, int]]:
    """The CPUs of a leaf's range that it waits for, and their bits."""
    node = cpu.machine.rcu_nodes[leaf]
    for number in range(node.grplo, min(node.grphi + 1, cpu.machine.dims.cpus)):
        bit = 1 << number - node.grplo
        if node.qsmask & bit:
            yield number, bit


def _rcu_implicit_qs(cpu: Cpu, number: int) -> bool:
    """Whether a CPU is idle, or offline: then it is in no reader (rcu_implicit_dynticks_qs)."""
    words = cpu.machine.cpus[number]
    cpu.point(P_FORCE, words.addr(CpuWords.current), Kind.READ)
    return not cpu_online(cpu, number) or (words.current == words.idle_task and not words.hardirq)
