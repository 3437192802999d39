# The machine as the leaves see it: pointers into RAM, and what the header file says in C.

cdef extern from "machine.h" nogil:
    uint64_t em_now()
    uint64_t em_load(const void *p, int size)
    void em_store(void *p, int size, uint64_t v)
    uint64_t em_xchg(void *p, int size, uint64_t v)
    uint64_t em_add(void *p, int size, uint64_t v)
    uint64_t em_or(void *p, int size, uint64_t v)
    uint64_t em_andnot(void *p, int size, uint64_t v)
    bint em_cmpxchg(void *p, int size, uint64_t old, uint64_t new)
    void em_fence()
    void em_release()
    void em_pause()
    int em_futex_wait(void *word, uint32_t seen, int64_t timeout_us)
    void em_futex_wake(void *word, int count)
    int em_bucket(uint64_t ns)
    int em_log2(int size)

cdef extern from "machine.h":
    ctypedef int (*cpuemu_step_fn)(const char *label, const void *place, int size) except -1
    cpuemu_step_fn cpuemu_step
    int put8 "PUT"(uint8_t place, uint8_t value, const char *label) except -1
    int put32 "PUT"(uint32_t place, uint32_t value, const char *label) except -1
    int puti32 "PUT"(int32_t place, int32_t value, const char *label) except -1


class BadPage(Exception):
    """A page's record, or a list of pages, is not what it must be: the emulated kernel has a bug."""


class DoubleFree(BadPage):
    """A page is freed that is free already."""


class DoubleAlloc(BadPage):
    """A page is about to be handed out, and it is allocated."""


class ListCorruption(BadPage):
    """A page's neighbours on a list do not know of it."""


class LeafError(Exception):
    """A leaf was entered without the lock, or in the context, that its words ask for (checked mode)."""


def now():
    """CLOCK_MONOTONIC in nanoseconds."""
    return em_now()


def bucket(unsigned long long ns):
    """The bucket of a ``layout.Histogram`` that a latency falls into: log-linear, 16 steps an octave."""
    return min(em_bucket(ns), <int>HISTOGRAM_BUCKETS - 1)


cdef extern from "layout.h":
    enum: VECTORS "VECTOR_NR"  # once more, as what can be the size of an array

# What one CPU's leaves need, found once.
ctypedef struct core_t:
    char *base
    em_header *header
    em_cpu *cpus
    em_cpu *me
    em_zone *zones
    em_pcp *pcps
    em_page *mem_map
    em_pageblock *pageblocks
    em_task *tasks
    em_lock *locks
    em_lock_class *lock_classes
    em_replay_stream *streams
    em_slot *slots
    em_replay_op *ops
    em_held *held
    em_histogram *histograms
    char *rings[2]
    em_ring_header *ring_headers[2]
    uint32_t cpu
    uint32_t generation
    uint32_t nr_cpus
    uint32_t nr_pages
    uint32_t nr_zones
    uint32_t nr_tasks
    uint32_t nr_slots
    uint32_t nr_streams
    bint traced
    bint checked
    bint controlled
    uint64_t looked[VECTORS]
    uint64_t looked_ns
    uint32_t slowest
    uint32_t slowest_line
    uint32_t fast_allocs
    bint fail_page_alloc
    uint32_t moved  # pages between lists since the last cpuemu_zone_pages
