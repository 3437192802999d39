"""THE declaration: every word of the machine's RAM, its writer or lock, its meaning; and every limit.

Everything else is computed from this file: offsets, the C structs of the compiled core, the documentation
table, the names in a post-mortem, and the tag that refuses an image of another version.

Lists are doubly linked through ``Page.next``/``Page.prev`` with indices instead of pointers.  A list head is a
record like any other, behind the last page: ``mem_map[nr_pages + head]``.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from cpuemu.faults import Fault
from cpuemu.schema import (
    Address,
    Array,
    Memory,
    Placed,
    Region,
    View,
    array,
    i32,
    i64,
    place,
    tag,
    text,
    u8,
    u16,
    u32,
    u64,
)

MAGIC = 0x554D_4555_5043_2E31  # "1.CPUEMU", little endian

# --- limits ------------------------------------------------------------------------------------------------

NR_CPUS = 256
MASK_WORDS = NR_CPUS // 64
MAX_ORDER = 11
PAGEBLOCK_ORDER = 9
PAGE_SHIFT = 12
MAX_NR_ZONES = 3
MAX_PAGES = 1 << 23
"""32 GiB of emulated memory: its mem_map then takes 128 MiB."""
WAIT_TERMS = 4
FIRST_ZONE_LOCK = 8
"""In the region of locks the machine's own come first, then NR_ZONE_LOCKS a zone, then NR_CPU_LOCKS a CPU."""
NR_ZONE_LOCKS, NR_CPU_LOCKS = 2, 3
HELD_PAGES = 1024
"""Pages that one workload task can hold (replayed pages are held by slots instead)."""
USER_WORDS = 10
NR_FINDINGS = 64
FINDING_TASKS = 8
"""Tasks that one finding names."""
HELD_LOCKS = 8
"""Spinlocks that a CPU, and mutexes that a task, can hold at once and lockdep knows of."""
NR_LOCK_CLASSES = 16
NR_SITES = 512
RCU_FANOUT = 2
"""CPUs that a leaf of RCU's tree is about: Linux's smallest (CONFIG_RCU_FANOUT)."""
SPARE_PROCESSES = 32
"""Processes of CPUs that left and keep tasks inside the kernel, beside one process for every CPU."""
NOBODY = 0xFFFF_FFFF
"""No CPU, no task, no page."""
SLOT_EMPTY = 0
SLOT_FAILED = 0xFFFF_FFFF
OWNER_BOOT = 0xFFFF_FFFE
"""Owner of pages held since boot that nobody gives back."""
OWNER_FILE = 0xFFFF_FFFD
"""Owner of page-cache pages: linked on their zone's inactive file list, reclaimable (PageLRU)."""
OWNER_ISOLATED = 0xFFFF_FFFC
"""Owner of pages that reclaim or compaction has in hand: off their list, about to be freed, put back or filled."""
LINE_END = 0xFFFF_FFFF


class MigrateType(enum.IntEnum):
    """mm: include/linux/mmzone.h, v3.2."""

    UNMOVABLE = 0
    RECLAIMABLE = 1
    MOVABLE = 2
    PCPTYPES = 3
    RESERVE = 3
    ISOLATE = 4
    TYPES = 5


class PageState(enum.IntEnum):
    """What a page frame is.  Only the first page of a block says more than TAIL."""

    RESERVED = 0  # a hole, or memory the allocator never had
    TAIL = 1
    BUDDY = 2
    PCP = 3
    ALLOCATED = 4


class Wmark(enum.IntEnum):
    MIN = 0
    LOW = 1
    HIGH = 2
    NR = 3


class Gfp(enum.IntEnum):
    """Allocation flags with a meaning here (bits; Linux's names, values of include/linux/gfp.h v3.2)."""

    DMA = 0x01
    DMA32 = 0x04
    WAIT = 0x10
    HIGH = 0x20
    IO = 0x40
    FS = 0x80
    COLD = 0x100
    NOWARN = 0x200
    REPEAT = 0x400
    NOFAIL = 0x800
    NORETRY = 0x1000
    NOMEMALLOC = 0x10000
    NO_KSWAPD = 0x400000
    NO_OOM = 0x8000000  # ours: fail where Linux would kill (replayed allocations)


class Vector(enum.IntEnum):
    RESCHEDULE = 0
    CALL_FUNCTION = 1
    CALL_FUNCTION_SINGLE = 2
    PLATFORM = 3  # from the coordinator, as firmware raises an SCI
    NMI = 4
    NR = 5


class CpuState(enum.IntEnum):
    """The state of a CPU's process, as the hands outside the machine see it."""

    ABSENT = 0
    STARTING = 1
    READY = 2  # socket bound; waits for cpu_callout
    RUNNING = 3
    PARKED = 4  # offline, process kept
    GONE = 5  # offline, process left in order
    DEAD = 6  # process died: killed, or a defect of ours


class ProcessState(enum.IntEnum):
    """What a process is to the machine (arch/lending.py)."""

    FREE = 0
    RUNNING = 1  # its CPU is coming or online
    KEPT = 2  # its CPU has left; tasks inside the kernel have their stacks here
    PARKED = 3  # its CPU has left, nothing is kept: it waits for the CPU's next life
    ABANDONED = 4  # as KEPT, and its CPU has got another process: it ends with its last task
    GONE = 5  # it leaves in order


KEEPING = (ProcessState.KEPT, ProcessState.ABANDONED)
"""The process has no CPU of its own any more, and tasks."""


class Errand(enum.IntEnum):
    """What a borrower has given a CPU back for."""

    SCHEDULE = 0  # for good: the CPU's current task is another one, or has returned to user mode
    INTERRUPTS = 1  # to take what is in hand; then it goes on
    SEND = 2  # to send an interrupt; then it goes on


class TaskState(enum.IntEnum):
    UNUSED = 0
    RUNNING = 1
    INTERRUPTIBLE = 2
    UNINTERRUPTIBLE = 3
    DEAD = 4
    MIGRATING = 5  # between two run queues; nobody can wake it


class SchedClass(enum.IntEnum):
    STOP = 0
    FAIR = 1
    IDLE = 2


class Program(enum.IntEnum):
    """What a task runs: kernel threads name their function, workload tasks their kind of user program."""

    KTHREAD = 0
    IDLE = 1
    REPLAY = 2
    STORM = 3
    PYTHON = 4


class TaskFlag(enum.IntEnum):
    MEMALLOC = 1  # PF_MEMALLOC
    MEMDIE = 2  # TIF_MEMDIE: chosen by the OOM killer
    USER_WAIT = 4  # asleep at the border of user mode: no kernel stack, any CPU can restart it
    LINE_WAIT = 8  # counted in Header.replay_waiters


class Preempt(enum.IntEnum):
    NONE = 0
    VOLUNTARY = 1
    FULL = 2


class MachineState(enum.IntEnum):
    BOOTING = 0
    RUNNING = 1
    STOPPING = 2  # workload over or interrupted: tasks end, CPUs go idle
    OFF = 3
    FAILED = 4  # a fatal finding, or a process died


