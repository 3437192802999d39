/* A process that goes back to where it was: its memory as of then, its registers, nothing else.
 *
 * What fork gives, without a new process: explored machines begin each schedule from the same state of their CPUs'
 * processes, and a copy made by fork costs a page fault for each page that it writes (some thousand a schedule).  Here
 * the pages that were written are copied back instead, from a store made once.
 *
 * Context: one thread, at both ends.  Descriptors opened since are closed, mappings made since are unmapped, those
 * unmapped since are mapped again.  Shared mappings are left as they are.  Once memory goes back nothing here calls into
 * libc, whose own memory is part of it, but memcpy and memset, which keep nothing.
 */
#pragma once
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define REWIND_RANGES 1024
#define REWIND_PAGE 4096ul
#define REWIND_FDS 1024
#define REWIND_AT_ONCE 512 /* entries of /proc/self/pagemap */

struct rewind_range {
    char *start;
    size_t size;
    int goes_back; /* private and writable: its content is in the store */
    size_t stored; /* place of its first page in the store */
};

struct rewind {
    ucontext_t here, mending;
    volatile int again; /* how often it has gone back */
    int count, pagemap, top_fd;
    long brk;
    struct rewind_range then[REWIND_RANGES], now[REWIND_RANGES];
    char *store;
    uint8_t *holds;
    uint64_t entries[REWIND_AT_ONCE];
    uint8_t had_fd[REWIND_FDS];
    char text[1 << 18];
    char stack[1 << 16] __attribute__((aligned(64)));
};

static struct rewind *em_rewind; /* lies in a shared mapping: it does not go back */

static long rewind_call(long number, long a, long b, long c, long d, long e, long f)
{
#if defined(__x86_64__)
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
    return x0;
#else
    return -1;
#endif
}

/* The mappings of this process; how many, -1 when there are too many. */
static int rewind_mappings(struct rewind *r, struct rewind_range *ranges)
{
    long fd = rewind_call(SYS_openat, AT_FDCWD, (long)"/proc/self/maps", O_RDONLY | O_CLOEXEC, 0, 0, 0);
    size_t length = 0;
    int count = 0;
    long got;
    if (fd < 0)
        return -1;
    while ((got = rewind_call(SYS_read, fd, (long)(r->text + length), sizeof r->text - length, 0, 0, 0)) > 0)
        length += (size_t)got;
    rewind_call(SYS_close, fd, 0, 0, 0, 0, 0);
    if (got < 0 || length == sizeof r->text)
        return -1;
    for (char *line = r->text, *end = r->text + length; line < end; count++) {
        uintptr_t bound[2] = {0, 0};
        char *letter = line;
        int special = 0;
        if (count == REWIND_RANGES)
            return -1;
        for (int part = 0; part < 2; part++, letter++)
            for (; *letter != '-' && *letter != ' '; letter++)
                bound[part] = bound[part] << 4 | (uintptr_t)(*letter <= '9' ? *letter - '0' : *letter - 'a' + 10);
        char *rights = letter;
        for (; line < end && *line != '\n'; line++)
            special |= line[0] == '[' && line[1] == 'v'; /* [vdso], [vvar], [vsyscall] */
        line++;
        ranges[count].start = (char *)bound[0];
        ranges[count].size = bound[1] - bound[0];
        ranges[count].goes_back = rights[0] == 'r' && rights[1] == 'w' && rights[3] == 'p' && !special;
        ranges[count].stored = 0;
    }
    return count;
}


static inline int rewind_is_zero(const char *page)
{
    for (size_t place = 0; place < REWIND_PAGE; place += 8)
        if (*(const uint64_t *)(page + place))
            return 0;
    return 1;
}

