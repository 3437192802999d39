# The ring write.  One writer a ring; the sequence number is stored last, with release: a reader that finds it
# unchanged before and after copying a record has a whole record.

ctypedef struct record_t:
    uint64_t time
    uint32_t seq
    uint8_t event
    uint8_t flags
    uint16_t task
    uint32_t a
    uint32_t b
    uint32_t c
    uint32_t d

cdef int FREEZE_TAIL = 64
cdef int LAST_PAGE_EVENT = 9


cdef inline void trace(core_t *c, int event, uint32_t a, uint32_t b, uint32_t d2, uint32_t d3) noexcept nogil:
    cdef int ring
    cdef em_ring_header *head
    cdef record_t *record
    cdef uint64_t position
    cdef uint32_t depth
    if not c.traced:
        return
    ring = 0 if event <= LAST_PAGE_EVENT or event == EVENT_CPUEMU_PAGE_HELD else 1
    head = c.ring_headers[ring]
    if c.header.frozen:
        if head.tail_left == 0:
            return
        head.tail_left -= 1
    position = head.written
    record = <record_t *>c.rings[ring] + (position & (head.size - 1))
    if position >= head.size and position - head.spilled >= head.size:
        head.overwritten[record.event & 63] += 1
    record.seq = 0
    em_release()
    depth = c.tasks[c.me.current].preempt_count
    record.time = em_now()
    record.event = event
    record.flags = ((1 if c.me.irqs_off else 0) | (2 if c.me.need_resched else 0) | (4 if c.me.hardirq else 0)
                    | (depth if depth < 15 else 15) << 4)
    record.task = c.me.current
    record.a, record.b, record.c, record.d = a, b, d2, d3
    em_store(&record.seq, 4, <uint32_t>(position + 1))
    em_store(&head.written, 8, position + 1)


cdef inline uint64_t room_of(core_t *c, int ring) noexcept nogil:
    cdef em_ring_header *head = c.ring_headers[ring]
    return head.size - (head.written - head.spilled)


cdef inline void count(core_t *c, int counter, uint64_t n) noexcept nogil:
    c.me.counters[counter] += n


cdef inline void measured(core_t *c, int kind, uint64_t ns, uint32_t weight) noexcept nogil:
    # Into this CPU's histogram; ``weight``: how many the measured one stands for.
    cdef em_histogram *h = &c.histograms[c.cpu * LATENCY_NR + kind]
    cdef int number = em_bucket(ns)
    h.buckets[number if number < HISTOGRAM_BUCKETS else HISTOGRAM_BUCKETS - 1] += weight
    h.total_ns += ns * weight
    if ns > h.max_ns:
        h.max_ns = ns
    h.n += weight
