"""Machines built by hand for tests: RAM in an anonymous mapping, written through the layout's own accessors."""

from __future__ import annotations

import mmap
from dataclasses import dataclass

from cpuemu import layout
from cpuemu.layout import (
    MAGIC,
    MAX_ORDER,
    NOBODY,
    REGIONS,
    TAG,
    CpuState,
    Dimensions,
    Machine,
    MachineState,
    Mask,
    MigrateType,
    PageState,
    Program,
    SchedClass,
    TaskState,
)
from cpuemu.report.image import BufferMemory
from cpuemu.sites import write_sites

SECOND = 1_000_000_000
T0 = 1_000 * SECOND
"""Power-on of every handmade machine."""

FIRST_USER_TASK = 64
"""Below: idle tasks from 0, migration threads from 32, control and kthreadd at 60 and 61."""
CONTROL, KTHREADD, KSWAPD = 60, 61, 62


@dataclass
class Handmade:
    """A machine at rest, all its memory free."""

    machine: Machine
    memory: mmap.mmap

    def __post_init__(self) -> None:
        self.cpus, self.tasks, self.pages = self.machine.cpus, self.machine.tasks, self.machine.mem_map

    # --- memory --------------------------------------------------------------------------------------------

    def add_tail(self, head: int, pfn: int) -> None:
        """Link a page at the end of a list (head counted from 0)."""
        head += self.machine.dims.pages
        last = self.pages[head].prev
        self.pages[last].next, self.pages[pfn].prev = pfn, last
        self.pages[pfn].next, self.pages[head].prev = head, pfn

    def unlink(self, pfn: int) -> None:
        page = self.pages[pfn]
        self.pages[page.prev].next, self.pages[page.next].prev = page.next, page.prev

    def free(self, pfn: int, order: int, kind: int = MigrateType.MOVABLE) -> None:
        """Make a block free and put it on its list, counters included."""
        page = self.pages[pfn]
        page.state, page.order, page.migratetype = PageState.BUDDY, order, kind
        self.add_tail(layout.free_list_head(page.zone, order, kind), pfn)
        zone = self.machine.zones[page.zone]
        zone.nr_free[order] += 1
        zone.free_pages += 1 << order

    def free_range(self, start: int, end: int) -> None:
        """Free pages in the largest aligned blocks."""
        while start < end:
            order = MAX_ORDER - 1
            while start & (1 << order) - 1 or start + (1 << order) > end:
                order -= 1
            self.free(start, order)
            start += 1 << order

    def take(self, pfn: int, order: int = 0, owner: int = layout.OWNER_BOOT) -> None:
        """Carve one block out of the free one that holds it."""
        head = pfn
        while self.pages[head].state != PageState.BUDDY:
            head -= 1
        size = 1 << self.pages[head].order
        self.unlink(head)
        zone = self.machine.zones[self.pages[head].zone]
        zone.nr_free[self.pages[head].order] -= 1
        zone.free_pages -= size
        self.pages[head].state, self.pages[head].order = PageState.TAIL, 0
        self.free_range(head, pfn)
        self.free_range(pfn + (1 << order), head + size)
        page = self.pages[pfn]
        page.state, page.order, page.owner = PageState.ALLOCATED, order, owner
        if owner < self.machine.dims.tasks:
            self.tasks[owner].rss += 1 << order

    def to_pcp(self, cpu: int, pfn: int, kind: int = MigrateType.MOVABLE) -> None:
        """Put an allocated order-0 page on a CPU's list."""
        page = self.pages[pfn]
        page.state, page.owner, page.migratetype = PageState.PCP, cpu, kind
        self.add_tail(layout.pcp_head(cpu, page.zone, kind, self.machine.dims.zones), pfn)
        self.machine.pcp(cpu, page.zone).count += 1

    def to_lru(self, pfn: int) -> None:
        """Make an allocated page a page-cache page."""
        page = self.pages[pfn]
        page.owner = layout.OWNER_FILE
        self.add_tail(layout.lru_head(page.zone, self.machine.dims.zones), pfn)
        self.machine.zones[page.zone].nr_file += 1

    # --- CPUs and tasks ------------------------------------------------------------------------------------

    def online(self, cpu: int, on: bool = True) -> None:
        for mask in (Mask.ONLINE, Mask.ACTIVE):
            bits = self.machine.cpumasks[mask].bits
            bits[0] = bits[0] | 1 << cpu if on else bits[0] & ~(1 << cpu)

    def task(self, number: int, comm: str, cpu: int, *, program: int = Program.STORM,
             sched_class: int = SchedClass.FAIR) -> layout.Task:
        task = self.tasks[number]
        task.comm, task.cpu, task.home = comm, cpu, NOBODY
        task.state, task.program, task.sched_class = TaskState.RUNNING, program, sched_class
        task.since_ns = T0
        return task

    def run(self, cpu: int, task: int) -> layout.Task:
        """Make a task the current one of a CPU, awake and inside the kernel."""
        self.cpus[cpu].current, self.cpus[cpu].sleeping = task, 0
        record = self.tasks[task]
        record.state, record.cpu, record.on_rq, record.in_kernel = TaskState.RUNNING, cpu, 1, 1
        return record

    def wait(self, task: int, word: int, op: int, value: int, site: int = 0, *, busy: bool = True, since: int = T0,
             deadline: int = 0) -> layout.Task:
        """Give a task a wait record with one term; a sleeping one leaves its CPU."""
        record = self.tasks[task]
        record.word[0], record.op[0], record.value[0] = word, op, value
        record.nterms, record.why, record.busy, record.wait_ns, record.deadline_ns = 1, site, int(busy), since, deadline
        record.stack = "waiting_function:1 < caller:2"
        if not busy:
            record.state, record.on_rq, record.since_ns = TaskState.UNINTERRUPTIBLE, 0, since
        return record

    def lock(self, lock: int, cpu: int, task: int, since: int = T0) -> layout.Lock:
        """A spinlock held by a CPU (its task)."""
        record = self.machine.locks[lock]
        record.word, record.holder, record.since_ns = cpu + 1 | 1 << 16, task + 1, since
        return record

    def raise_ipi(self, source: int, target: int, vector: int, ticket: int, at: int = T0) -> None:
        self.cpus[target].pending[vector] = ticket << 16 | source + 1
        self.cpus[target].raised_ns[vector] = at


