# The buddy allocator (Linux: mm/page_alloc.c, v3.2).  Context of all: zone->lock held, interrupts off.

cdef uint32_t[5][4] FALLBACKS
FALLBACKS[MIGRATETYPE_UNMOVABLE] = [MIGRATETYPE_RECLAIMABLE, MIGRATETYPE_MOVABLE, MIGRATETYPE_RESERVE, 0]
FALLBACKS[MIGRATETYPE_RECLAIMABLE] = [MIGRATETYPE_UNMOVABLE, MIGRATETYPE_MOVABLE, MIGRATETYPE_RESERVE, 0]
FALLBACKS[MIGRATETYPE_MOVABLE] = [MIGRATETYPE_RECLAIMABLE, MIGRATETYPE_UNMOVABLE, MIGRATETYPE_RESERVE, 0]
FALLBACKS[MIGRATETYPE_RESERVE] = [MIGRATETYPE_RESERVE, MIGRATETYPE_RESERVE, MIGRATETYPE_RESERVE, 0]
FALLBACKS[MIGRATETYPE_ISOLATE] = [MIGRATETYPE_RESERVE, MIGRATETYPE_RESERVE, MIGRATETYPE_RESERVE, 0]
cdef int NR_FALLBACKS = 3


cdef uint32_t PAGES_A_RECORD = 16


cdef inline void mod_zone_page_state(core_t *c, uint32_t zone, int64_t delta) noexcept nogil:
    # __mod_zone_page_state(NR_FREE_PAGES): this CPU's differential, folded when it passes the threshold.
    cdef em_pcp *pcp = pcp_of(c, c.cpu, zone)
    cdef int64_t diff = pcp.free_diff + delta
    if diff > pcp.stat_threshold or diff < -pcp.stat_threshold:
        em_add(&c.zones[zone].free_pages, 8, <uint64_t>diff)
        diff = 0
    pcp.free_diff = <int32_t>diff


cdef inline int64_t zone_page_state(core_t *c, uint32_t zone) noexcept nogil:
    cdef int64_t pages = <int64_t>em_load(&c.zones[zone].free_pages, 8)
    return pages if pages > 0 else 0


cdef inline void trace_pages(core_t *c, uint32_t owner, uint32_t zone, uint32_t pages, uint32_t listed) noexcept nogil:
    # What moves between lists have left: readers need not have seen all before.  Small machines move single pages.
    # ``listed``: on the owner's lists.
    c.moved += pages
    if c.moved < PAGES_A_RECORD:
        return
    c.moved = 0
    trace(c, EVENT_CPUEMU_ZONE_PAGES, zone, <uint32_t>zone_page_state(c, zone), owner, listed)


cdef int64_t zone_page_state_snapshot(core_t *c, uint32_t zone) noexcept nogil:
    # With every CPU's differential; those of dead CPUs were folded in at CPU_DEAD.
    cdef int64_t pages = <int64_t>em_load(&c.zones[zone].free_pages, 8)
    cdef uint32_t cpu
    for cpu in range(c.nr_cpus):
        pages += pcp_of(c, cpu, zone).free_diff
    return pages if pages > 0 else 0


cdef inline bint zone_watermark_ok(core_t *c, uint32_t zone, int order, int64_t mark, int classzone,
                                   int flags) noexcept nogil:
    return watermark_ok(c, zone, order, mark, classzone, flags, zone_page_state(c, zone))


cdef bint watermark_ok(core_t *c, uint32_t zone, int order, int64_t mark, int classzone, int flags,
                       int64_t free_pages) noexcept nogil:
    # __zone_watermark_ok, v3.2: one page more than asked for is taken off first, HARDER comes after HIGH.
    cdef int64_t pages = free_pages - ((1 << order) + 1)
    cdef int64_t least = mark
    cdef int o
    if flags & 1:
        least -= least // 2
    if flags & 2:
        least -= least // 4
    if pages <= least + c.zones[zone].lowmem_reserve[classzone]:
        return False
    for o in range(order):
        pages -= <int64_t>c.zones[zone].nr_free[o] << o
        least >>= 1
        if pages <= least:
            return False
    return True


