"""Who could end a wait: for each kind of word that kernel code waits for, its holder and what there is to say.

Invariant:     reads RAM only; what is not known is a holder of None, with a reason.
Writers:       none.
Steps:         none.
Not modelled:  none.
"""

from __future__ import annotations

from collections.abc import Iterator

from cpuemu.events import REASONS
from cpuemu.kernel.call_functions import function_name
from cpuemu.kernel.wait_records import Look, Node
from cpuemu.layout import (
    LOCK_CPU_ADD_REMOVE,
    LOCK_CPU_HOTPLUG,
    LOCK_KTHREAD,
    LOCK_OOM,
    LOCK_STOP_CPUS,
    CpuState,
    Lock,
    Machine,
    Mask,
    StopState,
    TaskState,
    Vector,
)

MUTEXES = (LOCK_CPU_ADD_REMOVE, LOCK_CPU_HOTPLUG, LOCK_STOP_CPUS, LOCK_OOM, LOCK_KTHREAD)
"""Locks whose word names a task, not a CPU."""

STOP_MACHINE_CPU_STOP = 0
"""stop_machine.STOP_FUNCTIONS: the function that walks the barrier."""


def holders_of(look: Look, place: tuple[str, int, str, int]) -> Iterator[tuple[Node | None, str]]:
    """Who could change the word, and what there is to say about them."""
    region, element, word, _ = place
    machine = look.machine
    if region == "csds" and word == "flags":
        csd = machine.csds[element]
        if look.cpu(csd.target) is not None:
            func = function_name(csd.func)
            yield ("cpu", csd.target), interrupt_story(look, csd.target, Vector.CALL_FUNCTION_SINGLE, func)
    elif region == "cfds" and word == "flags":
        yield from _block(look, element)
    elif region == "stop_machine":
        yield from _barrier(look)
    elif region == "stop_done":
        yield from _works(look, element)
    elif region == "locks":
        yield _mutex(look, machine.locks[element], element)
    elif region in ("kgdb", "kgdb_cpus"):
        yield _debugger(look, element, word)
    elif region == "rcu":
        yield from _not_quiescent(look)
    elif region == "pacas":
        yield ("cpu", element), interrupt_story(look, element, Vector.CALL_FUNCTION, "kexec_smp_down")
    elif region == "kexec":
        yield _starter(look)
    elif region == "hotplug" and word == "refcount":
        yield from _readers(look)
    elif region == "kthread":
        yield ("task", machine.hotplug.kthreadd_task), "kthreadd has not made the thread yet"
    elif region == "cpumasks":
        yield _mask(look, element)
    elif region in ("slots", "streams"):
        yield _stream(look, element if region == "streams" else None)
    elif region == "tasks":
        yield ("task", element), f"{look.comm(element)} has not got there"
    elif region == "cpus":
        yield ("cpu", element), f"cpu {element} has not got there{look.host(machine.cpus[element])}"
    else:
        yield None, "nobody is known to hold it"