/* The content of what goes back, into a mapping that does not: behind it a byte a page, whether there is any. */
static int rewind_store(struct rewind *r)
{
    size_t size = 0;
    r->count = rewind_mappings(r, r->then);
    for (int number = 0; number < r->count; number++)
        if (r->then[number].goes_back)
            size += r->then[number].size;
    r->store = mmap(NULL, size + size / REWIND_PAGE, PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (r->count < 0 || r->store == MAP_FAILED)
        return -1;
    r->holds = (uint8_t *)r->store + size;
    r->count = rewind_mappings(r, r->then); /* once more: now the store itself is among them */
    size = 0;
    for (int number = 0; number < r->count; number++) {
        struct rewind_range *range = &r->then[number];
        if (!range->goes_back)
            continue;
        range->stored = size;
        for (size_t offset = 0; offset < range->size; offset += REWIND_PAGE, size += REWIND_PAGE)
            if ((r->holds[size / REWIND_PAGE] = !rewind_is_zero(range->start + offset)))
                memcpy(r->store + size, range->start + offset, REWIND_PAGE);
    }
    return r->count < 0 ? -1 : 0;
}

/* Calls ``act`` for every part of ``ranges`` that lies in none of ``others``; both in the order of their addresses. */
static void rewind_difference(const struct rewind_range *ranges, int count, const struct rewind_range *others, int nothers,
                              void (*act)(char *start, size_t size, const struct rewind_range *of))
{
    int other = 0;
    for (int number = 0; number < count; number++) {
        char *place = ranges[number].start, *end = place + ranges[number].size;
        while (place < end) {
            while (other < nothers && others[other].start + others[other].size <= place)
                other++;
            if (other == nothers || others[other].start >= end) {
                act(place, (size_t)(end - place), &ranges[number]);
                break;
            }
            if (others[other].start > place)
                act(place, (size_t)(others[other].start - place), &ranges[number]);
            place = others[other].start + others[other].size;
        }
    }
}

static void rewind_unmap(char *start, size_t size, const struct rewind_range *of)
{
    (void)of;
    rewind_call(SYS_munmap, (long)start, (long)size, 0, 0, 0, 0);
}

static void rewind_map(char *start, size_t size, const struct rewind_range *of)
{
    if (of->goes_back) /* a mapping of a file that is gone by then comes back as plain memory with its content */
        rewind_call(SYS_mmap, (long)start, (long)size, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

/* Every page that is not what it was.  One that is here and that others have too is: to write it would have made it
 * this process's own.  One that is not here reads as zero, or as its file. */
static void rewind_pages(struct rewind *r, const struct rewind_range *range)
{
    size_t pages = range->size / REWIND_PAGE;
    for (size_t first = 0; first < pages; first += REWIND_AT_ONCE) {
        size_t count = pages - first < REWIND_AT_ONCE ? pages - first : REWIND_AT_ONCE;
        rewind_call(SYS_pread64, r->pagemap, (long)r->entries, (long)(count * 8),
                    (long)(((uintptr_t)range->start / REWIND_PAGE + first) * 8), 0, 0);
        for (size_t page = 0; page < count; page++) {
            size_t offset = (first + page) * REWIND_PAGE, place = range->stored + offset;
            int here = r->entries[page] >> 63 & 1, own = r->entries[page] >> 56 & 1;
            int holds = r->holds[place / REWIND_PAGE];
            if (here ? own : holds)
                holds ? memcpy(range->start + offset, r->store + place, REWIND_PAGE)
                      : memset(range->start + offset, 0, REWIND_PAGE);
        }
    }
}

static void rewind_descriptors(const struct rewind *r)
{
    rewind_call(SYS_close_range, r->top_fd + 1, ~0u, 0, 0, 0, 0);
    for (int fd = 0; fd < r->top_fd; fd++)
        if (!r->had_fd[fd])
            rewind_call(SYS_close, fd, 0, 0, 0, 0, 0);
}

/* On a stack that does not go back. */
static void rewind_all(void)
{
    struct rewind *r = em_rewind;
    int count;
    rewind_call(SYS_brk, r->brk, 0, 0, 0, 0, 0);
    count = rewind_mappings(r, r->now);
    if (count < 0)
        rewind_call(SYS_exit_group, 1, 0, 0, 0, 0, 0);
    rewind_difference(r->now, count, r->then, r->count, rewind_unmap);
    rewind_difference(r->then, r->count, r->now, count, rewind_map);
    for (int number = 0; number < r->count; number++)
        if (r->then[number].goes_back)
            rewind_pages(r, &r->then[number]);
    rewind_descriptors(r);
    r->again++;
    setcontext(&r->here);
}

/* Whether this host tells of each page whose it is, and the calls are known. */
static int em_can_rewind(void)
{
#if defined(__x86_64__) || defined(__aarch64__)
    return access("/proc/self/pagemap", R_OK) == 0 && sysconf(_SC_PAGESIZE) == (long)REWIND_PAGE;
#else
    return 0;
#endif
}

/* 0 at first; then, each time that em_rewind_back is called, how often that was.  -1: it cannot be done here. */
static __attribute__((noinline)) int em_rewind_here(void)
{
    struct rewind *r = mmap(NULL, sizeof *r, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (r == MAP_FAILED)
        return -1;
    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0); /* a page of a large folio does not say whether it is this process's own */
    r->pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    if (r->pagemap < 0)
        return -1;
    for (int fd = 0; fd < REWIND_FDS; fd++)
        if ((r->had_fd[fd] = fcntl(fd, F_GETFD) >= 0))
            r->top_fd = fd;
    r->brk = rewind_call(SYS_brk, 0, 0, 0, 0, 0, 0);
    em_rewind = r;
    getcontext(&r->here);
    if (em_rewind->again)
        return em_rewind->again;
    if (rewind_store(em_rewind) < 0) {
        em_rewind = NULL;
        return -1;
    }
    return 0;
}

static int em_rewind_threads(void)
{
    struct stat tasks;
    return stat("/proc/self/task", &tasks) ? -1 : (int)tasks.st_nlink - 2;
}

/* Returns from em_rewind_here.  Context: that has not returned -1. */
static void em_rewind_back(void)
{
    struct rewind *r = em_rewind;
    getcontext(&r->mending);
    r->mending.uc_stack.ss_sp = r->stack;
    r->mending.uc_stack.ss_size = sizeof r->stack;
    r->mending.uc_link = NULL;
    sigfillset(&r->mending.uc_sigmask);
    makecontext(&r->mending, rewind_all, 0);
    setcontext(&r->mending);
}
