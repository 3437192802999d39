"""A whole machine under the baton: schedule after schedule, each to a finding, a deadlock or the end of its tasks.

The same processes, sockets and kernel code as in a free run; the gate is the controlled one.  Actors are the CPUs, and
of each CPU the delivery of every vector: a pending interrupt moves when it is chosen; the coordinator, which walks the
scenario's hotplug requests; and its faults (explore/hazards.py).  Coming up is no part of the search, and happens once:
until the workload is let go, everybody moves in turn and interrupts are taken at once.  There the CPUs' processes stand
by, and RAM is remembered: each schedule runs in copies of them (explore/copies.py), on RAM as it was.
"""

from __future__ import annotations

import importlib
import mmap
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

from cpuemu.arch.apic import Apic
from cpuemu.arch.baton import Baton
from cpuemu.arch.controlled import AGAIN, GATHER, LOOK, STAND_BY, STRIKE, Clock
from cpuemu.arch.ram import RamFile, create_ram, create_rings
from cpuemu.coordinator.host_time import process_state
from cpuemu.coordinator.hotplug import Operation
from cpuemu.coordinator.last_seen import mark_dead
from cpuemu.core import Core, Ram
from cpuemu.errors import UserError
from cpuemu.explore.actors import actors, coordinator
from cpuemu.explore.copies import Processes
from cpuemu.explore.hazards import Hazards, write_plan
from cpuemu.explore.hotplug import ParkedHands, Requests
from cpuemu.explore.schedule import Schedule, event_of
from cpuemu.explore.state import State
from cpuemu.explore.strategies.base import Event, Search, Stateful, Strategy
from cpuemu.explore.stutter import Stutter, told
from cpuemu.kernel.hung_task import edges, explain, find_cycle
from cpuemu.kernel.mm_init import free_area_init
from cpuemu.kernel.mmzone import zones_for
from cpuemu.kernel.page_audit import audit
from cpuemu.kernel.smpboot import smp_prepare_cpus
from cpuemu.layout import (
    Actor,
    ActorState,
    Cpu,
    CpuState,
    Machine,
    MachineState,
    Preempt,
    ProcessState,
    Vector,
    nr_processes,
)
from cpuemu.profiles import profile_named
from cpuemu.scenarios.base import Scenario
from cpuemu.workloads.base import Request, Workload
from cpuemu.workloads.load import load

STEP_NS = 1000
STEP_LIMIT = 50_000
REST_STEPS = 2_000
RINGS = (1024, 4096)
ROUND_NS, MOST_DOUBLED = 1_000_000, 12
"""How much time passes after a round in which all who can move have only gone round, and how often it is doubled."""
MOST_ROUNDS = 64
"""Such rounds, each parted at another step, are enough to say that nobody gets on, however many steps they have."""
HUNG_NS = 30_000_000_000
"""Virtual time in which no task ends and nobody moves but for timers: as long as the watchdog waits for a task."""


Observe = Callable[[Machine, Sequence[Event]], None]
"""Is shown the machine and who can move, before each step; and at the end, when it is nobody any more."""