def machine(cpus: int = 4, pages: int = 4096, tasks: int = 80, zones: tuple[tuple[str, int], ...] = (), *,
            boot: bool = True) -> Handmade:
    """A machine with all memory free, all CPUs online and asleep in their idle task.

    ``zones``: name and first page of each, default DMA from 1 and Normal from half.
    """
    zones = zones or (("DMA", 1), ("Normal", pages // 2))
    dims = Dimensions(cpus=cpus, pages=pages, zones=len(zones), tasks=tasks)
    size = layout.place_machine(dims)[1]
    memory = mmap.mmap(-1, size)
    made = Handmade(Machine(BufferMemory(memory), dims), memory)
    _header(made, dims, size)
    _zones(made, zones, pages)
    if boot:
        _boot(made, cpus)
    return made


def _header(made: Handmade, dims: Dimensions, size: int) -> None:
    header = made.machine.header
    header.magic, header.tag, header.ram_size = MAGIC, TAG, size
    header.nr_cpus, header.nr_pages, header.nr_zones = dims.cpus, dims.pages, dims.zones
    header.nr_tasks, header.nr_heads = dims.tasks, layout.nr_heads(dims.cpus, dims.zones)
    header.start_ns = header.boot_ns = header.ready_ns = T0
    header.state = MachineState.RUNNING
    for number, region in enumerate(REGIONS):
        header.bases[number] = made.machine.placed[region.name].base
    write_sites(made.machine)
    for lock, name in zip(made.machine.locks, layout.lock_names(dims.cpus, ("DMA", "Normal")), strict=False):
        lock.name = name


def _zones(made: Handmade, zones: tuple[tuple[str, int], ...], pages: int) -> None:
    made_machine = made.machine
    for head in range(made_machine.header.nr_heads):
        made.pages[pages + head].next = made.pages[pages + head].prev = pages + head
    for number, (name, start) in enumerate(zones):
        end = zones[number + 1][1] if number + 1 < len(zones) else pages
        zone = made_machine.zones[number]
        zone.name, zone.start_pfn = name, start
        zone.spanned = zone.present = zone.managed = end - start
        for pfn in range(start, end):
            made.pages[pfn].state, made.pages[pfn].zone = PageState.TAIL, number
        made.free_range(start, end)
        made_machine.header.managed += end - start


def _boot(made: Handmade, cpus: int) -> None:
    for mask in (Mask.POSSIBLE, Mask.PRESENT):
        made.machine.cpumasks[mask].bits[0] = (1 << cpus) - 1
    for cpu in range(cpus):
        made.online(cpu)
        record = made.cpus[cpu]
        record.state, record.generation, record.sleeping = CpuState.RUNNING, 1, 1
        record.current = record.idle_task = cpu
        record.stop_task = 32 + cpu
        record.process = record.runner = made.machine.processes[cpu].cpu = cpu
        made.machine.processes[cpu].generation = 1
        record.rq_head = record.rq_tail = NOBODY
        made.task(cpu, f"swapper/{cpu}", cpu, program=Program.IDLE, sched_class=SchedClass.IDLE)
        made.task(32 + cpu, f"migration/{cpu}", cpu, program=Program.KTHREAD, sched_class=SchedClass.STOP)
        stopper = made.machine.stoppers[cpu]
        stopper.enabled, stopper.head, stopper.tail = 1, NOBODY, NOBODY
        made.wait(32 + cpu, stopper.addr(layout.Stopper.head), layout.Op.NE, NOBODY, busy=False)
        queue = made.machine.single_queues[cpu]
        queue.head = queue.tail = NOBODY
    made.machine.call_function.next = made.machine.call_function.prev = cpus
    for number, comm in ((CONTROL, "control/0"), (KTHREADD, "kthreadd"), (KSWAPD, "kswapd0")):
        made.task(number, comm, 0, program=Program.KTHREAD).on_rq = 0
    hotplug, kthread, kswapd = made.machine.hotplug, made.machine.kthread, made.machine.kswapd
    hotplug.control_task, hotplug.kthreadd_task, kswapd.task = CONTROL, KTHREADD, KSWAPD
    made.wait(CONTROL, hotplug.addr(layout.Hotplug.request), layout.Op.NE, 0, busy=False)
    made.wait(KTHREADD, kthread.addr(layout.Kthread.request), layout.Op.NE, 0, busy=False)
    made.wait(KSWAPD, kswapd.addr(layout.Kswapd.wake), layout.Op.NE, 0, busy=False)
    for work in made.machine.stop_works:
        work.next, work.done = NOBODY, NOBODY
