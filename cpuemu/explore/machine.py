"""A whole machine under the baton: one schedule, from power-on to a finding, a deadlock or the end of its tasks.

The same processes, sockets and kernel code as in a free run; the gate is the controlled one.  Actors are the CPUs, and
of each CPU the delivery of every vector: a pending interrupt moves when it is chosen; and the coordinator, which walks
the scenario's hotplug requests.  Coming up is no part of the search: until the workload is let go, everybody moves in
turn and interrupts are taken at once.
"""

from __future__ import annotations

import contextlib
import importlib
import mmap
import os
import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from cpuemu.arch.apic import Apic
from cpuemu.arch.baton import Baton
from cpuemu.arch.controlled import Clock, ControlledGate
from cpuemu.arch.cpu import PowerOff
from cpuemu.arch.lending import run
from cpuemu.arch.ram import create_ram, create_rings, open_ram, open_rings
from cpuemu.coordinator.host_time import process_state
from cpuemu.coordinator.hotplug import Operation
from cpuemu.coordinator.processes import die_with, kill, start, title
from cpuemu.core import Core, Ram
from cpuemu.errors import UserError
from cpuemu.explore.hotplug import ParkedHands, Requests
from cpuemu.explore.schedule import Schedule, event_of
from cpuemu.explore.strategies.base import Event, Search, Strategy
from cpuemu.kernel.hung_task import edges, explain, find_cycle
from cpuemu.kernel.mm_init import free_area_init
from cpuemu.kernel.mmzone import zones_for
from cpuemu.kernel.page_audit import audit
from cpuemu.kernel.sched import CpuOffline
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
from cpuemu.workloads.python_task import Guarded

STEP_NS = 1000
STEP_LIMIT = 50_000
RINGS = (1024, 4096)
HUNG_NS = 30_000_000_000
"""Virtual time in which no task ends and nobody moves but for timers: as long as the watchdog waits for a task."""


Observe = Callable[[Machine, Sequence[Event]], None]
"""Is shown the machine and who can move, before each step; and at the end, when it is nobody any more."""


def run_schedule(scenario: Scenario, strategy: Strategy, seed: int, directory: Path,
                 observe: Observe | None = None) -> Schedule:
    """One schedule, its files in an empty ``directory``.  Context: this process has no ZeroMQ context, yet.

    Observed, a machine has every task's stack in RAM at every point.
    """
    world = _World(scenario, directory, stacks=observe is not None)
    try:
        return world.run(strategy, seed, observe or (lambda machine, enabled: None))
    finally:
        world.end()