class Op(enum.IntEnum):
    """Comparison of a wait term: ``word OP value``."""

    EQ = 0
    NE = 1
    GE = 2
    LE = 3
    MASK_CLEAR = 4  # word & value == 0
    MASK_SET = 5  # word & value != 0


class OpKind(enum.IntEnum):
    """Operations of a replay stream, and the requests with which a batch returns to the kernel."""

    ALLOC = 0
    FREE = 1
    CSD = 2
    IPI = 3
    SPLIT = 4  # the allocation in `slot` is freed piecewise later: split_page
    FILE = 5  # allocate a page-cache page: reclaim frees it
    YIELD = 6
    SLEEP = 7
    EXIT = 8
    NONE = 9


class Exit(enum.IntEnum):
    """Why the batch loop came back (design: the run loop's exit reasons)."""

    BUDGET = 0
    INTERRUPT = 1
    RESCHED = 2
    KERNEL = 3  # the operation in `Task.op_*` needs the kernel
    WAIT = 4  # replay: the allocation in `slot` is an earlier line that is not done yet
    WINDOW = 5  # replay: too far ahead of the slowest stream
    TRACE = 6  # the ring must be written out first
    DONE = 7
    STOPPING = 8
    WAKE = 9  # replay: somebody waits for a line, look whether it is done now


class Counter(enum.IntEnum):
    """Per-CPU statistics.  Those named like trace events count exactly these events."""

    ALLOC = 0
    FREE = 1
    REFILL = 2
    DRAIN = 3
    IPI_SENT = 4
    IPI_TAKEN = 5
    IPI_COALESCED = 6
    DRAIN_ALL = 7
    OFFLINE = 8
    ONLINE = 9
    STOP_MACHINE = 10
    DIRECT_RECLAIM = 11
    OOM = 12
    TASK_MIGRATIONS = 13
    ALLOC_FAILED = 14
    REPLAY_FREE_SKIPPED = 15
    REPLAY_IPI_SKIPPED = 16
    REPLAY_OOM = 17
    HOTPLUG_SKIPPED = 18
    OPERATIONS = 19
    SWITCHES = 20
    IPI_STALE = 21
    IPI_LOST_BY_DEATH = 22
    RECLAIMED = 23
    KSWAPD_WAKE = 24
    DRAIN_IPI = 25
    DRAIN_FOUND = 26  # pages that drains of all CPUs freed
    DRAIN_EMPTY = 27  # drains that freed no page on any CPU
    DRAIN_AVOIDABLE = 28  # at whose start half the online CPUs or fewer had pages on their lists
    DRAIN_OVERLAP = 29  # drains under way at the start of each, itself included
    ALLOC_HIGH_ORDER = 30
    ALLOC_FAILED_HIGH_ORDER = 31
    OOM_NO_DRAIN = 32  # OOM kills by an allocation that had no drain of all CPUs
    STRANDED = 33  # pages on the lists of all online CPUs, at the beginning of each direct reclaim
    KSWAPD_RECLAIMED = 34
    PAGES_SCANNED = 35  # of inactive lists, by direct reclaim and kswapd
    COMPACT_STALL = 36  # direct compactions begun
    COMPACT_FAIL = 37  # after which the allocation still failed
    COMPACT_SUCCESS = 38
    COMPACT_PAGES = 39  # pages migrated
    COMPACT_PAGE_FAILED = 40  # pages isolated for it and put back
    VMSTAT_REFRESH = 41
    NR = 48


class Latency(enum.IntEnum):
    IPI = 0
    DRAIN_ALL = 1
    OFFLINE = 2
    ONLINE = 3
    ALLOC = 4  # every allocation; those of the batch loop's own lists sampled, see ALLOC_SAMPLE
    ALLOC_SLOWPATH = 5  # those that were below the low watermark
    NR = 6


ALLOC_SAMPLE = 64
"""One in so many allocations of the batch loop's own lists is measured, and counts for all of them."""
OOM_MOMENTS = 1024
"""Moments of allocations about to OOM that are kept; later ones are counted."""
HISTOGRAM_STEPS = 16
HISTOGRAM_BUCKETS = 40 * HISTOGRAM_STEPS
"""Log-linear: 16 steps an octave, from 1 ns to 2^40 ns: 6 % wide."""


class LockUsage(enum.IntEnum):
    """How locks of a class have been taken (bits): both together deadlock when the interrupt hits the holder."""

    IN_HARDIRQ = 1
    HARDIRQ_ON = 2


class StopState(enum.IntEnum):
    """kernel/stop_machine.c, v3.2: enum stopmachine_state."""

    NONE = 0
    PREPARE = 1
    DISABLE_IRQ = 2
    RUN = 3
    EXIT = 4


class KexecState(enum.IntEnum):
    """How far a CPU has got before another kernel is started (arch/powerpc/include/asm/kexec.h)."""

    RUNNING = 0
    IRQS_OFF = 1
    REAL_MODE = 2


class VmstatWork(enum.IntEnum):
    """A CPU's delayed work of mm/vmstat.c."""

    NONE = 0
    PENDING = 1
    RUNNING = 2
    CANCELED = 3  # while it runs: it does not come back


class Severity(enum.IntEnum):
    WARN = 1
    FATAL = 2
    HOST = 3  # a defect of the emulator or of the host


# --- the machine -------------------------------------------------------------------------------------------


class Header(View, align=64):
    """The machine as a whole."""

    magic = u64("launcher", "MAGIC")
    tag = u64("launcher", "of the declaration; an image with another one is refused")
    ram_size = u64("launcher", "bytes")
    nr_cpus = u32("launcher", "possible CPUs")
    nr_pages = u32("launcher", "page frames, holes included")
    nr_zones = u32("launcher", "zones with pages, lowest first")
    nr_tasks = u32("launcher", "size of the task table")
    nr_slots = u32("launcher", "size of the replay's slot table")
    nr_streams = u32("launcher", "recorded CPUs")
    nr_ops = u32("launcher", "replay operations")
    nr_heads = u32("launcher", "list heads behind the last page")
    checked = u32("launcher", "checked mode: writes are held against their declarations, leaves assert their locks")
    silent = u32("launcher", "what the oracles find is thrown away")
    explored = u32("launcher", "1: a conductor chooses who moves and which frame comes; what is in hand says nothing")
    preempt_model = u32("launcher", "Preempt")
    park = u32("launcher", "an offline CPU's process is kept (--offline park)")
    trace_all = u32("launcher", "every ring is streamed to a file before it wraps")
    window = u32("launcher", "lines a replay stream may be ahead of the slowest one")
    nr_sites = u32("launcher", "names in use in `sites`")
    seed = u64("launcher", "of every random stream")
    start_ns = u64("launcher", "CLOCK_MONOTONIC at exec of the command")
    boot_ns = u64("coordinator", "CLOCK_MONOTONIC at power-on")
    ready_ns = u64("coordinator", "CLOCK_MONOTONIC when the last CPU was online")
    state = u32("coordinator; FAILED whoever found first", "MachineState")
    frozen = u32("whoever found first", "rings take no more records but the tail")
    tickets = u64("any CPU, atomically", "the last interrupt ticket given out")
    nr_findings = u32("any CPU, atomically", "entries of `findings` begun")
    last_words = u32("a dying CPU", "set before a CPU ends because of a defect of ours")
    managed = u64("launcher", "pages the allocator has, all zones")
    boot_held = u64("launcher", "pages allocated before the machine starts")
    tasks_done = u32("any CPU, atomically", "workload tasks that ended")
    nr_workload = u32("coordinator", "workload tasks in all")
    bases = array("u64", 64, "launcher", "first byte of each region, in order of REGIONS")
    dead_process = u32("coordinator", "a process of a CPU that died, plus 1")
    pace_permille = u32("launcher", "replay speed: 0 is as fast as it goes, 1000 the recorded one")
    pace_start_ns = u64("coordinator", "when the first workload task was let go")
    replay_waiters = u32("waiters, atomically", "tasks, or the coordinator, that wait for a line of the replay")
    coordinator_line = u32("coordinator", "line of the hotplug operation waited for or under way, LINE_END: none")
    go = u32("coordinator", "1 when workload tasks may start")
    private_ipi_mask = u32("launcher", "1: call interrupts go to a copy of the mask made before publication (v3.4)")
    ipi_disabled = u32("tests", "1: frames are not sent (the test that nothing is taken on the word alone)")
    debug_locks_off = u32("whoever found first", "1: lockdep has reported, and looks no further, as Linux's")
    reclaim_cost_us = u32("launcher", "microseconds that scanning SWAP_CLUSTER_MAX pages takes (--reclaim-cost)")
    reclaim_rotate = u32("launcher", "of a million scanned pages, how many reclaim does not get (--reclaim-success)")