class Explored:
    """A machine that has come up, and its conductor.  Context: this process has no ZeroMQ context, yet.

    ``directory``: an empty one, for its files.  ``stacks``: every task's stack is in RAM at every point.  ``states``:
    its schedules are of strategies that look for known states.
    Raises UserError on what cannot be explored.
    """

    def __init__(self, scenario: Scenario, directory: Path, stacks: bool = False, states: bool = False) -> None:
        cpus = scenario.cpus
        self.scenario, self.count, self.place, self.states = scenario, cpus, str(directory), states
        self.done, self.done_ns, self.step_ns = (0, 0), 0, STEP_NS
        # By name, as cpuemu never imports workers; and before the memory is laid out, where the names of all sites go.
        entry = importlib.import_module("workers.entry")
        self.image, self.rings, workload = _memory(scenario, directory)
        self.machine = self.image.machine
        stage = mmap.mmap(-1, Clock.SIZE + cpus * Actor.SIZE)
        ram = Ram(stage)
        self.clock, self.baton = Clock(ram, 0), Baton(ram, Clock.SIZE, cpus, self.image.ram)
        self.next: list[Event | None] = [None] * cpus
        """What each CPU does next, None for one that is done: it changes only while the CPU runs."""
        self.opens = [False] * cpus
        """Whether it takes interrupts where it is."""
        self.delivery = [[Event(cpus + cpu * Vector.NR + vector, words.addr(Cpu.pending, vector), True, host=cpu)
                          for vector in range(Vector.NR)] for cpu, words in enumerate(self.machine.cpus)]
        """Of each CPU, each vector's."""
        self.bells = [os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
                      for _ in range(cpus + 1 + nr_processes(cpus))]
        self.lifeline = os.pipe()
        self.coordinator = coordinator(cpus)
        boot = entry.Boot(
            0, 1, 0, self.place, self.place, self.bells, self.lifeline[0], scenario.profile, scenario.policy,
            workload.python_path, scenario.stepped)
        self.present = [cpu for cpu in range(cpus) if cpu not in scenario.absent]
        for cpu in self.present:
            words, process = self.machine.cpus[cpu], self.machine.processes[cpu]
            words.generation, words.state = 1, CpuState.STARTING
            process.generation, process.state = 1, ProcessState.RUNNING
            words.process = words.runner = process.cpu = cpu
        self.processes = Processes(scenario, boot, self.baton, self.clock, stacks)
        # From here on there may be a ZeroMQ thread in this process: nobody is forked from it any more.
        self.apic: Apic | None = None
        try:
            self._come_up()
        except BaseException:
            self.end()
            raise

    def end(self) -> None:
        self.processes.end()
        self._unplug()
        for descriptor in (*self.bells, *self.lifeline):
            os.close(descriptor)

    def _come_up(self) -> None:
        """Bring the CPUs up, have their processes stand by, and remember how everything is."""
        self._ask([])
        self._boot()
        self._unplug()
        self.clock.looks = self.states
        for cpu in self.present:
            self.baton.let(cpu, self._alive, STAND_BY)
        for pair in self.machine.pairs:
            pair.word = 0  # sockets that are linked no more
        self.memory, self.traces = self.image.ram.whole(), self.rings.whole()
        self.start = self.clock.now_ns, list(self.next), list(self.opens)
        self.stutter = Stutter(self.image.ram, self.machine, self._stacks, self.coordinator)
        self.state = State(self.machine, self.image.ram, self.clock, self.baton)

    def _ask(self, requests: Sequence[tuple[int, bool]]) -> None:
        """What the coordinator is to walk from here on."""
        self.hands = ParkedHands(self.image.ram, self.machine, self._interrupt, self.processes.copy_spare, self._let)
        self.requests = Requests(self.machine, self.hands, requests, self.coordinator)
        self.hazards = Hazards(self.machine, self.scenario.budget())

    def _interrupt(self, cpu: int) -> None:
        """Raise the platform vector."""
        if self.apic is None:
            self.apic = Apic(self.image.ram, self.machine, self.count, 1, self.place)
        self.apic.send(cpu, Vector.PLATFORM)

    def _unplug(self) -> None:
        """Close the coordinator's own interrupt controller."""
        if self.apic is not None:
            self.apic.close(linger_ms=0)
        self.apic = None

    # --- one schedule --------------------------------------------------------------------------------------

    def run(self, strategy: Strategy, seed: int, observe: Observe = lambda machine, enabled: None) -> Schedule:
        self._begin()
        schedule = Schedule()
        states = strategy if isinstance(strategy, Stateful) else None
        self.step_ns = 0 if states else STEP_NS
        strategy.begin(actors(self.count, bool(self.scenario.faults)), Random(seed))
        header, searches = self.machine.header, isinstance(strategy, Search) and not states
        while not self._over() and header.state < MachineState.OFF and not header.nr_findings:
            enabled: Sequence[Event] = self._enabled()
            if not states:  # which knows a state that it comes back to
                enabled = self.stutter.able(schedule.events, self.next, enabled)
            if enabled:
                if schedule.too_long(STEP_LIMIT) or (states and states.beyond and states.knows(self._state(), enabled)):
                    return schedule
                if self.stutter.round:
                    if self._stuck() and self.stutter.rounds >= min(len(self.stutter.round), MOST_ROUNDS):
                        break
                    self._time_passes()
                observe(self.machine, enabled)
                if searches:
                    schedule.pending.append(self._pending())
                schedule.step(enabled, strategy, self._let)
            elif self._stuck() or not self._advance_time():
                break
        if states and states.beyond and not header.nr_findings and states.knows(self._state(), ()):
            return schedule
        schedule.pending.append(self._pending())
        observe(self.machine, [])
        self.hazards.left.clear()
        if self._over() and not header.nr_findings:
            self._come_to_rest()
        self._judge(schedule)
        return schedule

    def _begin(self) -> None:
        """The machine as it was when it had come up, in processes of this schedule's own."""
        self._unplug()
        self.processes.copy(self.machine, self.baton, self._alive)
        self.image.ram.restore(self.memory)
        self.rings.restore(self.traces)
        self.clock.now_ns, following, opens = self.start
        self.clock.looks = 0
        self.next, self.opens = list(following), list(opens)
        self.done, self.done_ns = (0, 0), self.clock.now_ns
        self.processes.tell(self.machine)
        self.stutter.begin()
        self._ask(self.scenario.requests)

    def _state(self) -> bytes:
        """Where the machine is, as strategies that look for known states have it."""
        if not self.clock.looks:
            self.clock.looks = 1
            for cpu in range(self.count):
                if self.next[cpu]:
                    self._hand(cpu, LOOK)
        return self.state.now(self.requests, (self.done, self.done_ns))

    def _over(self) -> bool:
        header = self.machine.header
        return bool(header.tasks_done >= header.nr_workload) and self.requests.over

    def _stuck(self) -> bool:
        """Nobody can move, and time will not change that: a cycle of waits, or nothing but timers for too long."""
        done = self.machine.header.tasks_done + sum(task.position for task in self.machine.tasks), self.requests.steps
        if done != self.done:
            self.done, self.done_ns, self.stutter.rounds = done, self.clock.now_ns, 0
        return bool(find_cycle(edges(self.machine))) or self.clock.now_ns - self.done_ns > HUNG_NS

    def _boot(self) -> None:
        for cpu in self.present:
            self._let(cpu)
        boot_cpu = self.machine.cpus[0]
        self._in_turn(lambda: boot_cpu.state == CpuState.RUNNING)
        booted = [cpu for cpu in self.present if cpu < self.scenario.maxcpus]
        for cpu in booted[1:]:
            operation = Operation(self.machine, self.hands, cpu, up=True)
            self._in_turn(lambda operation=operation: operation.advance(self.clock.now_ns))  # type: ignore[misc]
            assert not operation.result, f"cpu {cpu} did not come up: {operation.result}"
        header = self.machine.header
        header.state, header.go = MachineState.RUNNING, 1
        for cpu in booted:
            self._interrupt(cpu)  # who sleeps on header.go is woken by its own CPU
        self._in_turn(lambda: not any(cpu.pending.whole() for cpu in self.machine.cpus))

    def _come_to_rest(self) -> None:
        """The tasks are done: let what they have left behind end, a drain, a swap daemon, before pages are counted."""
        steps, header = REST_STEPS, self.machine.header

        def rests() -> bool:
            nonlocal steps
            steps -= 1
            return not steps or bool(header.nr_findings) or not self._enabled()

        self._in_turn(rests)

    def _in_turn(self, done: Callable[[], bool]) -> None:
        """No search: interrupts first, then CPU after CPU."""
        last = 0
        while not done():
            enabled = self._enabled()
            if enabled:
                event = max(enabled, key=lambda each: (each.actor >= self.count, each.actor > last, -each.actor))
                last = event.actor if event.actor < self.count else last
                self._let(event.actor)
            elif not self._advance_time():
                raise AssertionError("; ".join(explain(self.machine)) or "nobody can move while the machine comes up")

    def _enabled(self) -> list[Event]:
        """CPUs that can go on, then deliveries, CPU after CPU, vector after vector, then the coordinator."""
        ready = [event for actor in self.baton.ready(self.clock.now_ns) if (event := self.next[actor])]
        raised = self.baton.raised(self.machine.placed["cpus"].base)
        ready += [self.delivery[cpu][vector] for cpu, vector, ticket in raised if ticket not in self.hazards.lost]
        if (request := self.requests.next) and self.machine.header.go and self.requests.ready():
            ready.append(request)
        if self.machine.header.go:
            ready += self.hazards.enabled(self.next, ready, self.opens)
        return ready

    def _deliveries(self, cpu: int) -> list[Event]:
        """Interrupts that are pending for a CPU."""
        pending = self.machine.cpus[cpu].pending
        return [event for event, word in zip(self.delivery[cpu], pending, strict=True)
                if word and word >> 16 not in self.hazards.lost]

    def _pending(self) -> tuple[Event, ...]:
        """What every actor does next, enabled or not."""
        asked = self.requests.next
        return (*(event for event in self.next if event),
                *(each for cpu, event in enumerate(self.next) if event for each in self._deliveries(cpu)),
                *((asked,) if asked else ()))

    def _let(self, actor: int) -> None:
        self.clock.now_ns = self.clock.now_ns + self.step_ns
        if actor == self.coordinator:
            self.requests.step(self.clock.now_ns)
            return
        if self.hazards.is_one(actor):
            self._strike(*self.hazards.strikes(actor))
        elif actor >= self.count:
            cpu, vector = divmod(actor - self.count, Vector.NR)
            ticket = self.machine.cpus[cpu].pending[vector] >> 16
            self.hazards.taken[cpu, vector] = ticket
            self._hand(cpu, ticket)
        else:
            self._hand(actor)

    def _hand(self, cpu: int, ticket: int = 0) -> None:
        """The baton to a CPU, until it stands at its next point."""
        self.baton.let(cpu, self._alive, ticket)
        self.next[cpu] = event_of(cpu, self.baton.declared(cpu))
        self.opens[cpu] = self.baton.opens(cpu)

    def _strike(self, fault: str, cpu: int, vector: Vector) -> None:
        if fault == "ipi-doubled":
            self._hand(cpu, AGAIN | self.hazards.taken[cpu, vector])
        elif fault == "cpu-death":
            for other in range(self.count):  # which frames are lost with their sender is not the host's to decide
                if other != cpu and self.next[other]:
                    self._hand(other, GATHER)
            runner = self.machine.cpus[cpu].runner
            self.processes.end_copies(runner)
            mark_dead(self.machine, self.machine.processes[runner])
            self.baton.actors[cpu].state = ActorState.DONE
            self.next[cpu], self.opens[cpu] = None, False
        elif fault != "ipi-lost":
            self._hand(cpu, STRIKE)

    def _alive(self, cpu: int) -> bool:
        return process_state(self.processes.pid(self.machine.cpus[cpu].runner)) not in ("", "Z")

    def _advance_time(self) -> bool:
        """Nobody can move: to the next deadline.  False: there is none, it is a deadlock."""
        due = [actor.deadline_ns for actor in self.baton.actors
               if actor.state == ActorState.POINT and actor.deadline_ns > self.clock.now_ns]
        if due:
            self.clock.now_ns = min(due)
        return bool(due)

    def _time_passes(self) -> None:
        """All who can move only go round: to the next moment at which something is due, or for longer each time."""
        now = self.clock.now_ns
        due = [*(actor.deadline_ns for actor in self.baton.actors), *(cpu.timer_ns for cpu in self.machine.cpus)]
        later = now + (ROUND_NS << min(self.stutter.rounds, MOST_DOUBLED))
        self.clock.now_ns = min([moment for moment in due if moment > now] or [later])

    def _stacks(self, cpu: int) -> int:
        """What a CPU's process says of the kernel stacks that are in it."""
        self.baton.let(cpu, self._alive, LOOK)
        return self.baton.actors[cpu].stacks

    def _judge(self, schedule: Schedule) -> None:
        header = self.machine.header
        if not self.scenario.oracles and not self._over():
            schedule.verdict, schedule.message = "limit", "the machine stands still"
        elif header.nr_findings:
            finding = self.machine.findings[0]
            schedule.verdict, schedule.message = "failed", f"{finding.rule}: {finding.message}"
            schedule.stack = finding.stack
        elif not self._over() and self.stutter.round and not find_cycle(edges(self.machine)):
            schedule.verdict, schedule.message = "livelock", told(self.machine, self.stutter.round)
        elif not self._over():
            waits = [*explain(self.machine, self.clock.now_ns), *filter(None, [self.requests.under_way()])]
            schedule.verdict, schedule.message = "deadlock", "; ".join(waits)
            if died := self.hazards.died(edges(self.machine, self.clock.now_ns)):
                schedule.verdict, schedule.message = "failed", "; ".join([died, *waits])
        elif self.scenario.oracles and not self._enabled():
            for rule, text in audit(self.machine, self.image.mapping).wrong[:1]:
                schedule.verdict, schedule.message = "failed", f"{rule.name}: {text}"
        if schedule.bad:
            schedule.message = "; ".join(filter(None, [schedule.message, self.hazards.told()]))


