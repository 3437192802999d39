# Lock words: owner + 1, generation << 16, a waiter bit; the low half is a futex.  Every wait is bounded.

cdef uint32_t WAITERS = 1 << 31
cdef int SPINS = 60


cdef inline uint32_t my_lock_word(core_t *c) noexcept nogil:
    return (c.cpu + 1) | (c.generation & 0x7FFF) << 16


cdef inline void took(core_t *c, em_lock *lock, uint32_t site) noexcept nogil:
    lock.holder = c.me.current + 1
    lock.site = site
    lock.since_ns = em_now()
    if c.me.nr_held < HELD_LOCKS:
        c.me.held_locks[c.me.nr_held] = <uint32_t>(lock - c.locks) | c.me.hardirq << 16
        c.me.nr_held += 1


cdef inline void trace_lock_wait(core_t *c, int event, em_lock *lock, uint32_t site) noexcept nogil:
    # The word's address as ``View.addr`` has it: four bytes.
    cdef uint64_t address = <uint64_t>(<char *>&lock.word - <char *>c.header) << 2 | 2
    trace(c, event, site, <uint32_t>address, <uint32_t>(address >> 32), 1)


cdef bint take_lock(core_t *c, uint32_t number, uint32_t site, int64_t timeout_us) noexcept nogil:
    cdef em_lock *lock = &c.locks[number]
    cdef uint32_t mine = my_lock_word(c)
    cdef uint32_t seen
    cdef int tries
    cdef uint64_t end
    for tries in range(SPINS):
        if em_load(&lock.word, 4) == 0 and em_cmpxchg(&lock.word, 4, 0, mine):
            took(c, lock, site)
            return True
        em_pause()
    # From here on whoever gets it keeps the waiter bit set: others may still sleep on it.
    c.me.lock_wait = number + 1
    c.me.lock_wait_site = site
    trace_lock_wait(c, EVENT_CPUEMU_WAIT_BEGIN, lock, site)
    end = em_now() + <uint64_t>timeout_us * 1000
    while True:
        seen = <uint32_t>em_load(&lock.word, 4)
        if seen == 0:
            if em_cmpxchg(&lock.word, 4, 0, mine | WAITERS):
                took(c, lock, site)
                c.me.lock_wait = 0
                trace_lock_wait(c, EVENT_CPUEMU_WAIT_END, lock, site)
                return True
            continue
        if seen & WAITERS == 0 and not em_cmpxchg(&lock.word, 4, seen, seen | WAITERS):
            continue
        if em_now() >= end:
            c.me.lock_wait = 0
            trace_lock_wait(c, EVENT_CPUEMU_WAIT_END, lock, site)
            return False
        em_futex_wait(&lock.word, seen | WAITERS, timeout_us)


cdef void release_lock(core_t *c, uint32_t number) noexcept nogil:
    cdef em_lock *lock = &c.locks[number]
    cdef uint32_t at = c.me.nr_held
    lock.holder = 0
    while at:  # mostly the last one
        at -= 1
        if c.me.held_locks[at] & 0xFFFF == number:
            c.me.nr_held -= 1
            while at < c.me.nr_held:
                c.me.held_locks[at] = c.me.held_locks[at + 1]
                at += 1
            break
    if em_xchg(&lock.word, 4, 0) & WAITERS:
        em_futex_wake(&lock.word, 1)


# --- lockdep's fast half: whether anything about this acquisition is new to the machine

cdef inline uint32_t lock_class(core_t *c, uint32_t lock) noexcept nogil:
    cdef uint32_t first_cpu_lock = FIRST_ZONE_LOCK + c.nr_zones * NR_ZONE_LOCKS
    if lock < FIRST_ZONE_LOCK:
        return lock
    if lock < first_cpu_lock:
        return FIRST_ZONE_LOCK + (lock - FIRST_ZONE_LOCK) % NR_ZONE_LOCKS
    return FIRST_ZONE_LOCK + NR_ZONE_LOCKS + (lock - first_cpu_lock) % NR_CPU_LOCKS


cdef bint new_to_lockdep(core_t *c, uint32_t lock) noexcept nogil:
    cdef em_task *task = &c.tasks[c.me.current]
    cdef uint32_t mine = lock_class(c, lock)
    cdef uint32_t usage = 0
    cdef uint32_t at
    if c.header.debug_locks_off:
        return False
    if c.me.hardirq:
        usage = LOCKUSAGE_IN_HARDIRQ
    elif not c.me.irqs_off:
        usage = LOCKUSAGE_HARDIRQ_ON
    if usage & ~c.lock_classes[mine].usage:
        return True
    for at in range(c.me.nr_held):
        if c.me.held_locks[at] >> 16 == c.me.hardirq and \
                c.lock_classes[lock_class(c, c.me.held_locks[at] & 0xFFFF)].after >> mine & 1 == 0:
            return True
    if not c.me.hardirq:
        for at in range(task.nr_mutexes):
            if c.lock_classes[lock_class(c, task.mutexes[at])].after >> mine & 1 == 0:
                return True
    return False


cdef int assert_zone_lock(core_t *c, uint32_t zone) except -1:
    cdef uint32_t number = FIRST_ZONE_LOCK + zone * NR_ZONE_LOCKS
    if c.checked and (c.locks[number].word & 0x7FFFFFFF) != my_lock_word(c):
        raise LeafError(f"a leaf that changes free lists was entered without zone->lock of zone {zone}")
    return 0


cdef int assert_irqs_off(core_t *c) except -1:
    if c.checked and not c.me.irqs_off:
        raise LeafError("a leaf that changes a per-CPU page list was entered with interrupts on")
    return 0