class Cpumask(View, align=32):
    """A set of CPUs (include/linux/cpumask.h): possible, present, online, active, callout."""

    bits = array("u64", MASK_WORDS, "see cpumask.py: each mask has its own rule", "one bit a CPU")


class Lock(View, align=64):
    """A lock is a word: whoever dies holding it is known by name."""

    word = u64("by compare-and-swap", "0, or owner+1 (16 bits) | its generation (15) << 16 | waiters (bit 31)")
    holder = u32("the holder", "task that holds it, plus 1")
    site = u32("the holder", "site where it was taken")
    since_ns = u64("the holder", "when it was taken")
    name = text(32, "launcher", "as lockdep prints it")


class Cpu(View, align=64):
    """One emulated CPU: what its hardware and its run queue hold."""

    generation = u32("coordinator", "lives of this CPU; 0 before the first")
    state = u32("coordinator; STARTING to RUNNING the CPU", "CpuState")
    pid = u32("the zygote; the CPU's process", "host process")
    sleeping = u32("the CPU", "1 while it sleeps in its poll: who changes a word it waits for rings")
    current = u32("the CPU (scheduler)", "task that runs")
    need_resched = u32("rq lock, or the CPU", "TIF_NEED_RESCHED of the current task")
    irqs_off = u32("the CPU", "interrupts disabled")
    hardirq = u32("the CPU", "depth of interrupt handlers")
    user = u32("the CPU", "1 while the batch loop runs user mode")
    point_site = u32("the CPU", "site of the last point")
    point_word = u64("the CPU", "address declared by the last point")
    heart = u64("the CPU", "points passed")
    lock_wait = u32("the CPU", "lock it spins for, plus 1")
    lock_wait_site = u32("the CPU", "where")
    hello_ns = u64("the CPU", "when its socket was bound")
    pending = array("u64", Vector.NR, "by compare-and-swap; cleared by the CPU", "0, or ticket << 16 | source + 1")
    raised_ns = array("u64", Vector.NR, "the source", "when the pending interrupt was raised")
    inservice = array("u64", Vector.NR, "the CPU", "the pending word of the interrupt whose handler runs")
    in_hand = u32("the CPU", "frames received and not yet taken")
    rq_head = u32("rq lock", "first runnable task, NOBODY if none")
    rq_tail = u32("rq lock", "last runnable task")
    nr_running = u32("rq lock", "runnable tasks of the fair class, the current one not counted")
    stop_task = u32("control task (kthreadd's creation), the boot CPU", "migration/N, NOBODY if none")
    idle_task = u32("launcher", "swapper/N")
    slice_end_ns = u64("the CPU", "when the current task's time slice ends")
    timer_ns = u64("the CPU; a dying CPU's stopper", "when its next timer is due, 0 if none")
    counters = array("u64", Counter.NR, "the CPU", "statistics (Counter)")
    stopped_ns = u64("coordinator", "host time this process spent stopped (state T)")
    starved_ns = u64("coordinator", "host time this process was runnable but did not run")
    open_ns = u64("coordinator", "when it was last seen to run with interrupts on and no frame in hand")
    host_stopped = u32("coordinator", "1 while the process is stopped by the host")
    exit_status = i32("coordinator", "of a process that ended")
    last_words = text(256, "the CPU", "what a process that ended by a defect of ours said")
    call_source = u32("the CPU", "CPU that asked for the call that runs here (v6.12: cur_csd), plus 1; 0: none runs")
    nr_held = u32("the CPU", "entries in use in `held_locks`")
    held_locks = array("u32", HELD_LOCKS, "the CPU", "spinlocks it holds, oldest first: lock | depth of hardirq << 16")
    faults = array("u64", Fault.NR, "the CPU", "faults injected here (Fault)")
    fault_rng = u64("the CPU", "random stream of the faults that are injected here")
    starved_us = u32("coordinator", "how long the process is being, or was last, stopped on purpose")
    vmstat_ns = u64("the CPU; its hotplug notifiers", "when its deferrable vmstat work is due, 0: not pending")
    vmstat_work = u32("by compare-and-swap", "VmstatWork")
    process = u32("coordinator", "its own process: entry of `processes`")
    runner = u32("who has the CPU", "the process that executes it now, and hands it on: its own, or a borrower")
    errand = u32("the CPU's borrower", "Errand: why it gave the CPU back")
    errand_cpu = u32("the CPU's borrower", "SEND: to whom")
    errand_vector = u32("the CPU's borrower", "SEND: what")
    errand_ticket = u64("the CPU's borrower", "INTERRUPTS of a controlled schedule: which one")


class Process(View, align=64):
    """A process of a CPU, or of a CPU that has left while tasks were inside the kernel (arch/lending.py)."""

    state = u32("coordinator; the process", "ProcessState; at the end of what is kept, by compare-and-swap")
    cpu = u32("coordinator", "the CPU it was started for")
    generation = u32("coordinator", "that CPU's life")
    pid = u32("the zygote; the process", "host process")
    serves = u32("a dying CPU's stopper", "KEPT, ABANDONED: the CPU that its tasks belong to now")
    sleeping = u32("the process", "1 while it sleeps on its own bell: who hands it a CPU, or a CPU back, rings")


