/* The batch loop's fast path once more, in plain C: what the compiled core is measured against.
 *
 * The same machine: it runs on an image of the emulated RAM, in the structs that the core is built with.  The same lists,
 * page records, counters, checks and trace records; the same programs, storm and replay, as far as the fast path goes.
 * Whatever would need the emulated kernel ends a run (NEEDS_KERNEL), and what the core answers with BadPage ends it too
 * (BAD_PAGE).  After the same operations both have left the same bytes: a test holds them to that.
 */
#include "machine.h"
#include "layout.h"

#define BAD_PAGE (-3)
#define NEEDS_KERNEL (-2)
#define NO_PAGE (-1)
#define GFP_USER (GFP_WAIT | GFP_IO | GFP_FS)

struct record {
    uint64_t time;
    uint32_t seq;
    uint8_t event, flags;
    uint16_t task;
    uint32_t a, b, c, d;
};

struct cpu {
    em_header *header;
    em_cpu *me;
    em_zone *zones;
    em_pcp *pcps;
    em_page *mem_map;
    em_pageblock *pageblocks;
    em_task *tasks;
    em_held *held;
    em_replay_stream *streams;
    em_replay_op *ops;
    em_slot *slots;
    em_ring_header *ring;
    struct record *records;
    uint64_t looked[VECTOR_NR], looked_ns;
    uint32_t number, nr_pages, nr_zones, nr_tasks, slowest_line;
    int traced;
};

/* --- trace -------------------------------------------------------------------------------------------------------- */

static inline void trace(struct cpu *c, int event, uint32_t a, uint32_t b, uint32_t d2, uint32_t d3)
{
    if (!c->traced)
        return;
    em_ring_header *ring = c->ring;
    if (c->header->frozen && ring->tail_left-- == 0) {
        ring->tail_left = 0;
        return;
    }
    uint64_t position = ring->written;
    struct record *record = c->records + (position & (ring->size - 1));
    if (position >= ring->size && position - ring->spilled >= ring->size)
        ring->overwritten[record->event & 63]++;
    record->seq = 0;
    em_release();
    uint32_t depth = c->tasks[c->me->current].preempt_count;
    record->time = em_now();
    record->event = event;
    record->flags = (c->me->irqs_off ? 1 : 0) | (c->me->need_resched ? 2 : 0) | (c->me->hardirq ? 4 : 0)
                    | (depth < 15 ? depth : 15) << 4;
    record->task = c->me->current;
    record->a = a, record->b = b, record->c = d2, record->d = d3;
    em_store(&record->seq, 4, (uint32_t)(position + 1));
    em_store(&ring->written, 8, position + 1);
}

/* --- lists -------------------------------------------------------------------------------------------------------- */

static inline uint32_t pcp_list(struct cpu *c, uint32_t zone, uint32_t type)
{
    return c->nr_pages + c->nr_zones * MAX_ORDER * MIGRATETYPE_TYPES + c->nr_zones
           + (c->number * c->nr_zones + zone) * MIGRATETYPE_PCPTYPES + type;
}

static inline void list_add(struct cpu *c, uint32_t entry, uint32_t head)
{
    em_page *map = c->mem_map;
    uint32_t after = map[head].next;
    map[entry].prev = head;
    map[entry].next = after;
    map[after].prev = entry;
    map[head].next = entry;
}

static inline int list_del(struct cpu *c, uint32_t entry)
{
    em_page *map = c->mem_map;
    uint32_t after = map[entry].next, before = map[entry].prev;
    if (map[after].prev != entry || map[before].next != entry)
        return BAD_PAGE;
    map[after].prev = before;
    map[before].next = after;
    return 0;
}

/* --- pages -------------------------------------------------------------------------------------------------------- */

static inline int watermark_ok(struct cpu *c, em_zone *zone, int64_t mark, uint32_t classzone)
{
    int64_t pages = (int64_t)em_load(&zone->free_pages, 8);
    return (pages > 0 ? pages : 0) - 2 > mark + zone->lowmem_reserve[classzone];
}

static inline int64_t take_pcp(struct cpu *c, uint32_t zone, uint32_t type, int cold)
{
    uint32_t head = pcp_list(c, zone, type);
    em_pcp *pcp = &c->pcps[c->number * c->nr_zones + zone];
    if (c->mem_map[head].next == head)
        return NO_PAGE;
    uint32_t pfn = cold ? c->mem_map[head].prev : c->mem_map[head].next;
    if (c->mem_map[pfn].state != PAGESTATE_PCP || c->mem_map[pfn].owner != c->number || list_del(c, pfn))
        return BAD_PAGE;
    pcp->count--;
    return pfn;
}

