# A page's own record: handed out, given back, split; page-cache pages; memory at boot.

cdef inline int prep_new_page(core_t *c, uint32_t pfn, uint32_t order, uint32_t migratetype, uint32_t gfp,
                              uint32_t task) except -1:
    if c.mem_map[pfn].state == PAGESTATE_ALLOCATED:
        raise DoubleAlloc(f"page {pfn:#x} is handed out: it is allocated, owner {c.mem_map[pfn].owner}")
    put8(c.mem_map[pfn].state, PAGESTATE_ALLOCATED, "prep_new_page:state")
    put8(c.mem_map[pfn].order, order, "prep_new_page:order")
    put32(c.mem_map[pfn].owner, task, "prep_new_page:owner")
    if task < c.nr_tasks:
        em_add(&c.tasks[task].rss, 4, 1 << order)
    trace(c, EVENT_MM_PAGE_ALLOC, pfn, order, migratetype, gfp)
    count(c, COUNTER_ALLOC, 1)
    if order:
        count(c, COUNTER_ALLOC_HIGH_ORDER, 1)
    return 0


cdef bint is_free(core_t *c, uint32_t pfn) noexcept nogil:
    # On a list, or inside of a free block that begins before it.
    cdef uint32_t order, head
    for order in range(MAX_ORDER):
        head = pfn & ~((1 << order) - 1)
        if c.mem_map[head].state == PAGESTATE_BUDDY and c.mem_map[head].order >= order:
            return True
    return c.mem_map[pfn].state == PAGESTATE_PCP


cdef inline int free_prepare(core_t *c, uint32_t pfn, uint32_t order) except -1:
    # free_pages_prepare; the pageblock's migratetype.
    cdef uint32_t owner
    if pfn >= c.nr_pages:
        raise BadPage(f"page {pfn:#x} freed: the machine has {c.nr_pages:#x}")
    if c.mem_map[pfn].state != PAGESTATE_ALLOCATED or c.mem_map[pfn].order != order:
        kind = DoubleFree if is_free(c, pfn) else BadPage
        raise kind(f"page {pfn:#x} freed with order {order}: its state is {STATES[c.mem_map[pfn].state]}, "
                      f"order {c.mem_map[pfn].order}, owner {c.mem_map[pfn].owner}")
    trace(c, EVENT_MM_PAGE_FREE, pfn, order, 0, 0)
    count(c, COUNTER_FREE, 1)
    owner = c.mem_map[pfn].owner
    if owner < c.nr_tasks:
        em_add(&c.tasks[owner].rss, 4, <uint64_t>(-(<int64_t>1 << order)))
    put8(c.mem_map[pfn].state, PAGESTATE_TAIL, "free_pages_prepare:state")
    return c.pageblocks[pfn >> PAGEBLOCK_ORDER].migratetype


STATES = ("RESERVED", "TAIL", "BUDDY", "PCP", "ALLOCATED") + ("damaged",) * 251


cdef int split_allocated(core_t *c, uint32_t pfn, uint32_t order) except -1:
    cdef uint32_t at
    if c.mem_map[pfn].state != PAGESTATE_ALLOCATED or c.mem_map[pfn].order != order:
        raise BadPage(f"split_page: page {pfn:#x} is no allocated block of order {order}")
    for at in range(pfn, pfn + (1 << order)):
        put8(c.mem_map[at].state, PAGESTATE_ALLOCATED, "split_page:state")
        put8(c.mem_map[at].order, 0, "split_page:order")
        put32(c.mem_map[at].owner, c.mem_map[pfn].owner, "split_page:owner")
    return 0


cdef int lru_insert(core_t *c, uint32_t pfn) except -1:
    cdef uint32_t zone = c.mem_map[pfn].zone
    cdef uint32_t owner = c.mem_map[pfn].owner
    if owner < c.nr_tasks:
        em_add(&c.tasks[owner].rss, 4, <uint64_t>-1)
    put32(c.mem_map[pfn].owner, OWNER_FILE, "lru_add:owner")
    list_add(c, pfn, lru_list(c, zone))
    c.zones[zone].nr_file += 1
    return 0


cdef int lru_remove(core_t *c, uint32_t zone, uint32_t pfn) except -1:
    # From here on the page is nobody's but of who asked: its owner says so before the lock goes.
    list_del(c, pfn)
    put32(c.mem_map[pfn].owner, OWNER_ISOLATED, "isolate_lru_page:owner")
    c.zones[zone].nr_file -= 1
    c.zones[zone].nr_isolated += 1
    return 0


