"""What happened, in order, in plain English: the paragraph that answers before anything else is shown.

Sentences with a time come first, by time; then what stands still and what it comes down to.  Everything is said from
RAM and the rings, nothing is guessed: what is not known is not said.
"""

from __future__ import annotations

from collections.abc import Iterator

from cpuemu.events import REASONS
from cpuemu.kernel.wait_graph import Edge
from cpuemu.kernel.wait_records import Node
from cpuemu.layout import CpuState, Lock, MachineState, Preempt, name_in, process_name
from cpuemu.report.crash.locks import locks_of_the_dead, name_of
from cpuemu.report.crash.reading import ranges
from cpuemu.report.crash.tasks import stack_of
from cpuemu.report.why.case import Case
from cpuemu.report.why.errands import errand
from cpuemu.report.why.outside import hotplug_story, matching_fault, other_faults

SHOWN = 4
"""Waits that are told one by one; more of the same are counted."""

Dated = tuple[int, str]


def paragraph(case: Case) -> str:
    """One paragraph."""
    if case.well:
        verdict = case.reading.image.verdict["verdict"]
        return f"{_machine(case)} It ended in order: verdict {verdict}. Nothing has to be explained."
    dated = sorted([*_dated(case), *hotplug_story(case), *other_faults(case), *_finding(case)])
    sentences = [_machine(case), *(f"At {case.reading.at(moment)}\u00a0s {text}." for moment, text in dated),
                 *_standing(case), *_death(case), *_comes_down_to(case), *_end(case)]
    return " ".join(sentences)


def _machine(case: Case) -> str:
    machine = case.reading.machine
    plan = case.reading.image.configuration
    kind = f", profile {plan['profile']}" if plan.get("profile") else ""
    return f"A machine of {machine.dims.cpus} CPUs{kind}, PREEMPT_{name_in(Preempt, machine.header.preempt_model)}" + (
        f", ran {plan['workload_name']}." if plan.get("workload_name") else ".")


# --- what has a time ---------------------------------------------------------------------------------------


def _dated(case: Case) -> Iterator[Dated]:
    """Calls and sleeps by their beginning, locks by when they were taken, lost frames by when they were raised."""
    groups: dict[tuple[Node, str], list[Edge]] = {}
    for edge in case.waits:
        groups.setdefault((edge.waiter, edge.word), []).append(edge)
    told: list[Dated] = [(lock.since_ns, _takes(case, lock)) for lock in locks_of_the_dead(case.reading)]
    more: list[int] = []
    for edges in sorted(groups.values(), key=lambda each: each[0].since_ns):
        first = edges[0]
        if first.kind == "frame":
            yield from _frame(case, first)
        elif first.kind == "lock":
            sentence = (first.since_ns, _taken(case, first))
            if sentence not in told:
                told.append(sentence)
        elif first.since_ns and first.kind not in ("irqs", "scheduler", "stop_machine"):
            (told.append((first.since_ns, _wait(case, edges))) if len(told) < SHOWN or case.reading.cycle
             else more.append(first.since_ns))
    yield from told
    if more:
        yield min(more), f"and after, {len(more)} more come to wait, which do not get on either"


def _wait(case: Case, edges: list[Edge]) -> str:
    """``pressure/2 on cpu 2 drains …, calls … on cpu 1 and waits for the answer in csd_lock_wait``"""
    first = edges[0]
    who = _who(case, first.waiter)
    task = case.reading.graph.task(first.waiter[1]) if first.waiter[0] == "task" else None
    doing = errand(stack_of(case.reading, task).frames) if task is not None else ""
    found = [edge.holder for edge in edges if edge.holder is not None]
    if first.kind == "csd":
        numbers = sorted({number for kind, number in found if kind == "cpu"})
        missing = f"; cpu {ranges(numbers)} {'has' if len(numbers) == 1 else 'have'} not answered" if numbers else ""
        return f"{who} {doing or 'calls a function on other CPUs'}, and waits in {first.site} for the answers{missing}"
    holders = ", ".join(dict.fromkeys(map(case.reading.graph.node, found)))
    about = f", which {doing}," if doing else ""
    return f"{who}{about} begins to wait in {first.site} for {first.word}" + (
        f", which is {holders}'s to change" if holders else "")