static inline void prep_new_page(struct cpu *c, uint32_t pfn, uint32_t type, uint32_t gfp, uint32_t task)
{
    c->mem_map[pfn].state = PAGESTATE_ALLOCATED;
    c->mem_map[pfn].order = 0;
    c->mem_map[pfn].owner = task;
    if (task < c->nr_tasks)
        em_add(&c->tasks[task].rss, 4, 1);
    trace(c, EVENT_MM_PAGE_ALLOC, pfn, 0, type, gfp);
    c->me->counters[COUNTER_ALLOC]++;
}

static inline int free_prepare(struct cpu *c, uint32_t pfn)
{
    em_page *page = &c->mem_map[pfn];
    if (pfn >= c->nr_pages || page->state != PAGESTATE_ALLOCATED || page->order)
        return BAD_PAGE;
    trace(c, EVENT_MM_PAGE_FREE, pfn, 0, 0, 0);
    c->me->counters[COUNTER_FREE]++;
    if (page->owner < c->nr_tasks)
        em_add(&c->tasks[page->owner].rss, 4, (uint64_t)-1);
    page->state = PAGESTATE_TAIL;
    return c->pageblocks[pfn >> PAGEBLOCK_ORDER].migratetype;
}

static inline void give_pcp(struct cpu *c, uint32_t pfn, uint32_t type)
{
    uint32_t zone = c->mem_map[pfn].zone;
    c->mem_map[pfn].state = PAGESTATE_PCP;
    c->mem_map[pfn].order = 0;
    c->mem_map[pfn].migratetype = type;
    c->mem_map[pfn].owner = c->number;
    list_add(c, pfn, pcp_list(c, zone, type));
    c->pcps[c->number * c->nr_zones + zone].count++;
}

static inline int64_t fast_alloc(struct cpu *c, uint32_t task, uint32_t gfp, uint32_t type)
{
    uint32_t zone = c->nr_zones - 1;
    if (gfp & (GFP_DMA | GFP_DMA32) || !watermark_ok(c, &c->zones[zone], c->zones[zone].wmark[WMARK_LOW], zone))
        return NO_PAGE;
    int64_t pfn = take_pcp(c, zone, type, (gfp & GFP_COLD) != 0);
    if (pfn >= 0)
        prep_new_page(c, (uint32_t)pfn, type, gfp, task);
    return pfn;
}

static inline int fast_free(struct cpu *c, uint32_t pfn)
{
    if (pfn >= c->nr_pages || c->mem_map[pfn].order)
        return NEEDS_KERNEL;
    em_pcp *pcp = &c->pcps[c->number * c->nr_zones + c->mem_map[pfn].zone];
    if (pcp->count + 1 >= pcp->high)
        return NEEDS_KERNEL;
    uint32_t type = c->pageblocks[pfn >> PAGEBLOCK_ORDER].migratetype;
    if (type >= MIGRATETYPE_PCPTYPES)
        return NEEDS_KERNEL;
    if (free_prepare(c, pfn) < 0)
        return BAD_PAGE;
    give_pcp(c, pfn, type);
    return 0;
}

/* --- programs ----------------------------------------------------------------------------------------------------- */

static inline int before_operation(struct cpu *c)
{
    if (c->header->state >= MACHINESTATE_STOPPING)
        return 1;
    if (c->me->pending[0] | c->me->pending[1] | c->me->pending[2] | c->me->pending[3]) {
        int news = 0;
        for (int vector = 0; vector < VECTOR_NR; vector++)
            news |= c->me->pending[vector] && c->me->pending[vector] != c->looked[vector];
        if (news || em_now() - c->looked_ns > 100000)
            return 1;
    }
    if (c->me->need_resched)
        return 1;
    return c->header->trace_all && c->traced && c->ring->size - (c->ring->written - c->ring->spilled) < 256;
}

static inline uint64_t next_random(em_task *task)
{
    uint64_t x = task->rng ? task->rng : 0x9E3779B97F4A7C15u;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    task->rng = x;
    return x * 0x2545F4914F6CDD1Du >> 16;
}

enum { TARGET, HIGH_ORDERS, LARGEST, GIVES, FILES, UNMOVABLE, RECLAIMABLE, MOVES };

static inline uint32_t random_type(em_task *task, uint64_t r)
{
    r %= 1000;
    if (r < task->user[UNMOVABLE])
        return MIGRATETYPE_UNMOVABLE;
    return r < task->user[UNMOVABLE] + task->user[RECLAIMABLE] ? MIGRATETYPE_RECLAIMABLE : MIGRATETYPE_MOVABLE;
}