class Task(View, align=64):
    """A task's state: any CPU can run what stands here (design decision 11)."""

    comm = text(16, "creator", "name")
    state = u32("the task; waker under rq lock", "TaskState")
    cpu = u32("rq lock", "CPU whose run queue it belongs to")
    home = u32("creator, the task", "CPU it prefers when that is active, NOBODY if any")
    sched_class = u32("creator", "SchedClass")
    program = u32("creator", "Program")
    flags = u32("the task, its waker, the OOM killer: atomically", "TaskFlag bits")
    on_rq = u32("rq lock", "1 while linked on a run queue")
    rq_next = u32("rq lock", "next runnable task")
    in_kernel = u32("the task", "1 from kernel entry to return to user mode")
    preempt_count = u32("the task", "preempt_disable depth")
    kthread_fn = u32("creator", "site id of a kernel thread's function")
    kthread_arg = u64("creator", "its argument")
    since_ns = u64("rq lock", "when it was last woken: put on a run queue")
    position = u64("the task", "next operation of its program")
    end = u64("creator", "operations in all; 0: until stopped")
    stream = u32("creator", "replay stream")
    held = u32("the task", "entries in use in `held_pages`")
    held_limit = u32("creator", "entries it may use")
    rng = u64("the task", "its random stream")
    rss = i32("the task, and whoever frees its pages: atomically", "pages it has allocated")
    oom_score_adj = i32("creator", "-1000 to 1000")
    user = array("u64", USER_WORDS, "the task's program", "variables of its user program")
    op_kind = u32("batch loop", "OpKind of the operation that needs the kernel")
    op_order = u32("batch loop", "its order")
    op_migratetype = u32("batch loop", "its migratetype")
    op_gfp = u32("batch loop", "its Gfp flags")
    op_slot = u32("batch loop", "its slot (replay) or index in held_pages")
    op_arg = u32("batch loop", "its other argument: target CPU, duration")
    csd = u32("creator", "its call_single_data on the stack: index in `csds`")
    nterms = u32("the waiting task", "terms of its wait, 0 when it does not wait")
    why = u32("the waiting task", "site where it waits")
    busy = u32("the waiting task", "1: it waits on its CPU without giving it away")
    op = array("u32", WAIT_TERMS, "the waiting task", "Op of each term")
    word = array("u64", WAIT_TERMS, "the waiting task", "address of each term's word")
    value = array("u64", WAIT_TERMS, "the waiting task", "value of each term")
    wait_ns = u64("the waiting task", "since when it waits")
    wait_hardirq = u32("the waiting task", "depth of interrupt handlers in which it waits")
    deadline_ns = u64("the waiting task", "when its wait ends without its terms, 0: never")
    stack = text(512, "the task", "its kernel functions at the last sleep, interrupt entry or switch, newest first")
    nr_mutexes = u32("the task", "entries in use in `mutexes`")
    mutexes = array("u32", HELD_LOCKS, "the task", "mutexes it holds, oldest first")
    online_refs = u32("the task", "depth of its get_online_cpus")
    reclaim_rng = u64("the task", "random stream of what it reclaims, 0: not begun")
    process = u32("the task", "inside the kernel: the process that has its kernel stack")
    request_done = u32("any CPU, atomically", "1: its request of the disk is complete (blk_mq)")


class Page(View, align=16):
    """One page frame (struct page), or a list head behind the last frame."""

    state = u8("zone lock, or the pcp list's CPU with irqs off, or the owner", "PageState")
    order = u8("as state", "order of the block this page begins")
    migratetype = u8("as state", "list it is on (page_private on pcp lists)")
    zone = u8("launcher", "its zone")
    owner = u32("as state", "CPU of the pcp list, or task, or OWNER_BOOT, OWNER_FILE (lru lock), OWNER_ISOLATED")
    next = u32("as state", "next on its list (index in mem_map)")
    prev = u32("as state", "previous on its list")


class Pageblock(View, align=1):
    """The migratetype of 2^PAGEBLOCK_ORDER pages."""

    migratetype = u8("zone lock", "MigrateType")


class Zone(View, align=64):
    """struct zone."""

    name = text(8, "launcher", "DMA, DMA32, Normal")
    start_pfn = u32("launcher", "first page frame")
    spanned = u32("launcher", "page frames from first to last")
    present = u32("launcher", "of these, without holes")
    managed = u32("launcher", "of these, the allocator's")
    wmark = array("u32", Wmark.NR, "launcher", "watermarks in pages")
    lowmem_reserve = array("u32", 4, "launcher", "pages kept from requests that could use a higher zone")
    nr_free = array("u32", MAX_ORDER, "zone lock", "free blocks of each order, all types")
    free_pages = i64("any CPU, atomically", "vm_stat[NR_FREE_PAGES], less what per-CPU differentials hold")
    nr_file = i64("lru lock", "pages on the inactive file list")
    pages_scanned = u64("lru lock; zone lock", "since the last page was freed, which clears it")
    percpu_drift_mark = u64("CPU_ONLINE and CPU_DEAD", "below it kswapd uses the exact count, 0: never")
    all_unreclaimable = u32("kswapd; zone lock", "reclaim gave up on it; cleared when a page is freed")
    nr_reserve_blocks = u32("launcher", "pageblocks of type RESERVE")
    nr_isolated = i64("lru lock", "pages off the inactive file list, in the hands of reclaim or compaction")
    compact_considered = u32("any CPU, without a lock", "compactions skipped since the last that failed")
    compact_defer_shift = u32("any CPU, without a lock", "2 to the power of it are to be skipped")


class Pcp(View, align=64):
    """struct per_cpu_pageset: one CPU's lists of one zone."""

    count = i32("its CPU, irqs off; for a dead CPU whoever runs CPU_DEAD", "pages on the three lists")
    high = i32("launcher; percpu_pagelist_fraction, without a lock", "count at which a batch goes back")
    batch = i32("launcher; percpu_pagelist_fraction, without a lock", "pages moved at a time")
    stat_threshold = i32("CPU_ONLINE and CPU_DEAD, kswapd", "of the differential")
    free_diff = i32("its CPU, irqs off; for a dead CPU whoever runs CPU_DEAD", "vm_stat_diff[NR_FREE_PAGES]")


class Csd(View, align=64):
    """struct call_single_data: one a CPU (asynchronous calls), one a task (its stack)."""

    flags = u32("the sender locks, the receiver unlocks", "CSD_FLAG_LOCK = 1")
    func = u32("the sender", "id in call_functions")
    info = u64("the sender", "its argument")
    next = u32("the sender, then the queue's lock", "next on the queue, NOBODY at its end")
    source = u32("the sender", "CPU that queued it")
    target = u32("the sender", "CPU it was queued on")
    queued_ns = u64("the sender", "when")


class CallSingleQueue(View, align=64):
    """struct call_single_queue: calls waiting on one CPU."""

    head = u32("its lock", "first csd, NOBODY if none")
    tail = u32("its lock", "last csd")


class CallFunctionData(View, align=64):
    """struct call_function_data: the block a CPU publishes for smp_call_function_many (v3.2)."""

    flags = u32("the sender locks, the last receiver unlocks", "CSD_FLAG_LOCK = 1")
    func = u32("the sender", "id in call_functions")
    info = u64("the sender", "its argument")
    refs = i32("the sender, then receivers atomically", "receivers still to run it")
    next = u32("call_function.lock", "next on the queue")
    prev = u32("call_function.lock", "previous on the queue")
    queued_ns = u64("the sender", "when")
    cpumask = array("u64", MASK_WORDS, "the sender, then receivers clear their bit", "CPUs still to run it")
    cpumask_ipi = array("u64", MASK_WORDS, "the sender", "the same before publication, for the interrupt (v3.4)")