class _World:
    """The machine of one schedule, and its conductor."""

    def __init__(self, scenario: Scenario, directory: Path, stacks: bool = False) -> None:
        cpus, self.stacks = scenario.cpus, stacks
        self.scenario, self.count = scenario, cpus
        self.done, self.done_ns = (0, 0), 0
        self.entry = importlib.import_module("workers.entry")  # by name: cpuemu never imports workers
        workload = workload_of(scenario)
        if workload.streams or not workload.tasks:
            raise UserError(f"{scenario.workload}: nothing to explore; give tasks that end, FILE.py:CLASS, as "
                            "launch takes it (a recording has an order of its own)")
        zones = zones_for(scenario.memory, cpus)
        image = create_ram(directory, workload.dimensions(cpus, zones))
        create_rings(directory, cpus, RINGS)
        self.image, self.machine = image, image.machine
        header = self.machine.header
        header.silent = not scenario.oracles
        header.preempt_model = Preempt[scenario.preempt.upper()]
        header.private_ipi_mask, header.park, header.checked = profile_named(scenario.profile).private_ipi_mask, 1, 1
        with memoryview(image.mapping) as view:
            workload.write(self.machine, view, seed=1)
        free_area_init(self.machine, image.mapping, Core(image.ram, None, (0, 0), 0, 0), zones, cpus, workload.held)
        smp_prepare_cpus(self.machine)
        stage = mmap.mmap(-1, Clock.SIZE + cpus * Actor.SIZE)
        ram = Ram(stage)
        self.clock, self.baton = Clock(ram, 0), Baton(ram, Clock.SIZE, cpus, image.ram)
        self.next: list[Event | None] = [None] * cpus
        """What each CPU does next, None for one that is done: it changes only while the CPU runs."""
        self.opens = [False] * cpus
        """Whether it takes interrupts where it is."""
        self.bells = [os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
                      for _ in range(cpus + 1 + nr_processes(cpus))]
        self.lifeline = os.pipe()
        place = str(directory)
        boot = self.entry.Boot(0, 1, 0, place, place, self.bells, self.lifeline[0], scenario.profile, scenario.policy,
                               workload.python_path)
        self.pids = []
        for cpu in range(cpus):
            words, process = self.machine.cpus[cpu], self.machine.processes[cpu]
            words.generation, words.state = 1, CpuState.STARTING
            process.generation, process.state = 1, ProcessState.RUNNING
            words.process = words.runner = process.cpu = cpu
            mine = replace(boot, cpu=cpu, process=cpu)
            self.pids.append(start(f"cpuemu cpu {cpu} gen 1", _cpu, self, mine, os.getpid()))
        self.pipes = [os.pipe() for _, up in scenario.requests if up]
        for entry, (theirs, _) in enumerate(self.pipes, cpus):
            mine = replace(boot, process=entry)
            self.pids.append(start("cpuemu spare", _spare, self, mine, theirs, os.getpid()))
        # From here on there may be a ZeroMQ thread in this process: nobody is forked from it any more.
        self.apic = Apic(image.ram, self.machine, cpus, 1, str(directory))
        self.hands = ParkedHands(image.ram, self.machine, self.apic, [ours for _, ours in self.pipes], self._let)
        self.coordinator = cpus * (1 + Vector.NR)
        self.requests = Requests(self.machine, self.hands, scenario.requests, self.coordinator)

    def end(self) -> None:
        for pid in self.pids:
            kill(pid)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
        self.apic.close(linger_ms=0)
        for descriptor in (*self.bells, *self.lifeline, *(each for pipe in self.pipes for each in pipe)):
            os.close(descriptor)

    # --- one schedule --------------------------------------------------------------------------------------

    def run(self, strategy: Strategy, seed: int, observe: Observe) -> Schedule:
        self._boot()
        schedule = Schedule()
        strategy.begin(self.coordinator + 1, Random(seed))
        header = self.machine.header
        while not self._over() and header.state < MachineState.OFF and not header.nr_findings:
            enabled = self._enabled()
            if enabled:
                if schedule.too_long(STEP_LIMIT):
                    return schedule
                observe(self.machine, enabled)
                if isinstance(strategy, Search):
                    schedule.pending.append(self._pending())
                schedule.step(enabled, strategy, self._let)
            elif self._stuck() or not self._advance_time():
                break
        schedule.pending.append(self._pending())
        observe(self.machine, [])
        self._judge(schedule)
        return schedule

    def _over(self) -> bool:
        header = self.machine.header
        return bool(header.tasks_done >= header.nr_workload) and self.requests.over

    def _stuck(self) -> bool:
        """Nobody can move, and time will not change that: a cycle of waits, or nothing but timers for too long."""
        done = self.machine.header.tasks_done, self.requests.steps
        if done != self.done:
            self.done, self.done_ns = done, self.clock.now_ns
        return bool(find_cycle(edges(self.machine))) or self.clock.now_ns - self.done_ns > HUNG_NS

    def _boot(self) -> None:
        for cpu in range(self.count):
            self._let(cpu)
        boot_cpu = self.machine.cpus[0]
        self._in_turn(lambda: boot_cpu.state == CpuState.RUNNING)
        booted = range(min(self.count, self.scenario.maxcpus))
        for cpu in booted[1:]:
            operation = Operation(self.machine, self.hands, cpu, up=True)
            self._in_turn(lambda operation=operation: operation.advance(self.clock.now_ns))  # type: ignore[misc]
            assert not operation.result, f"cpu {cpu} did not come up: {operation.result}"
        header = self.machine.header
        header.state, header.go = MachineState.RUNNING, 1
        self.done_ns = self.clock.now_ns
        for cpu in booted:
            self.hands.platform_interrupt(cpu)  # who sleeps on header.go is woken by its own CPU
        self._in_turn(lambda: not any(cpu.pending[Vector.PLATFORM] for cpu in self.machine.cpus))

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
        for actor, opens in enumerate(self.opens):
            if opens:
                ready += self._deliveries(actor)
        if (request := self.requests.next) and self.machine.header.go and self.requests.ready():
            ready.append(request)
        return ready

    def _deliveries(self, cpu: int) -> list[Event]:
        """Interrupts that are pending for a CPU."""
        words = self.machine.cpus[cpu]
        pending = words.pending
        if not pending.whole():
            return []
        return [Event(self.count + cpu * Vector.NR + vector, words.addr(Cpu.pending, vector), True, host=cpu)
                for vector in range(Vector.NR) if pending[vector]]

    def _pending(self) -> tuple[Event, ...]:
        """What every actor does next, enabled or not."""
        asked = self.requests.next
        return (*(event for event in self.next if event),
                *(each for cpu, event in enumerate(self.next) if event for each in self._deliveries(cpu)),
                *((asked,) if asked else ()))

    def _let(self, actor: int) -> None:
        self.clock.now_ns = self.clock.now_ns + STEP_NS
        if actor == self.coordinator:
            self.requests.step(self.clock.now_ns)
            return
        cpu, ticket = actor, 0
        if actor >= self.count:
            cpu, vector = divmod(actor - self.count, Vector.NR)
            ticket = self.machine.cpus[cpu].pending[vector] >> 16
        self.baton.let(cpu, self._alive, ticket)
        self.next[cpu] = event_of(cpu, self.baton.declared(cpu))
        self.opens[cpu] = self.baton.opens(cpu)

    def _alive(self, cpu: int) -> bool:
        return process_state(self.pids[self.machine.cpus[cpu].runner]) not in ("", "Z")

    def _advance_time(self) -> bool:
        """Nobody can move: to the next deadline.  False: there is none, it is a deadlock."""
        due = [actor.deadline_ns for actor in self.baton.actors
               if actor.state == ActorState.POINT and actor.deadline_ns > self.clock.now_ns]
        if due:
            self.clock.now_ns = min(due)
        return bool(due)

    def _judge(self, schedule: Schedule) -> None:
        header = self.machine.header
        if not self.scenario.oracles and not self._over():
            schedule.verdict, schedule.message = "limit", "the machine stands still"
        elif header.nr_findings:
            finding = self.machine.findings[0]
            schedule.verdict, schedule.message = "failed", f"{finding.rule}: {finding.message}"
            schedule.stack = finding.stack
        elif not self._over():
            waits = [*explain(self.machine, self.clock.now_ns), *filter(None, [self.requests.under_way()])]
            schedule.verdict, schedule.message = "deadlock", "; ".join(waits)
        elif self.scenario.oracles:
            lost = audit(self.machine, self.image.mapping, "a schedule that ends with its tasks").findings
            if lost:
                schedule.verdict, schedule.message = "failed", f"page-conservation: {lost[0]}"