def _memory(scenario: Scenario, directory: Path) -> tuple[RamFile, Ram, Workload]:
    """RAM as the firmware leaves it, the rings, and what the tasks do.  Raises UserError."""
    workload, cpus = workload_of(scenario), scenario.cpus
    if workload.streams or not workload.tasks:
        raise UserError(f"{scenario.workload}: nothing to explore; give tasks that end, FILE.py:CLASS, as "
                        "launch takes it (a recording has an order of its own)")
    zones = zones_for(scenario.memory, cpus)
    image = create_ram(directory, workload.dimensions(cpus, zones))
    rings = create_rings(directory, cpus, RINGS)
    header = image.machine.header
    header.silent, header.explored = not scenario.oracles, 1
    header.preempt_model = Preempt[scenario.preempt.upper()]
    header.private_ipi_mask, header.park, header.checked = profile_named(scenario.profile).private_ipi_mask, 1, 1
    with memoryview(image.mapping) as view:
        workload.write(image.machine, view, seed=1)
    free_area_init(image.machine, image.mapping, Core(image.ram, None, (0, 0), 0, 0), zones, cpus, workload.held)
    smp_prepare_cpus(image.machine, scenario.absent)
    write_plan(image.machine, scenario.budget())
    return image, Ram(rings.mapping), workload


def workload_of(scenario: Scenario) -> Workload:
    """What its tasks do.  Raises UserError."""
    if scenario.workload:
        return load(scenario.workload, Request(scenario.cpus))
    return Workload(scenario.name, scenario.plans())