class CallFunctionQueue(View, align=64):
    """call_function.queue: the one list of published blocks; ``nr_cpus`` as index means the head."""

    next = u32("call_function.lock", "first block")
    prev = u32("call_function.lock", "last block")


class Stopper(View, align=64):
    """struct cpu_stopper."""

    enabled = u32("stopper lock", "accepts work")
    head = u32("stopper lock", "first work, NOBODY if none")
    tail = u32("stopper lock", "last work")


class StopWork(View, align=64):
    """struct cpu_stop_work: one a CPU for stop_cpus, one a task for stop_one_cpu."""

    fn = u32("the queuer", "id in stop_machine.STOP_FUNCTIONS")
    arg = u64("the queuer", "its argument")
    done = u32("the queuer", "index in `stop_done`, NOBODY: nobody waits")
    next = u32("stopper lock", "next work")
    queued = u32("stopper lock, the stopper", "1 while on a list or running")


class Kgdb(View, align=64):
    """The debugger (kernel/kgdb.c)."""

    active = u32("by compare-and-swap", "kgdb_active: the CPU that is its master, plus 1; 0: nobody")


class KgdbCpu(View, align=64):
    """A CPU as the debugger sees it."""

    cpu_in_kgdb = u32("the CPU, atomically", "it stands in the debugger, as master or waiting for it")
    passive_cpu_wait = u32("the debugger's master", "it is to wait for as long as this is set")


class Kexec(View, align=64):
    """Another kernel is being started (arch/powerpc/kernel/machine_kexec_64.c)."""

    owner = u32("by compare-and-swap", "kexec_mutex: the CPU that starts it, plus 1; 0: nobody")
    all_irq_disabled = u32("who starts another kernel", "every CPU has said that its interrupts are off")


class Paca(View, align=64):
    """What there is of each CPU that can be, for firmware and other kernels (struct paca_struct)."""

    kexec_state = u32("the CPU, atomically", "KexecState")


class RcuState(View, align=64):
    """struct rcu_state: grace periods."""

    gpnum = u64("rcu lock", "the last one that has begun")
    completed = u64("rcu lock", "the last one that is over")
    wanted = u64("rcu lock", "the last one that somebody waits for")
    gp_start_ns = u64("rcu lock", "when the last one began")


class RcuNode(View, align=64):
    """struct rcu_node: a leaf, about RCU_FANOUT CPUs."""

    grplo = u32("the boot CPU", "the first of them")
    grphi = u32("the boot CPU", "the last of them")
    qsmask = u64("rcu lock", "those that the grace period waits for, bit 0 for the first")
    qsmaskinit = u64("rcu lock", "those that one which begins now will wait for")


class RcuData(View, align=64):
    """struct rcu_data: a CPU's place in the tree."""

    mynode = u32("the boot CPU", "its leaf")
    grpmask = u64("the boot CPU", "its bit there")


class StopDone(View, align=64):
    """struct cpu_stop_done: one a task."""

    nr_todo = i32("the workers, atomically", "works not yet done")
    executed = u32("the workers", "at least one was executed")
    ret = i32("the workers", "a non-zero return wins")
    completion = u32("the last worker", "1 when all are done")


class StopMachine(View, align=64):
    """struct stop_machine_data of the one barrier that can be under way (stop_cpus_mutex)."""

    state = u32("the requester, then the last acker", "StopState")
    num_threads = u32("the requester", "threads that must acknowledge: num_online_cpus() when it asked")
    thread_ack = i32("the requester, then the threads atomically", "acknowledgements missing for this state")
    fn = u32("the requester", "id of the function that runs with everybody stopped")
    data = u64("the requester", "its argument")
    fnret = i32("an active CPU", "its return value")
    active = array("u64", MASK_WORDS, "the requester", "CPUs that run fn")


class Hotplug(View, align=64):
    """struct cpu_hotplug, and the coordinator's side of an operation."""

    refcount = i32("cpu_hotplug.lock", "readers (get_online_cpus)")
    active_writer = u32("the writer", "task plus 1")
    request = u64("coordinator", "row << 32 | sequence: the row the control task is to run")
    answer = u64("control task", "sequence of the last row it has run")
    result = i32("control task", "0, or a negative errno")
    cpu = u32("coordinator", "CPU that goes or comes")
    up = u32("coordinator", "1: coming online")
    died = u32("the dying CPU", "CPU that reached play_dead, plus 1")
    control_task = u32("the boot CPU", "task that runs the kernel's rows")
    kthreadd_task = u32("the boot CPU", "task that makes kernel threads")
    busy = u32("coordinator", "1 while an operation is under way")
    line = u32("coordinator", "replay line of the operation under way")


class Kthread(View, align=64):
    """kthread_create_list: one request at a time, from the control task to kthreadd."""

    request = u64("kthread_create_lock", "sequence")
    answer = u64("kthreadd", "sequence of the last one made")
    fn = u32("kthread_create_lock", "site of the thread's function")
    arg = u64("kthread_create_lock", "its argument")
    cpu = u32("kthread_create_lock", "CPU to bind it to")
    task = i32("kthread_create_lock, then kthreadd", "the task made, or a negative errno")
    comm = text(16, "kthread_create_lock", "its name")


class Kswapd(View, align=64):
    """The node's reclaim daemon."""

    wake = u64("wakeup_kswapd", "wake-ups asked for")
    seen = u64("kswapd", "wake-ups answered")
    order = u32("wakeup_kswapd", "largest order asked for; without a lock, as in Linux")
    task = u32("the boot CPU", "kswapd0")
    classzone = u32("wakeup_kswapd", "lowest of the highest zones asked for; without a lock, as in Linux")
    waiting = u32("kswapd; its waker by compare-and-swap", "1: on its wait queue")


class FaultPlan(View, align=64):
    """What ``--fault`` asks for, one record a Fault (ours; Linux: lib/fault-inject.c)."""

    rate = u32("launcher", "of a million occasions, how many are one; 0: this fault is not asked for")
    argument = u64("launcher", "its microseconds, CPU, or bits of faults.NOTIFIERS")
    struck = u32("who strikes, by compare-and-swap", "of a fault that strikes once: the CPU that did, plus 1")


class Drains(View, align=64):
    """Drains of all CPUs that are under way (ours: Linux does not count them)."""

    under_way = u32("the drainers, atomically", "drains begun and not ended")
    most = u32("the drainers, by compare-and-swap", "the largest number of them at one time")
    nr_moments = u32("who is about to OOM, atomically", "entries of `oom_moments` begun")
    first_kill_ns = u64("the killer, by compare-and-swap", "when the first OOM victim was chosen, 0: none was")


