"""Interrupts and calls between CPUs that go wrong."""

from __future__ import annotations

from typing import Any

from cpuemu.arch import apic
from cpuemu.arch.cpu import Cpu
from cpuemu.kernel import oracles, page_alloc, smp, stop_machine
from cpuemu.kernel.call_functions import DRAIN_LOCAL_PAGES, NOP
from cpuemu.kernel.cpu_hotplug import FN_TAKE_CPU_DOWN
from cpuemu.kernel.stop_machine import STOP_FUNCTIONS
from cpuemu.layout import LOCK_CALL_FUNCTION, CallFunctionData, StopState, Vector
from cpuemu.policies.base import CALLS as FUNCTIONS
from tests.mutants.declaration import CALLS, STORM, TIGHT, impatient, mutant, replace, wrap, wrap_method


@mutant(oracles.IPI_TO_OFFLINE, *CALLS, "--hotplug", "1,2,3",
        also=(oracles.CSD_LOCK_WAIT, oracles.DEADLOCK, oracles.CALLS_ON_DEAD_CPU, oracles.IPI_ON_OFFLINE,
              oracles.HUNG_MACHINE))
def calls_without_looking() -> None:
    """smp_call_function_single believes that every CPU is online."""
    impatient(csd=2.0)
    replace(smp, "cpu_online", lambda cpu, number: True)


@mutant(oracles.IPI_ON_OFFLINE, *STORM, "--hotplug", "1", verdict="known-defect")
def called_on_its_way_out() -> None:
    """A CPU is called while it takes itself offline: the window that v3.2 really has, held open."""
    @wrap(stop_machine, "ack_state")
    def _(right: Any, cpu: Cpu) -> None:
        barrier = cpu.machine.stop_machine
        if cpu.number == 0 and barrier.state == StopState.RUN:
            cpu.apic.send(cpu.machine.hotplug.cpu, Vector.CALL_FUNCTION_SINGLE, cpu.off)
        right(cpu)

    down = STOP_FUNCTIONS[FN_TAKE_CPU_DOWN]

    def wait_for_the_frame(cpu: Cpu, number: int) -> int:
        end = cpu.now() + 5_000_000_000
        while not cpu.apic.arrived() and cpu.now() < end and not cpu.off():
            pass
        return down(cpu, number)

    STOP_FUNCTIONS[FN_TAKE_CPU_DOWN] = wait_for_the_frame


@mutant(oracles.IPI_LOST, *STORM, also=(oracles.HUNG_MACHINE,))
def no_reschedule_arrives() -> None:
    """Frames of the reschedule interrupt are not sent."""
    _lose(Vector.RESCHEDULE)


@mutant(oracles.CSD_LOCK_WAIT, *CALLS)
def no_call_arrives() -> None:
    """Frames of call interrupts are not sent."""
    _lose(Vector.CALL_FUNCTION, Vector.CALL_FUNCTION_SINGLE)


def _lose(*vectors: Vector) -> None:
    @wrap_method(apic.Apic, "_transmit")
    def _(right: Any, self: Any, cpu: int, frame: bytes, abandon: Any) -> None:
        if frame[0] not in vectors:
            right(self, cpu, frame, abandon)


@mutant(oracles.CSD_LOCK_WAIT, *CALLS)
def no_acknowledgement() -> None:
    """A csd is never unlocked."""
    impatient(csd=1.0)
    replace(smp, "csd_unlock", lambda cpu, flags: None)


@mutant(oracles.EMPTY_IPI_MASK, *TIGHT, verdict="known-defect")
def sent_to_nobody() -> None:
    """A mask's interrupts are sent once more when its receivers have cleared their bits."""
    @wrap_method(apic.Apic, "send_mask")
    def _(right: Any, self: Any, mask: Any, *arguments: Any) -> bool:
        right(self, mask, *arguments)
        return bool(right(self, [0], *arguments))


@mutant(oracles.STALE_FRAME, *CALLS)
def frames_of_an_earlier_life() -> None:
    """Frames carry the life before, and whoever gets one does not look."""
    @wrap_method(apic.Apic, "_transmit")
    def _(right: Any, self: Any, cpu: int, frame: bytes, abandon: Any) -> None:
        vector, source, mine, life, ticket = apic.FRAME.unpack(frame)
        right(self, cpu, apic.FRAME.pack(vector, source, mine, life - 1, ticket), abandon)

    @wrap_method(apic.Apic, "collect")
    def _(right: Any, self: Any) -> None:
        self.generation -= 1
        right(self)
        self.generation += 1


@mutant(oracles.SMP_CALL_IRQS_OFF, *TIGHT, also=(
    oracles.CSD_WAIT_IRQS_OFF, oracles.DEADLOCK, oracles.CSD_LOCK_WAIT, oracles.SLEEPING_FUNCTION_CALLED))
def called_with_irqs_off() -> None:
    """Drains are asked for with interrupts off."""
    @wrap(page_alloc, "drain_from_reclaim")
    def _(right: Any, cpu: Cpu, order: int) -> None:
        cpu.me.irqs_off = 1
        right(cpu, order)
        cpu.me.irqs_off = 0


@mutant(oracles.SMP_CALL_IN_INTERRUPT, *CALLS, also=(
    oracles.SMP_CALL_IRQS_OFF, oracles.CSD_WAIT_IRQS_OFF, oracles.DEADLOCK, oracles.CSD_LOCK_WAIT,
    # The handler's call takes the csd of its CPU, which the interrupted task may just be using.
    oracles.CSD_LOCKED_TWICE, oracles.CSD_UNLOCKED_TWICE, oracles.CSD_REUSED))
