"""What the events tell: slices on the tracks of CPUs and tasks, states of the machine, arrows from CPU to CPU.

A CPU's track has the task that runs, the interrupts in it, and the calls in those; a task's track has what it does and
what it waits for, wherever it runs.
"""

from __future__ import annotations

from collections.abc import Callable

from cpuemu.events import REASONS, STOP_STATES, Event
from cpuemu.faults import name_of
from cpuemu.kernel.wait_records import Look
from cpuemu.layout import NR_FINDINGS, Program
from cpuemu.report.image import Image
from cpuemu.report.perfetto.packets import Notes, Packets, Track
from cpuemu.report.perfetto.pages import Pages
from cpuemu.report.records import Record
from cpuemu.report.text import gfp_text, names_of

PROCESS = 1 << 20
"""Which all tasks are threads of: no task has this number."""
RUNS, OFFLINE, STOP = "runs", "offline", "stop"
CALLS = 1 << 63
"""Arrows of calls are numbered from here, those of interrupts by their tickets."""


class Story:
    """Tells record after record; what has no line here is in the ftrace events only."""

    def __init__(self, packets: Packets, image: Image) -> None:
        self.packets, self.image = packets, image
        self.names, self.look = names_of(image), Look(image.machine, 0)
        roots = [packets.track(name, rank=number) for number, name in enumerate(("CPUs", "zones", "hotplug"))]
        self.all_cpus, zones, self.hotplug = roots
        self.cpus = [packets.track(f"CPU {cpu.index}", self.all_cpus, cpu.index) for cpu in image.machine.cpus]
        self.stop = packets.track("stop_machine", self.hotplug, 0)
        self.coming_and_going: dict[tuple[int, str], Track] = {}
        packets.process("tasks", PROCESS)
        self.tasks: dict[int, Track] = {}
        self.running: dict[int, int] = {}
        self.pages = Pages(packets, image.machine, zones, self.cpus)
        self.calls: dict[int, dict[int, int]] = {}
        """The arrows of each csd that is locked, by the CPU that is to run it."""
        self.arrows = CALLS
        self.tellers: dict[int, Callable[[Record], None]] = {
            Event.SCHED_SWITCH: self._switch, Event.IPI_RAISE: self._raise, Event.IPI_ENTRY: self._entry,
            Event.IPI_EXIT: self._exit, Event.CPUEMU_IPI_LOST: self._lost, Event.CSD_QUEUE_CPU: self._queue,
            Event.CSD_FUNCTION_ENTRY: self._function, Event.CSD_FUNCTION_EXIT: self._function_ends,
            Event.CPUEMU_CSD_UNLOCK: self._unlock,
            Event.CPUEMU_STOP_STATE: self._stop_state, Event.CPUEMU_WAIT_BEGIN: self._waits,
            Event.CPUEMU_WAIT_END: self._waits_no_more, Event.CPUEMU_FINDING: self._finding,
            Event.CPUEMU_FAULT: self._fault, Event.MARK_VICTIM: self._victim, Event.CPUEMU_OOM_MOMENT: self._oom,
        }
        for event, going in ((Event.CPUHP_ENTER, self._step), (Event.CPUHP_EXIT, self._step_ends),
                             (Event.CPUEMU_CPU_OFFLINE, self._offline), (Event.CPUEMU_CPU_ONLINE, self._online)):
            self.tellers[event] = self._of_a_cpu(going)
        for begin, end, name in (
            (Event.MM_VMSCAN_DIRECT_RECLAIM_BEGIN, Event.MM_VMSCAN_DIRECT_RECLAIM_END, "direct reclaim"),
            (Event.CPUEMU_DRAIN_ALL_BEGIN, Event.CPUEMU_DRAIN_ALL_END, "drain_all_pages"),
            (Event.MM_COMPACTION_BEGIN, Event.MM_COMPACTION_END, "compaction"),
            (Event.MM_VMSCAN_KSWAPD_WAKE, Event.MM_VMSCAN_KSWAPD_SLEEP, "kswapd balances"),
        ):
            self.tellers[begin] = self._work(name)
            self.tellers[end] = self._work_ends(name)

    def tell(self, record: Record) -> None:
        if record.event in self.pages.events:
            self.pages.tell(record)
            return
        if record.cpu not in self.running:
            self._runs(record.cpu, record.time_ns, record.task)
        teller = self.tellers.get(record.event)
        if teller is not None:
            teller(record)

    def end(self) -> None:
        """What has not ended stays open: it is shown up to the end of the trace, and beyond."""
        self.pages.end()

    # --- tasks ---------------------------------------------------------------------------------------------

    def task(self, number: int) -> Track:
        """A task's track, made when it is first needed."""
        track = self.tasks.get(number)
        if track is None:
            comm = self.names.comm(number)
            if self._idle(number):
                track = self.packets.track(comm, self.all_cpus, len(self.cpus) + number)
            else:
                track = self.packets.thread(comm, PROCESS, number)
            self.tasks[number] = track
        return track

    def _idle(self, number: int) -> bool:
        return number < self.image.machine.dims.tasks and self.image.machine.tasks[number].program == Program.IDLE

    def _runs(self, cpu: int, time_ns: int, task: int) -> None:
        self.running[cpu] = task
        if not self._idle(task):
            self.packets.begin(self.cpus[cpu], time_ns, self.names.comm(task), RUNS, {"pid": task})

    def _switch(self, record: Record) -> None:
        self.packets.end(self.cpus[record.cpu], record.time_ns, RUNS)
        self._runs(record.cpu, record.time_ns, record.args[2])

    def _work(self, name: str) -> Callable[[Record], None]:
        def begins(record: Record) -> None:
            notes: Notes = {}
            if record.event == Event.MM_VMSCAN_DIRECT_RECLAIM_BEGIN:
                notes = {"order": record.args[0], "gfp_flags": gfp_text(record.args[1])}
            elif record.event == Event.CPUEMU_DRAIN_ALL_BEGIN:
                notes = {"cpus_with_pages": record.args[0], "cpus_online": record.args[1]}
            self.packets.begin(self.task(record.task), record.time_ns, name, name, notes)

        return begins

    def _work_ends(self, name: str) -> Callable[[Record], None]:
        return lambda record: self.packets.end(self.task(record.task), record.time_ns, name)

    def _waits(self, record: Record) -> None:
        where, low, high, busy = record.args
        word = low | high << 32
        site = self.names.site(where)
        lock = self.look.place(word)[0] == "locks"
        name = f"{'spins for' if busy else 'sleeps for'} {self.names.word(word)}" if lock else site
        self.packets.begin(self.task(record.task), record.time_ns, name, (where, word),
                           {"site": site, "word": self.names.word(word)})

    def _waits_no_more(self, record: Record) -> None:
        where, low, high, _ = record.args
        self.packets.end(self.task(record.task), record.time_ns, (where, low | high << 32))

    # --- interrupts and calls ------------------------------------------------------------------------------

    def _raise(self, record: Record) -> None:
        target, vector, low, high = record.args
        self.packets.instant(self.cpus[record.cpu], record.time_ns, f"IPI to cpu {target}",
                             {"reason": _reason(vector)}, flows=(low | high << 32,))

    def _entry(self, record: Record) -> None:
        source, vector, low, high = record.args
        ticket = low | high << 32
        self.packets.begin(self.cpus[record.cpu], record.time_ns, _reason(vector), ("ipi", ticket),
                           {"source_cpu": source, "ticket": ticket & CALLS - 1}, last=(ticket,))

    def _exit(self, record: Record) -> None:
        _, _, low, high = record.args
        self.packets.end(self.cpus[record.cpu], record.time_ns, ("ipi", low | high << 32))

    def _lost(self, record: Record) -> None:
        target, vector, *_ = record.args
        self.packets.instant(self.cpus[record.cpu], record.time_ns, f"IPI to cpu {target} is lost",
                             {"reason": _reason(vector)})

    def _queue(self, record: Record) -> None:
        target, callsite, func, csd = record.args
        self.arrows += 1
        self.calls.setdefault(csd, {})[target] = self.arrows
        self.packets.instant(self.cpus[record.cpu], record.time_ns, f"{self.names.function(func)} on cpu {target}",
                             {"csd": csd, "callsite": self.names.site(callsite)}, flows=(self.arrows,))

    def _function(self, record: Record) -> None:
        func, csd, source, _ = record.args
        arrow = self.calls.get(csd, {}).get(record.cpu)
        self.packets.begin(self.cpus[record.cpu], record.time_ns, self.names.function(func), ("csd", csd),
                           {"csd": csd, "source_cpu": source}, flows=() if arrow is None else (arrow,))

    def _function_ends(self, record: Record) -> None:
        self.packets.end(self.cpus[record.cpu], record.time_ns, ("csd", record.args[1]))

    def _unlock(self, record: Record) -> None:
        csd = record.args[0]
        self.packets.instant(self.cpus[record.cpu], record.time_ns, "csd_unlock", {"csd": csd},
                             last=self.calls.pop(csd, {}).values())

    # --- coming and going ----------------------------------------------------------------------------------

    def _going(self, cpu: int, what: str) -> Track:
        key = cpu, what
        track = self.coming_and_going.get(key)
        if track is None:
            track = self.packets.track(f"CPU {cpu} {what}", self.hotplug, 2 * cpu + 1 + (what == OFFLINE))
            self.coming_and_going[key] = track
        return track

    def _of_a_cpu(self, teller: Callable[[Record], None]) -> Callable[[Record], None]:
        """A ring may hold anything: whoever is no CPU gets no track."""
        return lambda record: teller(record) if record.args[0] < len(self.cpus) else None

    def _step(self, record: Record) -> None:
        cpu, target, step, fun = record.args
        self.packets.begin(self._going(cpu, "steps"), record.time_ns, self.names.site(fun).partition(":")[2], step,
                           {"target": target, "step": step, "task": self.names.comm(record.task)})

    def _step_ends(self, record: Record) -> None:
        cpu, _, step, _ = record.args
        self.packets.end(self._going(cpu, "steps"), record.time_ns, step)

    def _offline(self, record: Record) -> None:
        self.packets.begin(self._going(record.args[0], OFFLINE), record.time_ns, OFFLINE, OFFLINE)

    def _online(self, record: Record) -> None:
        cpu = record.args[0]
        if (cpu, OFFLINE) in self.coming_and_going:
            self.packets.end(self._going(cpu, OFFLINE), record.time_ns, OFFLINE)

    def _stop_state(self, record: Record) -> None:
        state, acks, *_ = record.args
        self.packets.end(self.stop, record.time_ns, STOP)
        if state and state < len(STOP_STATES):
            self.packets.begin(self.stop, record.time_ns, STOP_STATES[state], STOP, {"thread_ack": acks})

    # --- moments -------------------------------------------------------------------------------------------

    def _moment(self, record: Record, name: str, notes: Notes | None = None) -> None:
        self.packets.instant(self.cpus[record.cpu], record.time_ns, name, notes)

    def _finding(self, record: Record) -> None:
        number = record.args[0]
        if number < NR_FINDINGS:
            finding = self.image.machine.findings[number]
            self._moment(record, f"finding: {finding.rule}", {"message": finding.message})

    def _fault(self, record: Record) -> None:
        fault, target, *_ = record.args
        self._moment(record, f"fault: {name_of(fault)}", {"target": target})

    def _victim(self, record: Record) -> None:
        self._moment(record, f"OOM kills {self.names.comm(record.args[0])}")

    def _oom(self, record: Record) -> None:
        self._moment(record, "about to OOM", {"order": record.args[0], "others": record.args[2]})


def _reason(vector: int) -> str:
    return REASONS[vector] if vector < len(REASONS) else f"vector {vector}"
