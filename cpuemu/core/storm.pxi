# Storm: random orders and lifetimes around a target of pages held; pages given away are freed by whoever gets them.

cdef enum:
    TARGET = 0
    HIGH_ORDERS = 1
    LARGEST = 2
    GIVES = 3
    FILES = 4
    UNMOVABLE_SHARE = 5
    RECLAIMABLE_SHARE = 6
    MOVES = 7
    GATHER_AFTER = 8
    GATHER_ON = 9

cdef uint32_t USER_GFP = GFP_WAIT | GFP_IO | GFP_FS


cdef inline uint64_t next_random(em_task *task) noexcept nogil:
    # xorshift64*: the state lives in RAM, so the stream goes on wherever the task does.
    cdef uint64_t x = task.rng if task.rng else <uint64_t>0x9E3779B97F4A7C15
    x ^= x >> 12
    x ^= x << 25
    x ^= x >> 27
    task.rng = x
    return (x * <uint64_t>0x2545F4914F6CDD1D) >> 16


cdef inline uint32_t random_type(em_task *task, uint64_t r) noexcept nogil:
    r %= 1000
    if r < task.user[UNMOVABLE_SHARE]:
        return MIGRATETYPE_UNMOVABLE
    if r < task.user[UNMOVABLE_SHARE] + task.user[RECLAIMABLE_SHARE]:
        return MIGRATETYPE_RECLAIMABLE
    return MIGRATETYPE_MOVABLE


cdef inline uint64_t cpus_of(core_t *c, em_task *task) noexcept nogil:
    # The first so many CPUs are this task's: all of them, until it has gathered.
    return task.user[GATHER_ON] if task.user[GATHER_ON] and task.position >= task.user[GATHER_AFTER] else c.nr_cpus


cdef int storm_step(core_t *c, uint32_t number, em_task *task) except -2:
    cdef uint64_t r = next_random(task)
    cdef int64_t target = <int64_t>task.user[TARGET]
    cdef int64_t lean
    if task.end and task.position >= task.end:
        return EXIT_DONE
    if target > task.held_limit:
        target = task.held_limit
    if task.user[GATHER_ON] and task.position == task.user[GATHER_AFTER]:
        return ask_kernel(task, OPKIND_YIELD, 0, 0, 0, 0, <uint32_t>((r >> 10) % task.user[GATHER_ON]))
    if task.user[MOVES] and next_random(task) % 1000000 < task.user[MOVES]:
        return ask_kernel(task, OPKIND_YIELD, 0, 0, 0, 0, <uint32_t>((r >> 10) % cpus_of(c, task)))
    # A random walk that leans back towards the target: of 1024 draws, 512 + the distance allocate.
    lean = 512 + (target - <int64_t>task.held) * 512 // (target + 1)
    if task.held == 0 or (task.held < task.held_limit and <int64_t>(r & 1023) < (lean if lean > 64 else 64)):
        return storm_alloc(c, number, task, r >> 10)
    return storm_free(c, number, task, r >> 10)


cdef int storm_alloc(core_t *c, uint32_t number, em_task *task, uint64_t r) except -2:
    cdef em_held *entry
    cdef uint32_t order = 0
    cdef uint32_t migratetype = random_type(task, r >> 20)
    cdef int64_t pfn
    if task.user[LARGEST] and r % 1000 < task.user[HIGH_ORDERS]:
        order = 1 + <uint32_t>((r >> 12) % task.user[LARGEST])
    elif (r >> 5) % 1000 < task.user[FILES]:
        return ask_kernel(task, OPKIND_FILE, 0, MIGRATETYPE_MOVABLE, USER_GFP, 0, 0)
    if order == 0:
        pfn = fast_alloc(c, number, USER_GFP, migratetype)
        if pfn != -1:
            entry = &c.held[<uint64_t>number * HELD_PAGES + task.held]
            entry.pfn, entry.order = <uint32_t>pfn, 0
            task.held += 1
            task.position += 1
            return -1
    return ask_kernel(task, OPKIND_ALLOC, order, migratetype, USER_GFP, 0, 0)


cdef int storm_free(core_t *c, uint32_t number, em_task *task, uint64_t r) except -2:
    cdef em_held *mine = &c.held[<uint64_t>number * HELD_PAGES]
    cdef uint32_t choice = <uint32_t>(r % task.held)
    cdef uint32_t pfn = mine[choice].pfn
    cdef uint32_t order = mine[choice].order
    cdef uint32_t other
    task.held -= 1
    mine[choice].pfn, mine[choice].order = mine[task.held].pfn, mine[task.held].order
    if c.nr_slots and (r >> 20) % 1000 < task.user[GIVES]:
        other = <uint32_t>em_xchg(&c.slots[(r >> 30) % c.nr_slots].page, 4, pfn + 1)
        if other == 0:
            task.position += 1
            return -1
        pfn = other - 1
        order = c.mem_map[pfn].order
    if order or not fast_free(c, pfn):
        return ask_kernel(task, OPKIND_FREE, order, 0, 0, pfn, 0)
    task.position += 1
    return -1