cdef inline int to_buddy(core_t *c, uint32_t zone, uint32_t pfn, uint32_t order, uint32_t migratetype, bint tail) except -1:
    put8(c.mem_map[pfn].state, PAGESTATE_BUDDY, "buddy:state")
    put8(c.mem_map[pfn].order, order, "buddy:order")
    put8(c.mem_map[pfn].migratetype, migratetype, "buddy:migratetype")
    if tail:
        list_add_tail(c, pfn, free_list(c, zone, order, migratetype))
    else:
        list_add(c, pfn, free_list(c, zone, order, migratetype))
    put32(c.zones[zone].nr_free[order], c.zones[zone].nr_free[order] + 1, "buddy:nr_free")
    return 0


cdef inline int from_buddy(core_t *c, uint32_t zone, uint32_t pfn) except -1:
    cdef uint32_t order = c.mem_map[pfn].order
    list_del(c, pfn)
    put8(c.mem_map[pfn].state, PAGESTATE_TAIL, "rmv_page_order:state")
    put32(c.zones[zone].nr_free[order], c.zones[zone].nr_free[order] - 1, "rmv_page_order:nr_free")
    return 0


cdef int expand(core_t *c, uint32_t zone, uint32_t pfn, uint32_t low, uint32_t high, uint32_t migratetype) except -1:
    while high > low:
        high -= 1
        to_buddy(c, zone, pfn + (1 << high), high, migratetype, False)
    return 0


cdef int64_t rmqueue_smallest(core_t *c, uint32_t zone, uint32_t order, uint32_t migratetype) except -2:
    cdef uint32_t current, head, pfn
    for current in range(order, <uint32_t>MAX_ORDER):
        head = free_list(c, zone, current, migratetype)
        if list_empty(c, head):
            continue
        pfn = c.mem_map[head].next
        if c.mem_map[pfn].state != PAGESTATE_BUDDY or c.mem_map[pfn].order != current:
            kind = DoubleAlloc if c.mem_map[pfn].state == PAGESTATE_ALLOCATED else BadPage
            raise kind(f"page {pfn:#x} on the free list of order {current} is not a free block of that order")
        from_buddy(c, zone, pfn)
        expand(c, zone, pfn, order, current, migratetype)
        return pfn
    return -1


cdef uint32_t move_freepages_block(core_t *c, uint32_t zone, uint32_t pfn, uint32_t migratetype) except? 0xFFFFFFFF:
    # All free pages of the pageblock to another type's lists; the number of pages moved.
    cdef em_zone *z = &c.zones[zone]
    cdef uint32_t block = 1 << PAGEBLOCK_ORDER
    cdef uint32_t at = pfn & ~(block - 1)
    cdef uint32_t end = at + block
    cdef uint32_t moved = 0
    cdef uint32_t order
    if at < z.start_pfn:
        at = pfn
    if end > z.start_pfn + z.spanned:
        return 0
    while at < end:
        if c.mem_map[at].state != PAGESTATE_BUDDY:
            at += 1
            continue
        order = c.mem_map[at].order
        list_del(c, at)
        put8(c.mem_map[at].migratetype, migratetype, "move_freepages:migratetype")
        list_add(c, at, free_list(c, zone, order, migratetype))
        at += 1 << order
        moved += 1 << order
    return moved


cdef int64_t rmqueue_fallback(core_t *c, uint32_t zone, uint32_t order, uint32_t wanted) except -2:
    # The largest block of another type; the pageblock goes over when half of it could be moved.
    cdef int current, i
    cdef uint32_t other, head, pfn, target, pages, block
    cdef bint owned
    for current in range(MAX_ORDER - 1, <int>order - 1, -1):
        for i in range(NR_FALLBACKS):
            other = FALLBACKS[wanted][i]
            if other == MIGRATETYPE_RESERVE:
                continue
            head = free_list(c, zone, current, other)
            if list_empty(c, head):
                continue
            pfn = c.mem_map[head].next
            target, owned = other, False
            if current >= PAGEBLOCK_ORDER // 2 or wanted == MIGRATETYPE_RECLAIMABLE:
                pages = move_freepages_block(c, zone, pfn, wanted)
                if pages >= 1 << (PAGEBLOCK_ORDER - 1):
                    put8(c.pageblocks[pfn >> PAGEBLOCK_ORDER].migratetype, wanted, "set_pageblock_migratetype")
                    owned = True
                target = wanted
            from_buddy(c, zone, pfn)
            if current >= PAGEBLOCK_ORDER:
                for block in range(pfn >> PAGEBLOCK_ORDER, (pfn + (1 << current)) >> PAGEBLOCK_ORDER):
                    put8(c.pageblocks[block].migratetype, wanted, "change_pageblock_range")
                owned = True
            expand(c, zone, pfn, order, current, target)
            trace(c, EVENT_MM_PAGE_ALLOC_EXTFRAG, pfn, order, current, wanted | other << 8 | owned << 16)
            return pfn
    return -1