cdef list lru_take(core_t *c, uint32_t zone, int wanted):
    cdef uint32_t head = lru_list(c, zone)
    cdef uint32_t pfn
    cdef list pages = []
    while wanted > 0 and not list_empty(c, head):
        pfn = c.mem_map[head].prev
        lru_remove(c, zone, pfn)
        pages.append(pfn)
        wanted -= 1
    c.zones[zone].pages_scanned += len(pages)
    return pages


# --- a quiet moment: nobody changes any page

cdef object count_zone(core_t *c, uint32_t zone):
    # From block to block.  Pages in buddy blocks, on pcp lists, allocated, in no block; free blocks by order.
    cdef em_zone *z = &c.zones[zone]
    cdef uint32_t pfn = z.start_pfn
    cdef uint32_t end = min(z.start_pfn + z.spanned, c.nr_pages)
    cdef uint64_t pages[5]
    cdef uint32_t blocks[MAX_ORDER]
    cdef uint32_t state, order, at
    for at in range(5):
        pages[at] = 0
    for at in range(MAX_ORDER):
        blocks[at] = 0
    with nogil:
        while pfn < end:
            state, order = c.mem_map[pfn].state, c.mem_map[pfn].order
            if (state != PAGESTATE_BUDDY and state != PAGESTATE_ALLOCATED) or order >= MAX_ORDER:
                order = 0
            if state == PAGESTATE_BUDDY:
                blocks[order] += 1
            pages[state if state < 5 else <uint32_t>PAGESTATE_TAIL] += 1 << order
            pfn += 1 << order
    return (pages[PAGESTATE_BUDDY], pages[PAGESTATE_PCP], pages[PAGESTATE_ALLOCATED], pages[PAGESTATE_TAIL],
            [blocks[at] for at in range(MAX_ORDER)])


cdef object isolate_migratepages(core_t *c, uint32_t zone, uint32_t pfn, uint32_t end, int wanted, bint everywhere):
    # Page-cache pages of [pfn, end), in ascending order; where the scan stopped, how many records it saw.  A page is on
    # the list if its owner says so: that changes under lru_lock only.
    cdef list pages = []
    cdef uint32_t scanned = 0
    while pfn < end and wanted > 0:
        scanned += 1
        if c.mem_map[pfn].state == PAGESTATE_BUDDY or c.mem_map[pfn].zone != zone:
            pfn += 1
            continue
        if not everywhere and c.pageblocks[pfn >> PAGEBLOCK_ORDER].migratetype != MIGRATETYPE_MOVABLE:
            pfn = ((pfn >> PAGEBLOCK_ORDER) + 1) << PAGEBLOCK_ORDER
            break
        if c.mem_map[pfn].state == PAGESTATE_ALLOCATED and c.mem_map[pfn].owner == OWNER_FILE:
            lru_remove(c, zone, pfn)
            pages.append(pfn)
            wanted -= 1
        pfn += 1
    return pfn, scanned, pages


# --- boot: nobody else is there yet; the counters are stored, not added to differentials

cdef int boot_free(core_t *c, uint32_t pfn, uint32_t end, uint32_t migratetype) except -1:
    cdef uint32_t order, zone
    while pfn < end:
        order = MAX_ORDER - 1
        while order and (pfn & ((1 << order) - 1) or pfn + (1 << order) > end):
            order -= 1
        zone = c.mem_map[pfn].zone
        free_block(c, zone, pfn, order, migratetype)
        c.zones[zone].free_pages += 1 << order
        pfn += 1 << order
    return 0


cdef bint boot_hold(core_t *c, uint32_t pfn, uint32_t order, uint32_t owner) except -1:
    # The block out of the free block that holds it: what is wholly free and aligned is always inside one.
    cdef uint32_t size = order
    cdef uint32_t first = pfn
    cdef uint32_t zone, migratetype, half
    if pfn + (1 << order) > c.nr_pages or pfn & ((1 << order) - 1):
        return False
    while size < MAX_ORDER:
        first = pfn & ~((1 << size) - 1)
        if c.mem_map[first].state == PAGESTATE_BUDDY and c.mem_map[first].order == size:
            break
        size += 1
    if size == MAX_ORDER:
        return False
    zone, migratetype = c.mem_map[first].zone, c.mem_map[first].migratetype
    from_buddy(c, zone, first)
    while size > order:
        size -= 1
        half = first + (1 << size)
        if pfn >= half:
            to_buddy(c, zone, first, size, migratetype, False)
            first = half
        else:
            to_buddy(c, zone, half, size, migratetype, False)
    c.zones[zone].free_pages -= 1 << order
    c.mem_map[pfn].state = PAGESTATE_ALLOCATED
    c.mem_map[pfn].order = order
    c.mem_map[pfn].owner = owner
    if owner < c.nr_tasks:
        c.tasks[owner].rss += 1 << order
    return True