class Allocation(View, align=64):
    """What is measured of a task's allocation on the slow path (ours)."""

    drains = u32("the task", "drains of all CPUs that this allocation asked for")
    found = u32("the CPUs that its drain reaches, atomically", "pages freed by the drain it has under way")
    drain_ns = u64("the task", "when that drain began")
    drain_ipis = u64("the task", "interrupts that its CPU had sent by then")
    failed_ns = u64("the task", "when its last reclaim found no page, 0: none failed yet")
    failed_cpu = u32("the task", "on which CPU that was")
    moment = u32("the task", "its entry of `oom_moments` that is being acted upon, plus 1")
    drain_cpu = u32("the task", "the CPU that it was on when its drain began")


class PageOperations(View, align=8):
    """One CPU's allocations and frees at the time of a task's last failed reclaim (ours)."""

    count = u64("the task", "both together")


class OomMoment(View, align=64):
    """What RAM said when an allocation was about to OOM (ours: the question of January 2012)."""

    done = u32("who is about to OOM, last", "1 when the entry is complete")
    cpu = u32("as done", "its CPU")
    task = u32("as done", "its task")
    order = u32("as done", "order of its allocation")
    time_ns = u64("as done", "when")
    failed_ns = u64("as done", "when its reclaim had failed")
    zone = u32("as done", "of the zones it may use, the one that was closest to its watermark with the others' pages")
    mark = u32("as done", "free pages at which order 0 passes there: min watermark, reserve and all")
    free = i64("as done", "free pages there, by the counter that allocations read")
    missing = i64("as done", "pages missing to the mark, 0 or less: none")
    own = u32("as done", "pages there on this CPU's own lists")
    others = u32("as done", "pages there on all other CPUs' lists")
    gain = i64("as done", "what a drain of all CPUs would add to that counter, differentials considered")
    saved = u32("as done", "1: in some zone that it may use, such a drain lifts the counter over the mark")
    own_saved = u32("as done", "1: in some such zone a drain of this CPU's own lists alone does")
    holders = u32("as done", "other CPUs with pages in a zone that it may use")
    active = u32("as done", "of these, how many allocated or freed since the failed reclaim")
    migrated = u32("as done", "1: the task was on another CPU when its reclaim failed")
    drains = u32("as done", "drains of all CPUs that the allocation had asked for")
    victim = u32("the OOM killer", "task that was chosen then, plus 1; 0: none, an earlier victim was still there")


class ReplayOp(View, align=16):
    """One operation of a recording."""

    line = u32("launcher", "line of the recording: the total order")
    slot = u32("launcher", "slot the page is in; target CPU for CSD and IPI")
    kind = u8("launcher", "OpKind")
    order = u8("launcher", "order")
    migratetype = u8("launcher", "MigrateType")
    pieces = u8("launcher", "FREE: offset of the piece, in units of its order, when the slot was split")
    gfp = u16("launcher", "Gfp, low 16 bits")
    delta = u16("launcher", "microseconds since the stream's previous operation, at most 65535")


class ReplayStream(View, align=64):
    """The operations of one recorded CPU."""

    first = u32("launcher", "index of its first operation")
    count = u32("launcher", "number of operations")
    next_line = u32("its task", "line of the first operation not done, LINE_END after the last")
    task = u32("launcher", "task that runs it")


class Slot(View, align=4):
    """The page a recorded allocation got here."""

    page = u32("the task that runs the operation", "pfn + 1; SLOT_EMPTY before, SLOT_FAILED if it failed")


class Held(View, align=8):
    """One page block held by a storm or Python task."""

    pfn = u32("its task", "first page")
    order = u32("its task", "order")


class Pair(View, align=8):
    """Who connects two sockets (design decision 8)."""

    word = u64("by compare-and-swap", "generations of both and the winner; an older one counts as empty")


class Histogram(View, align=64):
    """Latencies of one kind on one CPU."""

    n = u64("the CPU; of offline and online: coordinator", "measurements")
    total_ns = u64("the CPU", "their sum")
    max_ns = u64("the CPU", "the largest")
    buckets = array("u32", HISTOGRAM_BUCKETS, "the CPU", "log-linear counts")


class Finding(View, align=64):
    """An oracle's word."""

    done = u32("whoever found it, last", "1 when the entry is complete")
    severity = u32("finder", "Severity")
    cpu = u32("finder", "CPU concerned, NOBODY if none")
    task = u32("finder", "task concerned, NOBODY if none")
    time_ns = u64("finder", "when")
    rule = text(48, "finder", "name of the oracle")
    message = text(640, "finder", "one sentence")
    stack = text(512, "finder", "kernel functions, newest first")
    cpus = array("u64", MASK_WORDS, "finder", "CPUs concerned")
    tasks = array("u32", FINDING_TASKS, "finder", "tasks concerned, NOBODY after the last")
    locks = text(512, "finder", "locks that they held, one a line: name, owner, place")
    stacks = text(2048, "finder", "kernel functions of the tasks concerned, one a line")


class LockClass(View, align=64):
    """What is known of all locks of one kind: in which context they are taken, and which were taken under them."""

    after = u32("any CPU, atomically", "bit c: a lock of class c was taken while one of this class was held")
    usage = u32("any CPU, atomically", "LockUsage bits")
    usage_site = array("u32", 2, "who sets the bit", "where it was first so used")
    held_site = array("u32", NR_LOCK_CLASSES, "who sets the bit of `after`", "where this one had been taken")
    after_site = array("u32", NR_LOCK_CLASSES, "who sets the bit of `after`", "where the other one was then taken")


class SiteName(View, align=8):
    """Text of a site id."""

    name = text(64, "launcher", "function and step")


class ActorState(enum.IntEnum):
    """Where an actor of a controlled schedule is."""

    ABSENT = 0
    POINT = 1
    RUNNING = 2
    DONE = 3


class Actor(View, align=64):
    """What an actor of a controlled schedule does next.  No region of RAM: the machine knows of no conductor."""

    state = u32("the actor; RUNNING: the conductor", "ActorState; whoever waits for the baton sleeps on it")
    kind = u32("the actor", "gate.Kind of the access")
    site = u32("the actor", "where it stands")
    nterms = u32("the actor", "terms of its wait: one must hold, 0: it can go on")
    word = u64("the actor", "address of the access")
    deadline_ns = u64("the actor", "virtual time from which it can go on without its terms, 0: never")
    opens = u32("the actor", "1: it takes interrupts at this point")
    ticket = u64("the conductor", "0: the access; else the interrupt that is to be taken first")
    term_word = array("u64", WAIT_TERMS, "the actor", "address of each term's word")
    term_op = array("u64", WAIT_TERMS, "the actor", "Op of each term")
    term_value = array("u64", WAIT_TERMS, "the actor", "value of each term")
    stacks = u64("the actor", "when it was asked last: a number for what its kernel stacks hold (arch/frames.py)")