static inline int storm_alloc(struct cpu *c, uint32_t number, em_task *task, uint64_t r)
{
    uint32_t type = random_type(task, r >> 20);
    if (task->user[LARGEST] && r % 1000 < task->user[HIGH_ORDERS])
        return NEEDS_KERNEL;
    if ((r >> 5) % 1000 < task->user[FILES])
        return NEEDS_KERNEL;
    int64_t pfn = fast_alloc(c, number, GFP_USER, type);
    if (pfn < 0)
        return pfn == NO_PAGE ? NEEDS_KERNEL : BAD_PAGE;
    em_held *entry = &c->held[(uint64_t)number * HELD_PAGES + task->held];
    entry->pfn = (uint32_t)pfn, entry->order = 0;
    task->held++;
    task->position++;
    return 0;
}

static inline int storm_free(struct cpu *c, uint32_t number, em_task *task, uint64_t r)
{
    em_held *mine = &c->held[(uint64_t)number * HELD_PAGES];
    uint32_t choice = (uint32_t)(r % task->held), pfn = mine[choice].pfn, order = mine[choice].order;
    task->held--;
    mine[choice] = mine[task->held];
    if (c->header->nr_slots && (r >> 20) % 1000 < task->user[GIVES]) {
        uint32_t other = (uint32_t)em_xchg(&c->slots[(r >> 30) % c->header->nr_slots].page, 4, pfn + 1);
        if (!other) {
            task->position++;
            return 0;
        }
        pfn = other - 1;
        order = c->mem_map[pfn].order;
    }
    int result = order ? NEEDS_KERNEL : fast_free(c, pfn);
    if (!result)
        task->position++;
    return result;
}

static inline int storm_step(struct cpu *c, uint32_t number, em_task *task)
{
    uint64_t r = next_random(task);
    int64_t target = (int64_t)task->user[TARGET], lean;
    if (task->end && task->position >= task->end)
        return 1;
    if (target > task->held_limit)
        target = task->held_limit;
    if (task->user[MOVES] && next_random(task) % 1000000 < task->user[MOVES])
        return NEEDS_KERNEL;
    lean = 512 + (target - (int64_t)task->held) * 512 / (target + 1);
    if (!task->held || (task->held < task->held_limit && (int64_t)(r & 1023) < (lean > 64 ? lean : 64)))
        return storm_alloc(c, number, task, r >> 10);
    return storm_free(c, number, task, r >> 10);
}

static inline int somebody_waits(struct cpu *c)
{
    em_fence();
    return c->header->replay_waiters != 0;
}

static uint32_t minimum_line(struct cpu *c)
{
    uint32_t least = LINE_END;
    for (uint32_t each = 0; each < c->header->nr_streams; each++) {
        uint32_t line = (uint32_t)em_load(&c->streams[each].next_line, 4);
        least = line < least ? line : least;
    }
    return least;
}

static inline int replay_step(struct cpu *c, uint32_t number, em_task *task)
{
    em_replay_stream *stream = &c->streams[task->stream];
    uint32_t before = stream->next_line;
    if (task->position >= stream->count) {
        em_store(&stream->next_line, 4, LINE_END);
        return 1;
    }
    em_replay_op *op = &c->ops[stream->first + task->position];
    uint32_t line = op->line;
    if (line != before) {
        int tell = before < c->header->coordinator_line && line >= c->header->coordinator_line;
        em_store(&stream->next_line, 4, line);
        if (c->header->replay_waiters && !(task->position & 63))
            tell |= somebody_waits(c);
        if (tell)
            return NEEDS_KERNEL;
    }
    if (c->header->window) {
        if ((uint64_t)line > (uint64_t)c->header->coordinator_line + c->header->window)
            return NEEDS_KERNEL;
        if ((uint64_t)line > (uint64_t)c->slowest_line + c->header->window) {
            c->slowest_line = minimum_line(c);
            if ((uint64_t)line > (uint64_t)c->slowest_line + c->header->window)
                return NEEDS_KERNEL;
        }
    }
    if (c->header->pace_permille)
        return NEEDS_KERNEL;
    int tell = 0;
    if (op->kind == OPKIND_ALLOC && op->order == 0) {
        int64_t pfn = fast_alloc(c, number, op->gfp, op->migratetype);
        if (pfn < 0)
            return pfn == NO_PAGE ? NEEDS_KERNEL : BAD_PAGE;
        em_store(&c->slots[op->slot].page, 4, (uint32_t)(pfn + 1));
        tell = somebody_waits(c);
    } else if (op->kind == OPKIND_FREE) {
        uint32_t page = (uint32_t)em_load(&c->slots[op->slot].page, 4);
        if (page == SLOT_EMPTY || page == SLOT_FAILED)
            return NEEDS_KERNEL;
        page = page - 1 + ((uint32_t)op->pieces << op->order);
        int result = op->order ? NEEDS_KERNEL : fast_free(c, page);
        if (result)
            return result;
    } else
        return NEEDS_KERNEL;
    task->position++;
    return tell ? NEEDS_KERNEL : 0;
}