def _taken(case: Case, edge: Edge) -> str:
    """Of a spinlock that others come for: who took it."""
    return _takes(case, next(each for each in case.reading.machine.locks if each.name == edge.word))


def _takes(case: Case, lock: Lock) -> str:
    holder = case.reading.image.comm(lock.holder - 1) if lock.holder else "somebody"
    return f"cpu {(lock.word & 0xFFFF) - 1} ({holder}) takes {name_of(lock)} in {case.reading.image.site(lock.site)}"


def _frame(case: Case, edge: Edge) -> Iterator[Dated]:
    """An interrupt raised whose frame did not come; on purpose, if so."""
    number = edge.waiter[1]
    cpu = case.reading.machine.cpus[number]
    for vector, pending in enumerate(cpu.pending):
        source = (pending & 0xFFFF) - 1
        if pending and edge.since_ns == cpu.raised_ns[vector] and vector < len(REASONS):
            fault = matching_fault(case, source, number, vector, edge.since_ns)
            came = f"its frame is lost on purpose (--fault {fault})" if fault else "its frame never arrives"
            yield edge.since_ns, (f"{case.reading.graph.source(source)} raises {REASONS[vector].lower()[:-1]} "
                                  f"{pending >> 16} on cpu {number}: {came}")
            return


def _finding(case: Case) -> Iterator[Dated]:
    entry = case.finding
    if entry is not None:
        stops = ", and the machine stops" if case.reading.machine.header.state == MachineState.FAILED else ""
        told = "" if case.waits else f": {entry.message.rstrip('.')}"
        yield entry.time_ns, f"{entry.rule} is found{stops}{told}"


# --- what stands still -------------------------------------------------------------------------------------


def _standing(case: Case) -> Iterator[str]:
    """Who spins, cannot be scheduled, or takes no interrupt: what has no beginning of its own in RAM."""
    spinners: dict[str, list[str]] = {}
    for edge in case.waits:
        if edge.kind == "lock":
            spinners.setdefault(edge.word, []).append(_who(case, edge.waiter))
    for word, who in spinners.items():
        yield f"{_list(who)} {'comes' if len(set(who)) == 1 else 'come'} for {word} and cannot get it."
    yield from _barrier(case)
    for edge in case.waits:
        if edge.kind == "scheduler" and not _only_next(case, edge):
            yield _scheduled(case, edge)
        elif edge.kind == "irqs" and edge.holder is not None:
            yield f"{edge.text[0].upper()}{edge.text[1:]}, so it answers nobody."


def _barrier(case: Case) -> Iterator[str]:
    """Who stands in stop_machine, and whose acknowledgement is missing."""
    name = case.reading.graph.node
    edges = [edge for edge in case.waits if edge.kind == "stop_machine" and edge.holder is not None]
    inside = list(dict.fromkeys(edge.waiter for edge in edges))
    late = list(dict.fromkeys(edge.holder for edge in edges if edge.holder is not None and edge.holder not in inside))
    if edges and late:
        yield (f"{_list([name(node) for node in inside])} cannot go on before {_list([name(node) for node in late])} "
               f"{'has' if len(late) == 1 else 'have'} acknowledged.")


def _only_next(case: Case, edge: Edge) -> bool:
    """A task that just has to wait for its turn, and that nobody waits for."""
    return not any(other.holder == edge.waiter for other in case.waits)


def _scheduled(case: Case, edge: Edge) -> str:
    runs = case.reading.graph.node(edge.holder) if edge.holder else "another task"
    cpu = case.cpu_of(edge.waiter)
    return (f"{case.reading.graph.node(edge.waiter)} could run on cpu {cpu}, but {runs} has that CPU and does not call "
            "schedule()" + (", and nothing takes the CPU from it: that is the preemption model." if edge.firm else "."))


