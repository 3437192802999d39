# One operation of a recording.  The file's order is total: an operation waits for earlier lines only.

cdef uint32_t minimum_line(core_t *c, uint32_t *slowest) noexcept nogil:
    cdef uint32_t number, line
    cdef uint32_t least = LINE_END
    slowest[0] = 0
    for number in range(c.nr_streams):
        line = <uint32_t>em_load(&c.streams[number].next_line, 4)
        if line < least:
            least, slowest[0] = line, number
    return least


cdef inline bint somebody_waits(core_t *c) noexcept nogil:
    # Context: a slot or a line has just been stored.  The fence orders that store before this look.
    em_fence()
    return c.header.replay_waiters != 0 and replay_waiter_ready(c)


cdef int replay_step(core_t *c, uint32_t number, em_task *task) except -2:
    cdef em_replay_stream *stream = &c.streams[task.stream]
    cdef em_replay_op *op
    cdef uint32_t before = stream.next_line
    cdef uint32_t line, page
    cdef int64_t pfn
    cdef uint64_t due
    cdef bint tell = False
    if task.position >= stream.count:
        em_store(&stream.next_line, 4, LINE_END)
        return EXIT_DONE
    op = &c.ops[stream.first + task.position]
    line = op.line
    if line != before:
        em_store(&stream.next_line, 4, line)
        # The coordinator waits for a line, others for the window: tell them when it is passed.
        if before < c.header.coordinator_line and line >= c.header.coordinator_line:
            tell = True
        if c.header.replay_waiters and not (task.position & 63):
            tell = tell or somebody_waits(c)
        if tell:
            return EXIT_WAKE
    # Ahead of a hotplug operation of the recording, or of the slowest stream, by no more than the window.
    if c.header.window:
        if <uint64_t>line > <uint64_t>c.header.coordinator_line + c.header.window:
            task.op_arg = LINE_END
            return EXIT_WINDOW
        if <uint64_t>line > <uint64_t>c.slowest_line + c.header.window:
            c.slowest_line = minimum_line(c, &c.slowest)
            if <uint64_t>line > <uint64_t>c.slowest_line + c.header.window:
                task.op_arg = c.slowest
                return EXIT_WINDOW
    if c.header.pace_permille:
        due = c.header.pace_start_ns + (task.user[0] + op.delta) * 1000000 // c.header.pace_permille
        if em_now() < due:
            task.user[1] = due
            return ask_kernel(task, OPKIND_SLEEP, 0, 0, 0, 0, 0)
    if op.kind == OPKIND_ALLOC and op.order == 0:
        pfn = fast_alloc(c, number, op.gfp, op.migratetype)
        if pfn == -1:
            return ask_kernel(task, OPKIND_ALLOC, 0, op.migratetype, op.gfp, op.slot, 0)
        em_store(&c.slots[op.slot].page, 4, <uint32_t>(pfn + 1))
        tell = somebody_waits(c)
    elif op.kind == OPKIND_FREE:
        page = <uint32_t>em_load(&c.slots[op.slot].page, 4)
        if page == SLOT_EMPTY:
            task.op_slot = op.slot
            return EXIT_WAIT
        if page == SLOT_FAILED:
            count(c, COUNTER_REPLAY_FREE_SKIPPED, 1)
        else:
            page = page - 1 + (<uint32_t>op.pieces << op.order)
            if op.order or not fast_free(c, page):
                return ask_kernel(task, OPKIND_FREE, op.order, 0, 0, op.slot, page)
    elif op.kind != OPKIND_YIELD and op.kind != OPKIND_SLEEP:
        return ask_kernel(task, op.kind, op.order, op.migratetype, op.gfp, op.slot, op.pieces)
    if c.header.pace_permille:
        task.user[0] += op.delta
    task.position += 1
    return EXIT_WAKE if tell else -1