/* --- what Python calls -------------------------------------------------------------------------------------------- */

static void attach(struct cpu *c, char *base, char *ring, char *records, uint32_t number)
{
    em_header *header = (em_header *)base;
#define REGION(type, name) ((type *)(base + header->bases[name]))
    *c = (struct cpu){
        .header = header, .me = REGION(em_cpu, REGION_CPUS) + number, .zones = REGION(em_zone, REGION_ZONES),
        .pcps = REGION(em_pcp, REGION_PCPS), .mem_map = REGION(em_page, REGION_MEM_MAP),
        .pageblocks = REGION(em_pageblock, REGION_PAGEBLOCKS), .tasks = REGION(em_task, REGION_TASKS),
        .held = REGION(em_held, REGION_HELD_PAGES), .streams = REGION(em_replay_stream, REGION_STREAMS),
        .ops = REGION(em_replay_op, REGION_OPS), .slots = REGION(em_slot, REGION_SLOTS),
        .ring = (em_ring_header *)ring, .records = (struct record *)records, .traced = ring != NULL,
        .number = number, .nr_pages = header->nr_pages, .nr_zones = header->nr_zones, .nr_tasks = header->nr_tasks,
    };
    if (c->traced && !c->ring->written)
        c->ring->tail_left = 64;
}

/* Operations of a task as CPU 0: how many were done, or why none can be (negative). */
int64_t run(char *base, char *ring, char *records, uint32_t number, int64_t operations)
{
    struct cpu c;
    int64_t done = 0;
    int result = 0;
    attach(&c, base, ring, records, 0);
    em_task *task = &c.tasks[number];
    uint64_t first = task->position;
    c.me->user = 1;
    while (done < operations && !(result = before_operation(&c))) {
        result = task->program == PROGRAM_REPLAY ? replay_step(&c, number, task) : storm_step(&c, number, task);
        if (result)
            break;
        done++;
    }
    c.me->counters[COUNTER_OPERATIONS] += task->position - first;
    c.me->user = 0;
    return result < 0 ? result : done;
}

/* Pairs through four functions that are called, not inlined: as the leaves are called one by one. */
#define CALLED __attribute__((noinline, noclone)) static

CALLED int64_t called_take(struct cpu *c, uint32_t zone, uint32_t type, int cold)
{
    return take_pcp(c, zone, type, cold);
}

CALLED void called_prep(struct cpu *c, uint32_t pfn, uint32_t type, uint32_t gfp, uint32_t task)
{
    prep_new_page(c, pfn, type, gfp, task);
}

CALLED int called_prepare(struct cpu *c, uint32_t pfn)
{
    return free_prepare(c, pfn);
}

CALLED void called_give(struct cpu *c, uint32_t pfn, uint32_t type)
{
    give_pcp(c, pfn, type);
}

int64_t pairs_by_call(char *base, char *ring, char *records, uint32_t task, int64_t pairs)
{
    struct cpu c;
    attach(&c, base, ring, records, 0);
    for (int64_t done = 0; done < pairs; done++) {
        int64_t pfn = called_take(&c, c.nr_zones - 1, MIGRATETYPE_MOVABLE, 0);
        if (pfn < 0)
            return pfn;
        called_prep(&c, (uint32_t)pfn, MIGRATETYPE_MOVABLE, GFP_USER, task);
        int type = called_prepare(&c, (uint32_t)pfn);
        if (type < 0)
            return type;
        called_give(&c, (uint32_t)pfn, type);
    }
    return pairs;
}

int64_t write_records(char *base, char *ring, char *records, uint32_t task, int64_t count)
{
    struct cpu c;
    attach(&c, base, ring, records, 0);
    for (int64_t done = 0; done < count; done++)
        trace(&c, EVENT_MM_PAGE_FREE, (uint32_t)done, 0, 0, 0);
    return count;
}
