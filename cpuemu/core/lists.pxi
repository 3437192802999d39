# Doubly linked lists of pages: indices into mem_map; the heads are records behind the last page.

cdef inline uint32_t free_list(core_t *c, uint32_t zone, uint32_t order, uint32_t migratetype) noexcept nogil:
    return c.nr_pages + (zone * MAX_ORDER + order) * MIGRATETYPE_TYPES + migratetype


cdef inline uint32_t lru_list(core_t *c, uint32_t zone) noexcept nogil:
    return c.nr_pages + c.nr_zones * MAX_ORDER * MIGRATETYPE_TYPES + zone


cdef inline uint32_t pcp_list(core_t *c, uint32_t cpu, uint32_t zone, uint32_t migratetype) noexcept nogil:
    return (c.nr_pages + c.nr_zones * MAX_ORDER * MIGRATETYPE_TYPES + c.nr_zones
            + (cpu * c.nr_zones + zone) * MIGRATETYPE_PCPTYPES + migratetype)


cdef inline em_pcp *pcp_of(core_t *c, uint32_t cpu, uint32_t zone) noexcept nogil:
    return &c.pcps[cpu * c.nr_zones + zone]


cdef inline int list_insert(core_t *c, uint32_t entry, uint32_t before, uint32_t after) except -1:
    put32(c.mem_map[entry].prev, before, "list_add:entry.prev")
    put32(c.mem_map[entry].next, after, "list_add:entry.next")
    put32(c.mem_map[after].prev, entry, "list_add:next.prev")
    put32(c.mem_map[before].next, entry, "list_add:prev.next")
    return 0


cdef inline int list_add(core_t *c, uint32_t entry, uint32_t head) except -1:
    return list_insert(c, entry, head, c.mem_map[head].next)


cdef inline int list_add_tail(core_t *c, uint32_t entry, uint32_t head) except -1:
    return list_insert(c, entry, c.mem_map[head].prev, head)


cdef inline int list_del(core_t *c, uint32_t entry) except -1:
    cdef uint32_t after = c.mem_map[entry].next
    cdef uint32_t before = c.mem_map[entry].prev
    if c.mem_map[after].prev != entry or c.mem_map[before].next != entry:
        raise ListCorruption(f"list_del corruption: page {entry:#x} is not where its neighbours {before:#x} and {after:#x} say")
    put32(c.mem_map[after].prev, before, "list_del:next.prev")
    put32(c.mem_map[before].next, after, "list_del:prev.next")
    return 0


cdef inline bint list_empty(core_t *c, uint32_t head) noexcept nogil:
    return c.mem_map[head].next == head