cdef int64_t rmqueue_locked(core_t *c, uint32_t zone, uint32_t order, uint32_t migratetype) except -2:
    # __rmqueue: its own type, the fallbacks, and the reserve last.
    cdef int64_t pfn = rmqueue_smallest(c, zone, order, migratetype)
    if pfn == -1 and migratetype != MIGRATETYPE_RESERVE:
        pfn = rmqueue_fallback(c, zone, order, migratetype)
        if pfn == -1:
            pfn = rmqueue_smallest(c, zone, order, MIGRATETYPE_RESERVE)
    if pfn != -1:
        trace(c, EVENT_MM_PAGE_ALLOC_ZONE_LOCKED, <uint32_t>pfn, order, migratetype, order == 0)
        count(c, COUNTER_REFILL, 1)
    return pfn


cdef inline bint page_is_buddy(core_t *c, uint32_t zone, uint32_t pfn, uint32_t order) noexcept nogil:
    return (pfn < c.nr_pages and c.mem_map[pfn].state == PAGESTATE_BUDDY and c.mem_map[pfn].order == order
            and c.mem_map[pfn].zone == zone)


cdef int free_block(core_t *c, uint32_t zone, uint32_t pfn, uint32_t order, uint32_t migratetype) except -1:
    # __free_one_page: merge with free buddies; at the tail of its list when its next buddy is likely to come back.
    cdef uint32_t buddy, parent
    while order < MAX_ORDER - 1:
        buddy = pfn ^ (1 << order)
        if not page_is_buddy(c, zone, buddy, order):
            break
        from_buddy(c, zone, buddy)
        put8(c.mem_map[pfn].state, PAGESTATE_TAIL, "free:state")
        pfn &= buddy
        order += 1
    if order < MAX_ORDER - 2:
        parent = pfn & ~(1 << order)
        if page_is_buddy(c, zone, parent ^ (1 << (order + 1)), order + 1):
            return to_buddy(c, zone, pfn, order, migratetype, True)
    return to_buddy(c, zone, pfn, order, migratetype, False)


cdef inline void pages_came_back(core_t *c, uint32_t zone) noexcept nogil:
    c.zones[zone].all_unreclaimable = 0
    c.zones[zone].pages_scanned = 0


# --- compaction's half: free pages taken out of a pageblock, one by one

cdef int split_free_page(core_t *c, uint32_t zone, uint32_t pfn) except -1:
    # A free block becomes single allocated pages, watermarks obeyed as if it were being allocated; how many.
    cdef uint32_t order = c.mem_map[pfn].order
    cdef uint32_t at
    if not zone_watermark_ok(c, zone, 0, c.zones[zone].wmark[WMARK_LOW] + (<int64_t>1 << order), 0, 0):
        return 0
    from_buddy(c, zone, pfn)
    mod_zone_page_state(c, zone, -(<int64_t>1 << order))
    for at in range(pfn, pfn + (1 << order)):
        put8(c.mem_map[at].state, PAGESTATE_ALLOCATED, "split_free_page:state")
        put8(c.mem_map[at].order, 0, "split_free_page:order")
        put32(c.mem_map[at].owner, OWNER_ISOLATED, "split_free_page:owner")
    if order >= PAGEBLOCK_ORDER - 1:
        for at in range(pfn >> PAGEBLOCK_ORDER, ((pfn + (1 << order) - 1) >> PAGEBLOCK_ORDER) + 1):
            put8(c.pageblocks[at].migratetype, MIGRATETYPE_MOVABLE, "split_free_page:set_pageblock_migratetype")
    return 1 << order


cdef list isolate_freepages_block(core_t *c, uint32_t zone, uint32_t pfn, uint32_t end):
    cdef list pages = []
    cdef int got, number
    while pfn < end:
        got = 0
        if c.mem_map[pfn].state == PAGESTATE_BUDDY and c.mem_map[pfn].zone == zone:
            got = split_free_page(c, zone, pfn)
            for number in range(got):
                pages.append(pfn + number)
        pfn += got if got else 1
    return pages