REGIONS: tuple[Region, ...] = (
    Region("header", Header, "1", "the machine as a whole"),
    Region("cpumasks", Cpumask, "6", "possible, present, online, active, callout, cpus_with_pcps"),
    Region("cpus", Cpu, "cpus", "per-CPU hardware and run queue"),
    Region("processes", Process, "cpus+32", "a CPU's each, and SPARE_PROCESSES more"),
    Region("locks", Lock, "8+zones*2+cpus*3", "see lock_* below for the order"),
    Region("zones", Zone, "zones", "memory zones, lowest first"),
    Region("pcps", Pcp, "cpus*zones", "per-CPU page lists: cpu * nr_zones + zone"),
    Region("csds", Csd, "cpus+tasks", "call_single_data: per CPU, then per task"),
    Region("single_queues", CallSingleQueue, "cpus", "call_single_queue"),
    Region("cfds", CallFunctionData, "cpus", "call_function_data"),
    Region("call_function", CallFunctionQueue, "1", "call_function.queue"),
    Region("stoppers", Stopper, "cpus", "cpu_stopper"),
    Region("stop_works", StopWork, "cpus+tasks", "cpu_stop_work: per CPU, then per task"),
    Region("stop_done", StopDone, "tasks", "cpu_stop_done"),
    Region("stop_machine", StopMachine, "1", "stop_machine_data"),
    Region("kgdb", Kgdb, "1", "the debugger"),
    Region("kgdb_cpus", KgdbCpu, "cpus", "CPUs in the debugger"),
    Region("kexec", Kexec, "1", "the start of another kernel"),
    Region("pacas", Paca, "cpus", "powerpc's array of CPUs"),
    Region("rcu", RcuState, "1", "grace periods"),
    Region("rcu_nodes", RcuNode, "cpus", "leaves: more than there are ranges of RCU_FANOUT CPUs"),
    Region("rcu_data", RcuData, "cpus", "CPUs' places in the leaves"),
    Region("hotplug", Hotplug, "1", "cpu_hotplug"),
    Region("kthread", Kthread, "1", "kthread_create_list"),
    Region("kswapd", Kswapd, "1", "the node's kswapd"),
    Region("tasks", Task, "tasks", "task_struct"),
    Region("streams", ReplayStream, "streams", "recorded CPUs"),
    Region("histograms", Histogram, "cpus*6", "latencies: cpu * Latency.NR + kind"),
    Region("faults", FaultPlan, "10", "what is injected on purpose, by Fault"),
    Region("drains", Drains, "1", "drains of all CPUs, and what came of allocations without a page"),
    Region("allocations", Allocation, "tasks", "what is measured of each task's allocation"),
    Region("page_operations", PageOperations, "tasks*cpus", "at a task's last failed reclaim: task * cpus + cpu"),
    Region("oom_moments", OomMoment, "1024", "allocations about to OOM, in order"),
    Region("findings", Finding, "64", "what the oracles said"),
    Region("lock_classes", LockClass, "16", "lockdep: one a kind of lock, see lock_class"),
    Region("sites", SiteName, "512", "names of sites"),
    Region("pairs", Pair, "cpus*cpus+cpus*2+1", "unordered pairs of sockets, the coordinator being number nr_cpus"),
    Region("held_pages", Held, "holders", "task * HELD_PAGES + entry"),
    Region("slots", Slot, "slots", "pages of the replay"),
    Region("ops", ReplayOp, "ops", "the replay, stream after stream"),
    Region("pageblocks", Pageblock, "pageblocks", "migratetypes of pageblocks"),
    Region("mem_map", Page, "pages+heads", "page frames, then list heads"),
)

CONSTANTS: tuple[type[enum.IntEnum], ...] = (
    MigrateType, PageState, Wmark, Gfp, Vector, CpuState, TaskState, SchedClass, Program, TaskFlag, Preempt,
    MachineState, Op, OpKind, Exit, Counter, Latency, StopState, Severity, LockUsage, Fault, VmstatWork, ProcessState,
    Errand, KexecState,
)

DEFINES: Mapping[str, int] = {
    "NR_CPUS": NR_CPUS, "MASK_WORDS": MASK_WORDS, "MAX_ORDER": MAX_ORDER, "PAGEBLOCK_ORDER": PAGEBLOCK_ORDER,
    "HELD_PAGES": HELD_PAGES, "NOBODY": NOBODY, "SLOT_EMPTY": SLOT_EMPTY, "SLOT_FAILED": SLOT_FAILED,
    "OWNER_BOOT": OWNER_BOOT, "OWNER_FILE": OWNER_FILE, "OWNER_ISOLATED": OWNER_ISOLATED,
    "LINE_END": LINE_END, "WAIT_TERMS": WAIT_TERMS,
    "ALLOC_SAMPLE": ALLOC_SAMPLE, "HISTOGRAM_STEPS": HISTOGRAM_STEPS, "HISTOGRAM_BUCKETS": HISTOGRAM_BUCKETS,
    "HELD_LOCKS": HELD_LOCKS, "FIRST_ZONE_LOCK": FIRST_ZONE_LOCK, "NR_ZONE_LOCKS": NR_ZONE_LOCKS,
    "NR_CPU_LOCKS": NR_CPU_LOCKS,
}

TAG = tag(REGIONS, CONSTANTS)


@dataclass(frozen=True)
class Dimensions:
    """What decides the size of RAM."""

    cpus: int
    pages: int
    zones: int
    tasks: int
    slots: int = 0
    streams: int = 0
    ops: int = 0

    def mapping(self) -> dict[str, int]:
        """All dimensions by the names that REGIONS uses."""
        return {
            "cpus": self.cpus, "pages": self.pages, "zones": self.zones, "tasks": self.tasks,
            "slots": self.slots, "streams": self.streams, "ops": self.ops, "heads": nr_heads(self.cpus, self.zones),
            "holders": self.tasks * HELD_PAGES, "pageblocks": -(-self.pages >> PAGEBLOCK_ORDER) + 1,
        }


# --- list heads and locks: their places, by arithmetic -----------------------------------------------------


def nr_heads(cpus: int, zones: int) -> int:
    return zones * MAX_ORDER * MigrateType.TYPES + zones + cpus * zones * MigrateType.PCPTYPES


def free_list_head(zone: int, order: int, migratetype: int) -> int:
    """Head of one free list of the buddy allocator; add nr_pages for its index in mem_map."""
    return (zone * MAX_ORDER + order) * MigrateType.TYPES + migratetype


def lru_head(zone: int, nr_zones: int) -> int:
    """Head of a zone's inactive file list."""
    return nr_zones * MAX_ORDER * MigrateType.TYPES + zone


def pcp_head(cpu: int, zone: int, migratetype: int, nr_zones: int) -> int:
    """Head of one list of a per-CPU page set."""
    return (
        nr_zones * MAX_ORDER * MigrateType.TYPES
        + nr_zones
        + (cpu * nr_zones + zone) * MigrateType.PCPTYPES
        + migratetype
    )


LOCK_CPU_ADD_REMOVE = 0
LOCK_CPU_HOTPLUG = 1
LOCK_STOP_CPUS = 2
LOCK_CALL_FUNCTION = 3
LOCK_OOM = 4
LOCK_KTHREAD = 5
LOCK_VECTOR = 6
LOCK_RCU = 7


def zone_lock(zone: int) -> int:
    return FIRST_ZONE_LOCK + zone * NR_ZONE_LOCKS


