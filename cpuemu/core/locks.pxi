# Lock words: owner + 1, generation << 16, a waiter bit; the low half is a futex.  Every wait is bounded.

cdef uint32_t WAITERS = 1 << 31
cdef int SPINS = 60


cdef inline uint32_t my_lock_word(core_t *c) noexcept nogil:
    return (c.cpu + 1) | (c.generation & 0x7FFF) << 16


cdef inline void took(core_t *c, em_lock *lock, uint32_t site) noexcept nogil:
    lock.holder = c.me.current + 1
    lock.site = site
    lock.since_ns = em_now()


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
    end = em_now() + <uint64_t>timeout_us * 1000
    while True:
        seen = <uint32_t>em_load(&lock.word, 4)
        if seen == 0:
            if em_cmpxchg(&lock.word, 4, 0, mine | WAITERS):
                took(c, lock, site)
                c.me.lock_wait = 0
                return True
            continue
        if seen & WAITERS == 0 and not em_cmpxchg(&lock.word, 4, seen, seen | WAITERS):
            continue
        if em_now() >= end:
            c.me.lock_wait = 0
            return False
        em_futex_wait(&lock.word, seen | WAITERS, timeout_us)


cdef void release_lock(core_t *c, uint32_t number) noexcept nogil:
    cdef em_lock *lock = &c.locks[number]
    lock.holder = 0
    if em_xchg(&lock.word, 4, 0) & WAITERS:
        em_futex_wake(&lock.word, 1)


cdef int assert_zone_lock(core_t *c, uint32_t zone) except -1:
    cdef uint32_t number = 8 + zone * 2
    if c.checked and (c.locks[number].word & 0x7FFFFFFF) != my_lock_word(c):
        raise LeafError(f"a leaf that changes free lists was entered without zone->lock of zone {zone}")
    return 0


cdef int assert_irqs_off(core_t *c) except -1:
    if c.checked and not c.me.irqs_off:
        raise LeafError("a leaf that changes a per-CPU page list was entered with interrupts on")
    return 0