def a_call_that_calls() -> None:
    """What an interrupt asks for asks another CPU for something."""
    impatient(csd=2.0)

    def ask_the_next(cpu: Cpu, info: int) -> None:
        smp.smp_call_function_single(cpu, (cpu.number + 1) % 4, DRAIN_LOCAL_PAGES, 0, wait=False)

    FUNCTIONS[NOP] = ask_the_next  # type: ignore[index]


@mutant(oracles.CSD_LOCKED_TWICE, *CALLS)
def locked_twice() -> None:
    """csd_lock is called twice, the second time without the wait."""
    @wrap(smp, "csd_lock")
    def _(right: Any, cpu: Cpu, flags: int) -> None:
        right(cpu, flags)
        wait = smp.csd_lock_wait
        replace(smp, "csd_lock_wait", lambda *arguments: None)
        right(cpu, flags)
        replace(smp, "csd_lock_wait", wait)


@mutant(oracles.CSD_UNLOCKED_TWICE, *CALLS, also=(oracles.CSD_REUSED, oracles.CSD_LOCKED_TWICE, oracles.CSD_LOCK_WAIT))
def unlocked_twice() -> None:
    """csd_unlock is called twice; the second time it may be somebody else's lock."""
    @wrap(smp, "csd_unlock")
    def _(right: Any, cpu: Cpu, flags: int) -> None:
        right(cpu, flags)
        if not cpu.ram.read(flags) & smp.CSD_FLAG_LOCK:  # else it is somebody's again by now
            right(cpu, flags)


@mutant(oracles.CSD_REUSED, *CALLS)
def filled_anew_while_queued() -> None:
    """A queued csd is prepared for another CPU before its interrupt is sent."""
    @wrap(smp, "_warn_offline")
    def _(right: Any, cpu: Cpu, target: int) -> None:
        right(cpu, target)
        first = cpu.machine.single_queues[target].head
        if first < len(cpu.machine.csds):
            cpu.machine.csds[first].target = (target + 1) % 4


@mutant(oracles.CSD_WAIT_IRQS_OFF, *CALLS, also=(oracles.DEADLOCK, oracles.CSD_LOCK_WAIT))
def waits_with_irqs_off() -> None:
    """The wait for a csd turns interrupts off."""
    impatient(csd=2.0)

    @wrap(smp, "csd_lock_wait")
    def _(right: Any, cpu: Cpu, *arguments: Any) -> None:
        cpu.me.irqs_off = 1
        right(cpu, *arguments)
        cpu.me.irqs_off = 0


@mutant(oracles.CFD_REUSED, *TIGHT)
def refs_left_behind() -> None:
    """The last receiver of a block leaves a reference."""
    @wrap(smp, "_list_del")
    def _(right: Any, cpu: Cpu, data: CallFunctionData) -> None:
        right(cpu, data)
        data.refs = 1


@mutant(oracles.CSD_DOUBLE_EXECUTED, *TIGHT, also=(oracles.REFS_NEGATIVE, oracles.REFS_MASK))
def executed_twice() -> None:
    """A function is done, its bit cleared, and then it is done once more."""
    @wrap(smp, "_run")
    def _(right: Any, cpu: Cpu, func: int, info: int, csd: int, source: int) -> None:
        right(cpu, func, info, csd, source)
        if csd >= 0x10000:
            smp._call_done(cpu, cpu.machine.cfds[csd - 0x10000], *divmod(cpu.number, 64))


@mutant(oracles.REFS_NEGATIVE, *TIGHT, also=(oracles.CFD_REUSED, oracles.CSD_DOUBLE_EXECUTED))
def a_reference_too_few() -> None:
    """The last receiver of a block finds fewer references than there are receivers."""
    @wrap(smp, "_call_done")
    def _(right: Any, cpu: Cpu, data: CallFunctionData, element: int, bit: int) -> None:
        last = data.refs == 1
        if last:
            data.refs = 0
        right(cpu, data, element, bit)
        if last:  # what the receiver should have done
            data.refs = 0
            smp.spin_lock(cpu, LOCK_CALL_FUNCTION, smp.P_HANDLER_LOCK)  # type: ignore[attr-defined]
            smp._list_del(cpu, data)
            smp.spin_unlock(cpu, LOCK_CALL_FUNCTION)  # type: ignore[attr-defined]
            smp.csd_unlock(cpu, data.addr(CallFunctionData.flags))


@mutant(oracles.CALL_LIST_CORRUPTION, *TIGHT)
def taken_off_twice() -> None:
    """A block of calls is taken off the queue by its last receiver, and then once more."""
    @wrap(smp, "_list_del")
    def _(right: Any, cpu: Cpu, data: CallFunctionData) -> None:
        right(cpu, data)
        right(cpu, data)


@mutant(oracles.REFS_MASK, *TIGHT, also=(oracles.CFD_REUSED,))
def a_receiver_that_does_not_exist() -> None:
    """When the last receiver is done, the block's mask still names a CPU."""
    @wrap(smp, "_call_done")
    def _(right: Any, cpu: Cpu, data: CallFunctionData, element: int, bit: int) -> None:
        mask = data.addr(CallFunctionData.cpumask, 0)
        if data.refs == 1:
            cpu.ram.set_bits(mask, 1 << 63)
        right(cpu, data, element, bit)
        cpu.ram.clear_bits(mask, 1 << 63)
