# The leaves of one CPU, as Python calls them.

cdef class Core:
    """The compiled half of one CPU.  ``rings``: the mapped ring file, None for no trace."""

    cdef core_t c
    cdef Ram ram
    cdef object _rings
    cdef object _sizes
    cdef Py_buffer _view

    def __cinit__(self, Ram ram, rings, sizes, int cpu, int generation):
        cdef em_header *header = <em_header *>ram.base
        cdef core_t *c = &self.c
        self.ram = ram
        c.base, c.header = ram.base, header
        c.cpus = <em_cpu *>(ram.base + header.bases[REGION_CPUS])
        c.zones = <em_zone *>(ram.base + header.bases[REGION_ZONES])
        c.pcps = <em_pcp *>(ram.base + header.bases[REGION_PCPS])
        c.mem_map = <em_page *>(ram.base + header.bases[REGION_MEM_MAP])
        c.pageblocks = <em_pageblock *>(ram.base + header.bases[REGION_PAGEBLOCKS])
        c.tasks = <em_task *>(ram.base + header.bases[REGION_TASKS])
        c.locks = <em_lock *>(ram.base + header.bases[REGION_LOCKS])
        c.lock_classes = <em_lock_class *>(ram.base + header.bases[REGION_LOCK_CLASSES])
        c.streams = <em_replay_stream *>(ram.base + header.bases[REGION_STREAMS])
        c.slots = <em_slot *>(ram.base + header.bases[REGION_SLOTS])
        c.ops = <em_replay_op *>(ram.base + header.bases[REGION_OPS])
        c.held = <em_held *>(ram.base + header.bases[REGION_HELD_PAGES])
        c.histograms = <em_histogram *>(ram.base + header.bases[REGION_HISTOGRAMS])
        c.nr_cpus, c.nr_pages, c.nr_zones = header.nr_cpus, header.nr_pages, header.nr_zones
        c.nr_tasks, c.nr_slots, c.nr_streams = header.nr_tasks, header.nr_slots, header.nr_streams
        c.checked = header.checked
        # An allocation that may fail on purpose is the kernel's to make.
        c.fail_page_alloc = (<em_fault_plan *>(ram.base + header.bases[REGION_FAULTS]))[FAULT_ALLOC_FAILURE].rate != 0
        c.traced = rings is not None
        if c.traced:
            PyObject_GetBuffer(rings, &self._view, PyBUF_SIMPLE | PyBUF_WRITABLE)
            self._rings, self._sizes = rings, sizes
        self.become(cpu, generation)

    def become(self, int cpu, int generation):
        """Be this CPU's half from now on: its words, its lists, its rings (a process that has borrowed it)."""
        cdef core_t *c = &self.c
        cdef int ring
        if not 0 <= cpu < <int>c.nr_cpus:
            raise ValueError(f"cpu {cpu}: the machine has {c.nr_cpus}")
        c.cpu, c.generation = cpu, generation
        c.me = &c.cpus[cpu]
        c.looked_ns = 0
        for ring in range(<int>VECTOR_NR):
            c.looked[ring] = 0
        if not c.traced:
            return
        for ring in range(2):
            c.ring_headers[ring] = <em_ring_header *>(<char *>self._view.buf
                                                      + RING_HEADER_PLACE(c.cpu, ring))
            c.rings[ring] = <char *>self._view.buf + RING_PLACE(c.nr_cpus, self._sizes[0], self._sizes[1], c.cpu, ring)
            if c.ring_headers[ring].written == 0:
                c.ring_headers[ring].tail_left = FREEZE_TAIL

    def __dealloc__(self):
        if self._rings is not None:
            PyBuffer_Release(&self._view)

    # --- trace and statistics

    def trace(self, int event, uint32_t a=0, uint32_t b=0, uint32_t c=0, uint32_t d=0):
        """Write one record; the ring follows from the event (events.py)."""
        trace(&self.c, event, a, b, c, d)

    def room(self, int ring):
        """Records that can be written before one is overwritten that is not in the file yet (--trace all)."""
        return room_of(&self.c, ring) if self.c.traced else 1 << 30

    def latency(self, int kind, uint64_t ns):
        """A measurement of one kind (layout.Latency) into this CPU's histogram."""
        measured(&self.c, kind, ns, 1)

    def count(self, int counter, uint64_t n=1):
        """Add to this CPU's statistics (layout.Counter)."""
        count(&self.c, counter, n)

    # --- the gate's half

    def point(self, uint32_t site, uint64_t address):
        """Declare what comes next; bits of what must be done first: 1 interrupts, 2 preemption, 4 end, 8 timer, 16 spill."""
        self.c.me.heart += 1
        self.declare(site, address)
        return point_events(&self.c)

    cpdef declare(self, uint32_t site, uint64_t address):
        """The access that comes next, again: after what a point did before it."""
        self.c.me.point_site = site
        self.c.me.point_word = address

    def raised(self):
        """Tickets that this CPU's pending words name: interrupts raised and not taken."""
        cdef int vector
        cdef uint64_t word
        cdef list tickets = []
        for vector in range(<int>VECTOR_NR):
            word = em_load(&self.c.me.pending[vector], 8)
            if word:
                tickets.append(word >> 16)
        return tickets

    def control(self):
        """Interrupts are taken when a conductor says so: batches do not end for them."""
        self.c.controlled = True

    def looked(self):
        """The frames of what is pending were looked for: a batch need not end for them again for 100 us."""
        cdef int vector
        for vector in range(<int>VECTOR_NR):
            self.c.looked[vector] = self.c.me.pending[vector]
        self.c.looked_ns = em_now()

    def terms_hold(self, uint32_t task):
        """Whether any term of a task's wait record is true now; without terms: True."""
        return terms_hold(&self.c, &self.c.tasks[task])

    def find_waiters(self, uint64_t address):
        """Tasks with a term on this word.  Context: the word has been changed; the fence is here."""
        cdef uint32_t number, term
        cdef list found = []
        em_fence()
        for number in range(self.c.nr_tasks):
            for term in range(self.c.tasks[number].nterms):
                if self.c.tasks[number].word[term] == address:
                    found.append(number)
                    break
        return found

    def ready_waiters(self):
        """Tasks asleep (not waiting on their CPU) whose terms hold."""
        cdef uint32_t number
        cdef em_task *task
        cdef list found = []
        em_fence()
        for number in range(self.c.nr_tasks):
            task = &self.c.tasks[number]
            if task.nterms and not task.busy and terms_hold(&self.c, task):
                found.append(number)
        return found

    def due_timers(self, uint64_t moment):
        """Tasks asleep on this CPU whose deadline has come, and the next deadline after ``moment``, 0 if none."""
        cdef uint32_t number
        cdef uint64_t following = 0
        cdef em_task *task
        cdef list due = []
        for number in range(self.c.nr_tasks):
            task = &self.c.tasks[number]
            if task.deadline_ns == 0 or task.cpu != self.c.cpu or task.state not in (TASKSTATE_INTERRUPTIBLE,
                                                                                     TASKSTATE_UNINTERRUPTIBLE):
                continue
            if task.deadline_ns <= moment:
                due.append(number)
            elif following == 0 or task.deadline_ns < following:
                following = task.deadline_ns
        return due, following

    # --- locks

    def spin_trylock(self, uint32_t lock, uint32_t site):
        """One try."""
        if em_load(&self.c.locks[lock].word, 4) or not em_cmpxchg(&self.c.locks[lock].word, 4, 0, my_lock_word(&self.c)):
            return False
        took(&self.c, &self.c.locks[lock], site)
        return True

    def spin_lock(self, uint32_t lock, uint32_t site, int64_t timeout_us):
        """Take a lock, asleep on its futex after a few tries; False when the time ran out."""
        cdef bint got
        with nogil:
            got = take_lock(&self.c, lock, site, timeout_us)
        return got

    def spin_unlock(self, uint32_t lock):
        """Give a lock back and wake one waiter.  Not ours: LeafError, whatever the mode."""
        if (self.c.locks[lock].word & 0x7FFFFFFF) != my_lock_word(&self.c):
            raise LeafError(f"lock {lock} is not held by cpu {self.c.cpu}: its word is {self.c.locks[lock].word:#x}")
        release_lock(&self.c, lock)

    def new_to_lockdep(self, uint32_t lock):
        """Whether taking this lock, here and now, is something that lockdep has not seen yet."""
        return new_to_lockdep(&self.c, lock)

    # --- zones and free lists

    def zone_watermark_ok(self, uint32_t zone, int order, int64_t mark, int classzone_idx, int alloc_flags):
        """v3.2's __zone_watermark_ok, with the cheap counter.  ``alloc_flags``: 1 HIGH, 2 HARDER."""
        return zone_watermark_ok(&self.c, zone, order, mark, classzone_idx, alloc_flags)

    def zone_page_state_snapshot(self, uint32_t zone):
        """Free pages with every CPU's differential added: exact at a quiet moment."""
        return zone_page_state_snapshot(&self.c, zone)

    def zone_watermark_ok_safe(self, uint32_t zone, int order, int64_t mark, int classzone_idx, int alloc_flags):
        """As zone_watermark_ok, with the exact count where the differentials could hide how little is left."""
        cdef int64_t pages = zone_page_state(&self.c, zone)
        if self.c.zones[zone].percpu_drift_mark and pages < <int64_t>self.c.zones[zone].percpu_drift_mark:
            pages = zone_page_state_snapshot(&self.c, zone)
        return watermark_ok(&self.c, zone, order, mark, classzone_idx, alloc_flags, pages)

    def pcp_counts(self):
        """Pages on the lists of each possible CPU, all zones: a look from outside, true when it is taken."""
        cdef uint32_t cpu, zone
        cdef long pages
        cdef list counts = []
        for cpu in range(self.c.nr_cpus):
            pages = 0
            for zone in range(self.c.nr_zones):
                pages += <int32_t>em_load(&pcp_of(&self.c, cpu, zone).count, 4)
            counts.append(pages)
        return counts

    def fold_zone_diffs(self, uint32_t cpu):
        """refresh_cpu_vm_stats: a CPU's differentials into the zones' counters."""
        cdef uint32_t zone
        for zone in range(self.c.nr_zones):
            self.fold_zone_diff(cpu, zone)

    def fold_zone_diff(self, uint32_t cpu, uint32_t zone):
        """One zone's.  Context: interrupts off on that CPU, or it is dead."""
        cdef em_pcp *pcp = pcp_of(&self.c, cpu, zone)
        if pcp.free_diff:
            em_add(&self.c.zones[zone].free_pages, 8, <uint64_t><int64_t>pcp.free_diff)
            pcp.free_diff = 0

    def pageblock_type(self, uint32_t pfn):
        """The migratetype of a page's pageblock."""
        return self.c.pageblocks[pfn >> PAGEBLOCK_ORDER].migratetype

    def rmqueue(self, uint32_t zone, uint32_t order, uint32_t migratetype):
        """A block from the free lists (__rmqueue), or -1."""
        cdef int64_t pfn
        assert_zone_lock(&self.c, zone)
        pfn = rmqueue_locked(&self.c, zone, order, migratetype)
        if pfn != -1:
            mod_zone_page_state(&self.c, zone, -(<int64_t>1 << order))
            trace_pages(&self.c, self.c.cpu, zone, 1 << order, pcp_of(&self.c, self.c.cpu, zone).count)
        return pfn

    def rmqueue_bulk(self, uint32_t zone, uint32_t migratetype, int wanted, bint cold=False):
        """Up to ``wanted`` pages onto this CPU's list; how many came."""
        assert_zone_lock(&self.c, zone)
        assert_irqs_off(&self.c)
        return refill(&self.c, zone, migratetype, wanted, cold)

    def free_one_page(self, uint32_t pfn, uint32_t order, uint32_t migratetype):
        """A block back to the free lists."""
        cdef uint32_t zone = self.c.mem_map[pfn].zone
        assert_zone_lock(&self.c, zone)
        pages_came_back(&self.c, zone)
        free_block(&self.c, zone, pfn, order, migratetype)
        mod_zone_page_state(&self.c, zone, <int64_t>1 << order)
        trace_pages(&self.c, self.c.cpu, zone, 1 << order, pcp_of(&self.c, self.c.cpu, zone).count)

    def free_pcppages_bulk(self, uint32_t cpu, uint32_t zone, int wanted):
        """Up to ``wanted`` pages of a CPU's lists to the free lists, in v3.2's round robin; how many there were."""
        assert_zone_lock(&self.c, zone)
        assert_irqs_off(&self.c)
        return free_bulk(&self.c, cpu, zone, wanted)

    # --- this CPU's lists, pages

    def pcp_alloc(self, uint32_t zone, uint32_t migratetype, bint cold):
        """A page of this CPU's list, or -1."""
        assert_irqs_off(&self.c)
        return take_pcp(&self.c, zone, migratetype, cold)

    def pcp_free(self, uint32_t pfn, uint32_t migratetype, bint cold):
        """A page onto this CPU's list; the new count of all its lists of that zone."""
        assert_irqs_off(&self.c)
        return give_pcp(&self.c, pfn, migratetype, cold)

    def prep_new_page(self, uint32_t pfn, uint32_t order, uint32_t migratetype, uint32_t gfp, uint32_t task):
        """The block is ``task``'s from here on; traced and counted as mm_page_alloc."""
        prep_new_page(&self.c, pfn, order, migratetype, gfp, task)

    def alloc_failed(self, uint32_t order, uint32_t migratetype, uint32_t gfp):
        """An allocation that failed: traced without a page, counted apart."""
        trace(&self.c, EVENT_MM_PAGE_ALLOC, NOBODY, order, migratetype, gfp)
        count(&self.c, COUNTER_ALLOC_FAILED, 1)
        if order:
            count(&self.c, COUNTER_ALLOC_FAILED_HIGH_ORDER, 1)

    def free_prepare(self, uint32_t pfn, uint32_t order):
        """The block is nobody's from here on; its pageblock's migratetype.  BadPage: double free, wrong order."""
        return free_prepare(&self.c, pfn, order)

    def split_page(self, uint32_t pfn, uint32_t order):
        """An allocated block becomes single allocated pages of the same owner."""
        split_allocated(&self.c, pfn, order)

    def count_zone(self, uint32_t zone):
        """Pages in buddy blocks, on pcp lists, allocated, in no block; free blocks by order.  Context: a quiet moment."""
        return count_zone(&self.c, zone)

    def lru_add(self, uint32_t pfn):
        """A page becomes the page cache's, at the head of its zone's list (lru_lock)."""
        lru_insert(&self.c, pfn)

    def lru_isolate(self, uint32_t zone, int wanted):
        """Up to ``wanted`` pages off the tail of the list, counted as scanned (lru_lock)."""
        return lru_take(&self.c, zone, wanted)

    def lru_putback(self, uint32_t zone, pages, int isolated):
        """Pages onto the head of the list; ``isolated``: how many are then no longer in the caller's hands (lru_lock)."""
        for pfn in pages:
            lru_insert(&self.c, pfn)
        self.c.zones[zone].nr_isolated -= isolated

    # --- compaction

    def isolate_migratepages(self, uint32_t zone, uint32_t start_pfn, uint32_t end_pfn, int wanted, bint everywhere):
        """(next page frame, records seen, page-cache pages taken off the list) of a range (lru_lock).

        ``everywhere``: in pageblocks of every type; else the rest of one that is not movable is left out.
        """
        if end_pfn > self.c.nr_pages:
            raise ValueError(f"page {end_pfn:#x}: the machine has {self.c.nr_pages:#x}")
        return isolate_migratepages(&self.c, zone, start_pfn, end_pfn, wanted, everywhere)

    def isolate_freepages_block(self, uint32_t zone, uint32_t start_pfn, uint32_t end_pfn):
        """The free pages of a range as single pages in the caller's hands, as far as the low mark allows."""
        assert_zone_lock(&self.c, zone)
        if end_pfn > self.c.nr_pages:
            raise ValueError(f"page {end_pfn:#x}: the machine has {self.c.nr_pages:#x}")
        return isolate_freepages_block(&self.c, zone, start_pfn, end_pfn)

    # --- the batch loop

    def run_batch(self, uint32_t task, int budget):
        """Run a task in user mode for at most ``budget`` operations; why it came back (layout.Exit)."""
        cdef int reason
        self.c.me.user = 1
        try:
            reason = run_batch(&self.c, task, budget)
        finally:
            self.c.me.user = 0
        return reason

    def minimum_line(self):
        """The first line of the replay that is not done, LINE_END when all are."""
        return minimum_line(&self.c, &self.c.slowest)

    # --- boot

    def init_heads(self):
        """Every list empty."""
        cdef uint32_t head
        for head in range(self.c.nr_pages, self.c.nr_pages + self.c.header.nr_heads):
            self.c.mem_map[head].next = self.c.mem_map[head].prev = head

    def free_boot_range(self, uint32_t start_pfn, uint32_t end_pfn, uint32_t migratetype):
        """Memory handed to the buddy allocator, in the largest aligned blocks."""
        if end_pfn > self.c.nr_pages:
            raise ValueError(f"page {end_pfn:#x}: the machine has {self.c.nr_pages:#x}")
        boot_free(&self.c, start_pfn, end_pfn, migratetype)

    def hold_boot(self, uint32_t pfn, uint32_t order, uint32_t owner):
        """Take exactly this block out of the free lists; False if it is not wholly free."""
        return boot_hold(&self.c, pfn, order, owner)
