# The batch loop (design: like a hypervisor's run loop): operations of a user program on this CPU's own lists, until
# something needs the kernel.

cdef inline int before_operation(core_t *c) noexcept nogil:
    # An exit reason, or -1: go on.
    if c.header.state >= MACHINESTATE_STOPPING:
        return EXIT_STOPPING
    if not c.controlled and any_pending(c):
        if interrupt_to_look_for(c):
            return EXIT_INTERRUPT
    if c.me.need_resched:
        return EXIT_RESCHED
    if c.header.trace_all and c.traced and room_of(c, 0) < 256:
        return EXIT_TRACE
    return -1


cdef inline int64_t fast_alloc(core_t *c, uint32_t task, uint32_t gfp, uint32_t migratetype) except -2:
    # Order 0 from this CPU's list of the highest zone; -1: the kernel must do it.  One in ALLOC_SAMPLE is measured:
    # the clock costs about as much as the allocation.
    cdef uint32_t zone = c.nr_zones - 1
    cdef bint sample = (c.fast_allocs + 1) % ALLOC_SAMPLE == 0
    cdef uint64_t started = em_now() if sample else 0
    cdef int64_t pfn
    if c.fail_page_alloc or gfp & (GFP_DMA | GFP_DMA32) or not zone_watermark_ok(c, zone, 0, c.zones[zone].wmark[WMARK_LOW], zone, 0):
        return -1
    pfn = take_pcp(c, zone, migratetype, gfp & GFP_COLD != 0)
    if pfn != -1:
        prep_new_page(c, <uint32_t>pfn, 0, migratetype, gfp, task)
        c.fast_allocs += 1
        if sample:
            measured(c, LATENCY_ALLOC, em_now() - started, ALLOC_SAMPLE)
    return pfn


cdef inline bint fast_free(core_t *c, uint32_t pfn) except -1:
    # Order 0 to this CPU's list; False: the kernel must do it.
    cdef em_pcp *pcp
    cdef uint32_t migratetype
    if pfn >= c.nr_pages or c.mem_map[pfn].order:
        return False
    pcp = pcp_of(c, c.cpu, c.mem_map[pfn].zone)
    if pcp.count + 1 >= pcp.high:
        return False
    migratetype = c.pageblocks[pfn >> PAGEBLOCK_ORDER].migratetype
    if migratetype >= MIGRATETYPE_PCPTYPES:
        return False
    free_prepare(c, pfn, 0)
    give_pcp(c, pfn, migratetype, False)
    return True


cdef inline int ask_kernel(em_task *task, uint32_t kind, uint32_t order, uint32_t migratetype, uint32_t gfp,
                           uint32_t slot, uint32_t arg) noexcept nogil:
    task.op_kind, task.op_order, task.op_migratetype = kind, order, migratetype
    task.op_gfp, task.op_slot, task.op_arg = gfp, slot, arg
    return EXIT_KERNEL


cdef int run_batch(core_t *c, uint32_t number, int budget) except -1:
    cdef em_task *task = &c.tasks[number]
    cdef int reason = -1
    cdef int left = budget
    cdef uint64_t first = task.position
    while left > 0:
        reason = before_operation(c)
        if reason >= 0:
            break
        if task.program == PROGRAM_REPLAY:
            reason = replay_step(c, number, task)
        elif task.program == PROGRAM_STORM:
            reason = storm_step(c, number, task)
        else:
            reason = ask_kernel(task, OPKIND_NONE, 0, 0, 0, 0, 0)
        if reason >= 0:
            break
        left -= 1
    count(c, COUNTER_OPERATIONS, task.position - first)
    return reason if reason >= 0 else EXIT_BUDGET