def lru_lock(zone: int) -> int:
    return FIRST_ZONE_LOCK + zone * NR_ZONE_LOCKS + 1


def rq_lock(cpu: int, nr_zones: int) -> int:
    return FIRST_ZONE_LOCK + nr_zones * NR_ZONE_LOCKS + cpu * NR_CPU_LOCKS


def single_queue_lock(cpu: int, nr_zones: int) -> int:
    return rq_lock(cpu, nr_zones) + 1


def stopper_lock(cpu: int, nr_zones: int) -> int:
    return rq_lock(cpu, nr_zones) + 2


LOCK_CLASSES = (
    "cpu_add_remove_lock", "cpu_hotplug.lock", "stop_cpus_mutex", "call_function.lock", "oom_lock",
    "kthread_create_lock", "vector_lock", "rcu_node->lock", "zone->lock", "zone->lru_lock", "rq->lock",
    "call_single_queue->lock", "stopper->lock",
)
"""As lockdep sees locks: all zones', all CPUs' of a kind are one class."""


def lock_class(lock: int, nr_zones: int) -> int:
    """The class of a lock."""
    first_cpu_lock = FIRST_ZONE_LOCK + nr_zones * NR_ZONE_LOCKS
    if lock < FIRST_ZONE_LOCK:
        return lock
    if lock < first_cpu_lock:
        return FIRST_ZONE_LOCK + (lock - FIRST_ZONE_LOCK) % NR_ZONE_LOCKS
    return FIRST_ZONE_LOCK + NR_ZONE_LOCKS + (lock - first_cpu_lock) % NR_CPU_LOCKS


def nr_processes(cpus: int) -> int:
    return cpus + SPARE_PROCESSES


def cpu_of(process: Process) -> int:
    """The CPU that a process runs, or serves."""
    return process.serves if process.state in KEEPING else process.cpu


def process_name(process: Process) -> str:
    """As its title says it: ``cpu 3 gen 2``, ``cpu 3 gen 2 lent to cpu 1``."""
    lent = f" lent to cpu {process.serves}" if process.state in KEEPING else ""
    return f"cpu {process.cpu} gen {process.generation}{lent}"


def lock_names(cpus: int, zones: tuple[str, ...]) -> list[str]:
    """The name of every lock, in order of the region."""
    names = list(LOCK_CLASSES[:FIRST_ZONE_LOCK])
    for zone in zones:
        names += [f"zone->lock/{zone}", f"zone->lru_lock/{zone}"]
    for cpu in range(cpus):
        names += [f"rq->lock/{cpu}", f"call_single_queue->lock/{cpu}", f"stopper->lock/{cpu}"]
    return names


# --- the task table: fixed places first --------------------------------------------------------------------


def idle_task(cpu: int) -> int:
    return cpu


def control_task(cpus: int) -> int:
    """Runs what Linux runs on the CPU that asks for an offline or online."""
    return cpus


def kthreadd_task(cpus: int) -> int:
    return cpus + 1


def kswapd_task(cpus: int) -> int:
    return cpus + 2


def migration_task(cpus: int, cpu: int) -> int:
    """The stopper thread migration/N: made by kthreadd each time its CPU comes up."""
    return cpus + 3 + cpu


def first_workload_task(cpus: int) -> int:
    return 2 * cpus + 3


class Mask(enum.IntEnum):
    """Index of each mask in the region ``cpumasks``."""

    POSSIBLE = 0
    PRESENT = 1
    ONLINE = 2
    ACTIVE = 3
    CALLOUT = 4
    CPUS_WITH_PCPS = 5


class Machine:
    """The regions of one RAM image, as arrays of views."""

    header: Header
    cpumasks: Array[Cpumask]
    cpus: Array[Cpu]
    processes: Array[Process]
    locks: Array[Lock]
    zones: Array[Zone]
    pcps: Array[Pcp]
    csds: Array[Csd]
    single_queues: Array[CallSingleQueue]
    cfds: Array[CallFunctionData]
    call_function: CallFunctionQueue
    stoppers: Array[Stopper]
    stop_works: Array[StopWork]
    stop_done: Array[StopDone]
    stop_machine: StopMachine
    kgdb: Kgdb
    kgdb_cpus: Array[KgdbCpu]
    kexec: Kexec
    pacas: Array[Paca]
    rcu: RcuState
    rcu_nodes: Array[RcuNode]
    rcu_data: Array[RcuData]
    hotplug: Hotplug
    kthread: Kthread
    kswapd: Kswapd
    tasks: Array[Task]
    streams: Array[ReplayStream]
    histograms: Array[Histogram]
    faults: Array[FaultPlan]
    drains: Drains
    allocations: Array[Allocation]
    page_operations: Array[PageOperations]
    oom_moments: Array[OomMoment]
    findings: Array[Finding]
    lock_classes: Array[LockClass]
    sites: Array[SiteName]
    pairs: Array[Pair]
    held_pages: Array[Held]
    slots: Array[Slot]
    ops: Array[ReplayOp]
    pageblocks: Array[Pageblock]
    mem_map: Array[Page]

    def __init__(self, mem: Memory, dims: Dimensions) -> None:
        self.mem, self.dims = mem, dims
        self.placed, self.size = place_machine(dims)
        for region in REGIONS:
            where = self.placed[region.name]
            if region.count == "1":
                setattr(self, region.name, region.struct(mem, where.base))
            else:
                setattr(self, region.name, Array(mem, region.struct, where.base, where.count))

    def pcp(self, cpu: int, zone: int) -> Pcp:
        return self.pcps[cpu * self.dims.zones + zone]

    def histogram(self, cpu: int, kind: Latency) -> Histogram:
        return self.histograms[cpu * Latency.NR + kind]


def place_machine(dims: Dimensions) -> tuple[dict[str, Placed], int]:
    return place(REGIONS, dims.mapping())


def dimensions_of(header: Header) -> Dimensions:
    """The dimensions that a header says its image has."""
    return Dimensions(
        cpus=header.nr_cpus, pages=header.nr_pages, zones=header.nr_zones, tasks=header.nr_tasks,
        slots=header.nr_slots, streams=header.nr_streams, ops=header.nr_ops,
    )


def name_of(machine: Machine, address: Address) -> str:
    """The name of a word from its address, as reports print it: ``cfds[3].flags``."""
    offset = address >> 2
    for name, where in machine.placed.items():
        size = where.region.struct.SIZE
        if not where.base <= offset < where.base + where.count * size:
            continue
        element, inside = divmod(offset - where.base, size)
        label = name if where.region.count == "1" else f"{name}[{element}]"
        if name == "locks":
            return machine.locks[element].name
        for word in where.region.struct.WORDS:
            if word.offset <= inside < word.offset + word.size * word.count:
                part = f"[{(inside - word.offset) // word.size}]" if word.count > 1 else ""
                return f"{label}.{word.name}{part}"
        return label
    return f"RAM+{offset:#x}"


def name_in(kind: type[enum.IntEnum], value: int) -> str:
    """The name of a value found in RAM; one that has none is shown as a number."""
    return next((member.name for member in kind if member == value), str(value))