def interrupt_story(look: Look, number: int, vector: Vector, func: str) -> str:
    """Why a CPU has not run what an interrupt asks it for."""
    cpu = look.machine.cpus[number]
    pending, reason = cpu.pending[vector], REASONS[vector]
    if cpu.state == CpuState.DEAD:
        return f"cpu {number} has not run {func}: its process died"
    if cpu.inservice[vector]:
        story = f"is in the handler of {reason} for {func}"
    elif pending:
        frames = look.in_hand(cpu)
        hand = f"{frames} frames in hand" if frames else "frame not in hand"
        story = (f"has not taken {reason} (ticket {pending >> 16} raised {look.ago(cpu.raised_ns[vector])} ago by "
                 f"{look.source((pending & 0xFFFF) - 1)}; {hand})")
    else:
        story = f"has not run {func}, and no {reason} are pending there"
    online = look.machine.cpumasks[Mask.ONLINE].bits[number // 64] >> number % 64 & 1
    return f"cpu {number} {story}" + ("" if online else ", it is not online") + (
        ", interrupts off" if cpu.irqs_off and not cpu.hardirq else "") + look.host(cpu)


def _block(look: Look, element: int) -> Iterator[tuple[Node | None, str]]:
    data = look.machine.cfds[element]
    left = look.bits(data.cpumask)
    for number in left:
        yield ("cpu", number), interrupt_story(look, number, Vector.CALL_FUNCTION, function_name(data.func))
    if not left:
        yield None, f"its mask is empty and its refs are {data.refs}"


def _barrier(look: Look) -> Iterator[tuple[Node | None, str]]:
    barrier, state = look.machine.stop_machine, stop_state(look.machine)
    late = missing_acks(look)
    for number in late:
        task = look.machine.cpus[number].stop_task
        yield ("task", task), f"{look.comm(task)} has not acknowledged {state}"
    if not late:
        queued = sum(1 for _ in participants(look.machine))
        yield None, (f"{barrier.thread_ack} acknowledgements of {state} are missing, num_threads is "
                     f"{barrier.num_threads}, and {queued} threads run it, all of which have acknowledged")


def _works(look: Look, element: int) -> Iterator[tuple[Node | None, str]]:
    machine = look.machine
    left = [number for number in range(machine.dims.cpus)
            if machine.stop_works[number].queued and machine.stop_works[number].done == element]
    for number in left:
        task = machine.cpus[number].stop_task
        if look.task(task) is not None:
            yield ("task", task), f"{look.comm(task)} has not done its work"
        else:
            yield None, f"a work is queued on cpu {number}, which has no migration thread"
    if not left:
        yield None, f"{machine.stop_done[element].nr_todo} works are not done, and none is queued"


def _mutex(look: Look, lock: Lock, element: int) -> tuple[Node | None, str]:
    owner = (lock.word & 0xFFFF_FFFF) - 1 if element in MUTEXES else lock.holder - 1
    if look.task(owner) is None:
        return None, "nobody holds it"
    return ("task", owner), (f"{look.comm(owner)} holds it since {look.ago(lock.since_ns)}, "
                             f"taken in {look.site(lock.site)}")


def _debugger(look: Look, number: int, word: str) -> tuple[Node | None, str]:
    """The master lets go, and gives it up; the others come in, and leave."""
    master = look.cpu(look.machine.kgdb.active - 1)
    if word != "cpu_in_kgdb" or (master is not None and master.index == number):
        if master is None:
            return None, "no CPU is the debugger's master"
        return ("task", master.current), f"cpu {master.index} is the debugger's master{look.host(master)}"
    if look.machine.cpus[number].hardirq:
        return ("irq", number), f"cpu {number} is in an interrupt handler{look.host(look.machine.cpus[number])}"
    return ("cpu", number), interrupt_story(look, number, Vector.NMI, "kgdb_nmicallback")


def _not_quiescent(look: Look) -> Iterator[tuple[Node | None, str]]:
    machine = look.machine
    for data in machine.rcu_data:
        if data.mynode < machine.dims.cpus and machine.rcu_nodes[data.mynode].qsmask & data.grpmask:
            current = machine.cpus[data.index].current
            yield ("task", current), f"cpu {data.index} ({look.comm(current)}) has passed no quiescent state"


def _starter(look: Look) -> tuple[Node | None, str]:
    starter = look.cpu(look.machine.kexec.owner - 1)
    if starter is None:
        return None, "no CPU starts another kernel"
    return ("task", starter.current), f"cpu {starter.index} starts another kernel{look.host(starter)}"


def _readers(look: Look) -> Iterator[tuple[Node | None, str]]:
    """All of them must leave: whoever waits for one of them waits for what that one waits for."""
    inside = [task for task in look.machine.tasks if task.online_refs and task.state != TaskState.UNUSED]
    for task in inside:
        yield ("task", task.index), f"{task.comm} is inside get_online_cpus"
    if not inside:
        yield None, f"{look.machine.hotplug.refcount} readers are inside get_online_cpus, nobody knows who"


def _mask(look: Look, element: int) -> tuple[Node | None, str]:
    hotplug = look.machine.hotplug
    coming = look.cpu(hotplug.cpu)
    if element == Mask.ONLINE and coming is not None:
        return ("task", coming.current), f"cpu {coming.index} has not set itself online{look.host(coming)}"
    return ("task", hotplug.control_task), f"{look.comm(hotplug.control_task)} has not changed the mask"


def _stream(look: Look, stream: int | None) -> tuple[Node | None, str]:
    """A replay waits for an earlier line: the slowest stream always has the earliest that is not done."""
    streams = look.machine.streams
    if not len(streams):
        return None, "no stream of a recording"
    slowest = streams[stream] if stream is not None else min(streams, key=lambda each: each.next_line)
    return ("task", slowest.task), f"stream {slowest.index} ({look.comm(slowest.task)}) is at line {slowest.next_line}"


def stop_state(machine: Machine) -> str:
    """The barrier's state as v3.2 names it."""
    state = machine.stop_machine.state
    return f"STOPMACHINE_{StopState(state).name}" if state <= StopState.EXIT else f"state {state}"


def participants(machine: Machine) -> Iterator[int]:
    """CPUs on which the barrier's work is queued or runs."""
    return (number for number in range(machine.dims.cpus)
            if machine.stop_works[number].queued and machine.stop_works[number].fn == STOP_MACHINE_CPU_STOP)


def missing_acks(look: Look) -> list[int]:
    """CPUs whose migration thread has not acknowledged the barrier's state: it does not stand and wait for the next."""
    machine = look.machine
    word = machine.stop_machine.addr(type(machine.stop_machine).state)
    late = []
    for number in participants(machine):
        task = look.task(machine.cpus[number].stop_task)
        if task is None or not (task.nterms and task.word[0] == word and look.blocked(task)):
            late.append(number)
    return late
