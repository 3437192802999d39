# Per-CPU page lists (Linux: mm/page_alloc.c, v3.2).  Context: interrupts off on the list's CPU, or that CPU is dead.

cdef inline int put_on_pcp(core_t *c, uint32_t pfn, uint32_t migratetype) except -1:
    put8(c.mem_map[pfn].state, PAGESTATE_PCP, "pcp:state")
    put8(c.mem_map[pfn].order, 0, "pcp:order")
    put8(c.mem_map[pfn].migratetype, migratetype, "pcp:set_page_private")
    put32(c.mem_map[pfn].owner, c.cpu, "pcp:owner")
    return 0


cdef object not_listed(core_t *c, uint32_t pfn, uint32_t cpu):
    kind = DoubleAlloc if c.mem_map[pfn].state == PAGESTATE_ALLOCATED else BadPage
    return kind(f"page {pfn:#x} is on a list of cpu {cpu} but says {STATES[c.mem_map[pfn].state]}, "
                f"owner {c.mem_map[pfn].owner}")


cdef int refill(core_t *c, uint32_t zone, uint32_t migratetype, int wanted, bint cold) except -1:
    # rmqueue_bulk: each page goes behind the one before it, so they come out in ascending order.
    cdef uint32_t place = pcp_list(c, c.cpu, zone, migratetype)
    cdef em_pcp *pcp = pcp_of(c, c.cpu, zone)
    cdef int64_t pfn
    cdef int got = 0
    while got < wanted:
        pfn = rmqueue_locked(c, zone, 0, migratetype)
        if pfn == -1:
            break
        put_on_pcp(c, <uint32_t>pfn, migratetype)
        if cold:
            list_add_tail(c, <uint32_t>pfn, place)
        else:
            list_add(c, <uint32_t>pfn, place)
        place = <uint32_t>pfn
        got += 1
    puti32(pcp.count, pcp.count + got, "rmqueue_bulk:pcp.count")
    mod_zone_page_state(c, zone, -got)
    trace_pages(c, c.cpu, zone, got, pcp.count)
    return got


cdef inline int64_t take_pcp(core_t *c, uint32_t zone, uint32_t migratetype, bint cold) except -2:
    cdef uint32_t head = pcp_list(c, c.cpu, zone, migratetype)
    cdef em_pcp *pcp = pcp_of(c, c.cpu, zone)
    cdef uint32_t pfn
    if list_empty(c, head):
        return -1
    pfn = c.mem_map[head].prev if cold else c.mem_map[head].next
    if c.mem_map[pfn].state != PAGESTATE_PCP or c.mem_map[pfn].owner != c.cpu:
        raise not_listed(c, pfn, c.cpu)
    list_del(c, pfn)
    puti32(pcp.count, pcp.count - 1, "buffered_rmqueue:pcp.count")
    return pfn


cdef inline int give_pcp(core_t *c, uint32_t pfn, uint32_t migratetype, bint cold) except? -1:
    cdef uint32_t zone = c.mem_map[pfn].zone
    cdef uint32_t head = pcp_list(c, c.cpu, zone, migratetype)
    cdef em_pcp *pcp = pcp_of(c, c.cpu, zone)
    put_on_pcp(c, pfn, migratetype)
    if cold:
        list_add_tail(c, pfn, head)
    else:
        list_add(c, pfn, head)
    puti32(pcp.count, pcp.count + 1, "free_hot_cold_page:pcp.count")
    return pcp.count


cdef int64_t free_bulk(core_t *c, uint32_t owner, uint32_t zone, int wanted) except -1:
    # free_pcppages_bulk: round robin over the types; a list found alone after two empty ones gives all the rest.  How
    # many there were: fewer than wanted when all lists are empty.  The list's count is the caller's to lower.
    cdef int left = wanted
    cdef int rounds = 0
    cdef int empty
    cdef uint32_t migratetype = 0
    cdef uint32_t head, pfn
    pages_came_back(c, zone)
    while left:
        empty = 0
        while empty < MIGRATETYPE_PCPTYPES:
            rounds += 1
            migratetype += 1
            if migratetype == MIGRATETYPE_PCPTYPES:
                migratetype = 0
            head = pcp_list(c, owner, zone, migratetype)
            if not list_empty(c, head):
                break
            empty += 1
        if empty == MIGRATETYPE_PCPTYPES:
            break
        if rounds == MIGRATETYPE_PCPTYPES:
            rounds = left
        while True:
            pfn = c.mem_map[head].prev
            if c.mem_map[pfn].state != PAGESTATE_PCP or c.mem_map[pfn].owner != owner:
                raise not_listed(c, pfn, owner)
            list_del(c, pfn)
            put8(c.mem_map[pfn].state, PAGESTATE_TAIL, "free_pcppages_bulk:state")
            trace(c, EVENT_MM_PAGE_PCPU_DRAIN, pfn, 0, c.mem_map[pfn].migratetype, owner)
            count(c, COUNTER_DRAIN, 1)
            free_block(c, zone, pfn, 0, c.mem_map[pfn].migratetype)
            left -= 1
            rounds -= 1
            if not left or not rounds or list_empty(c, head):
                break
    mod_zone_page_state(c, zone, wanted - left)
    trace_pages(c, owner, zone, wanted - left, pcp_of(c, owner, zone).count - (wanted - left))
    return wanted - left