def _comes_down_to(case: Case) -> Iterator[str]:
    """The last word: the circle, or those at the end of every chain."""
    reading = case.reading
    if reading.cycle:
        names = [reading.graph.node(edge.waiter) for edge in reading.cycle]
        pairs = zip(names, [*names[1:], names[0]], strict=True)
        yield (f"So {', '.join(f'{one} waits for {other}' for one, other in pairs)}: a circle, and nobody outside of "
               "it can end it.")
        inside = {edge.waiter for edge in reading.cycle}
        others = {reading.graph.node(edge.waiter) for edge in reading.edges
                  if edge.holder in inside and edge.waiter not in inside and edge.kind != "scheduler"}
        if others:
            yield f"{_list(sorted(others))} {'waits' if len(others) == 1 else 'wait'} for somebody in it."
        return
    silent = sorted({edge.waiter[1] for edge in case.waits if edge.kind == "frame"})
    if silent:
        yield (f"So cpu {ranges(silent)} {'does' if len(silent) == 1 else 'do'} not know of the interrupt: it stays "
               "pending, later ones of its kind coalesce with it, and whoever waits for the answer waits for ever.")
    for kind, number in [] if silent else case.ends:
        cpu = case.cpu_of((kind, number))
        words = reading.machine.cpus[cpu] if cpu is not None else None
        if words is None:
            continue
        if words.state == CpuState.DEAD:
            yield "Nobody is left to give back what it held, and a lock of a dead CPU is not stolen."
        elif words.host_stopped:
            yield f"All of it comes down to cpu {cpu}, whose process the host has stopped."
        else:
            yield (f"All of it comes down to {reading.graph.node((kind, number))}, which waits for nobody: cpu {cpu} "
                   f"was last seen at {reading.image.site(words.point_site)}.")


# --- how it ended ------------------------------------------------------------------------------------------


def _end(case: Case) -> Iterator[str]:
    reading, header = case.reading, case.reading.machine.header
    if reading.alive and not case.over:
        yield f"It runs now, {reading.at(reading.now_ns)} s after power-on." + (
            "" if case.waits else " Nobody has been waiting for long.")
    elif not case.over and not reading.image.verdict:
        state = name_in(MachineState, header.state)
        yield (f"Nobody gave a verdict: RAM says {state} at {reading.at(case.moment_ns)} s, and no process of it is "
               "here: they were killed from outside, or this is a copy of a machine that ran on.")
        yield from _doing(case)


def _death(case: Case) -> Iterator[str]:
    """The process that died, in the verdict's words where there is one."""
    header, verdict = case.reading.machine.header, case.reading.image.verdict
    if str(verdict.get("verdict")) in ("cpu-died", "host-error") and (notes := verdict.get("notes")):
        note = str(notes[0])
        yield f"{'The process of ' if note.startswith('cpu ') else 'As the verdict says, '}{note}."
    elif 0 < header.dead_process <= len(case.reading.machine.processes):
        yield f"The process of {process_name(case.reading.machine.processes[header.dead_process - 1])} died."


def _doing(case: Case) -> Iterator[str]:
    """What each CPU was at when everything stopped at once."""
    reading = case.reading
    for cpu in reading.machine.cpus:
        if cpu.state == CpuState.RUNNING and not case.waits:
            where = "in user mode" if cpu.user else "idle" if cpu.current == cpu.idle_task else (
                f"at {reading.image.site(cpu.point_site)}")
            yield f"cpu {cpu.index} was {where}" + (
                "." if cpu.current == cpu.idle_task else f", running {reading.image.comm(cpu.current)}.")


def _who(case: Case, node: Node) -> str:
    name = case.reading.graph.node(node)
    return f"{name} on cpu {case.cpu_of(node)}" if node[0] == "task" else name


def _list(names: list[str]) -> str:
    names = list(dict.fromkeys(names))
    if len(names) > SHOWN + 1:
        names = [*names[:SHOWN], f"{len(names) - SHOWN} more"]
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