def workload_of(scenario: Scenario) -> Workload:
    """What its tasks do.  Raises UserError."""
    if scenario.workload:
        return load(scenario.workload, Request(scenario.cpus))
    return Workload(scenario.name, scenario.plans())


def _cpu(world: _World, boot: Any, parent: int) -> None:
    """A CPU's process, from the baton's first touch to the end of the machine.  ``boot``: as workers.entry has it."""
    die_with(parent)
    world.baton.wait(boot.cpu)
    boots, park = importlib.import_module("workers.boot"), importlib.import_module("workers.park")
    image, rings = open_ram(Path(boot.run_dir)), open_rings(Path(boot.run_dir))
    lives = []  # greenlets that are collected run their cleanup: no CPU that has left may do that
    while True:
        gate = ControlledGate(world.baton, world.clock, world.stacks)
        cpu = world.entry.plug_in(boot, image, rings, gate)
        lives.append(cpu)
        if world.scenario.tasks:
            cpu.workload = Guarded(world.scenario, Path(world.scenario.name))
        cpu.core.control()
        try:
            (boots.secondary_processor if boot.cpu else boots.boot_processor)(cpu)
            run(cpu)
        except CpuOffline:
            pass
        except PowerOff:
            world.baton.leave(cpu.number)
            return
        try:
            if not park.play_dead(cpu):
                return  # it had kept tasks, and its CPU has a new process
        except PowerOff:
            return
        world.baton.wait(boot.cpu)
        boot = replace(boot, generation=world.machine.processes[boot.process].generation)


def _spare(world: _World, boot: Any, pipe: int, parent: int) -> None:
    """A process for a CPU whose own one keeps tasks when it comes back."""
    die_with(parent)
    cpu, = struct.unpack("i", os.read(pipe, 4))
    generation = world.machine.processes[boot.process].generation
    title(f"cpuemu cpu {cpu} gen {generation}")
    _cpu(world, replace(boot, cpu=cpu, generation=generation), parent)
