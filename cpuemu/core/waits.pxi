# Wait records: data in RAM that whoever changes a word, the decider and the post-mortem can all evaluate.

cdef bint terms_hold(core_t *c, em_task *task) noexcept nogil:
    cdef uint32_t number
    cdef uint64_t address
    if task.nterms == 0:
        return True
    for number in range(task.nterms):
        address = task.word[number]
        if compare(em_load(c.base + (address >> 2), 1 << (address & 3)), task.op[number], task.value[number]):
            return True
    return False


cdef bint replay_waiter_ready(core_t *c) noexcept nogil:
    # Whether the slot or line just stored is one that somebody waits for at the border of user mode.
    cdef uint32_t number
    cdef em_task *task
    for number in range(c.nr_tasks):
        task = &c.tasks[number]
        if task.flags & TASKFLAG_LINE_WAIT and task.nterms and terms_hold(c, task):
            return True
    return False


cdef inline bint timer_due(core_t *c) noexcept nogil:
    # The next timer, or the deferrable work of vmstat.
    cdef uint64_t moment
    if c.me.timer_ns == 0 and c.me.vmstat_ns == 0:
        return False
    moment = em_now()
    return (c.me.timer_ns != 0 and c.me.timer_ns <= moment) or (c.me.vmstat_ns != 0 and c.me.vmstat_ns <= moment)


cdef inline bint any_pending(core_t *c) noexcept nogil:
    cdef int vector
    cdef uint64_t words = 0
    for vector in range(<int>VECTOR_NR):
        words |= c.me.pending[vector]
    return words != 0


cdef inline int point_events(core_t *c) noexcept nogil:
    # What is to be done at a point: 1 interrupts, 2 preemption, 4 the machine ends, 8 a timer, 16 rings to be written out.
    cdef int events = 0
    if not c.me.irqs_off and not c.me.hardirq:
        if any_pending(c) and interrupt_to_look_for(c):
            events = 1
        if timer_due(c):
            events |= 8
    if c.header.trace_all and c.traced and half_full(c):
        events |= 16
    if c.me.need_resched and c.header.preempt_model == PREEMPT_FULL:
        events |= 2
    if c.header.state >= MACHINESTATE_STOPPING:
        events |= 4
    return events


cdef inline bint half_full(core_t *c) noexcept nogil:
    # A system call can free a thousand pages: half a ring is left for what comes until the next point.
    return (room_of(c, 0) < c.ring_headers[0].size // 2 or room_of(c, 1) < c.ring_headers[1].size // 2)


cdef bint interrupt_to_look_for(core_t *c) noexcept nogil:
    # A word whose frame was looked for just now, in vain, must not end every batch.
    cdef int vector
    cdef bint news = False
    for vector in range(<int>VECTOR_NR):
        if c.me.pending[vector] and c.me.pending[vector] != c.looked[vector]:
            news = True
    return news or em_now() - c.looked_ns > 100000
