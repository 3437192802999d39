/* What Cython cannot say itself: atomics, the futex, the clock, and PUT, the store of a leaf.
 *
 * PUT is a plain store in the fast form.  In the stepped form (-DSTEPPED, same source) there is a step before every
 * PUT: a point at which another actor may look at, or change, half-done work.
 */
#pragma once
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <linux/futex.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

typedef int (*cpuemu_step_fn)(const char *label, const void *place, int size);
static cpuemu_step_fn cpuemu_step;

#ifdef STEPPED
#define PUT(place, value, label) (cpuemu_step(label, &(place), sizeof(place)) ? -1 : ((place) = (value), 0))
#else
#define PUT(place, value, label) ((place) = (value), 0)
#endif

static inline uint64_t em_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static inline uint64_t em_load(const void *p, int size)
{
    switch (size) {
    case 1: return __atomic_load_n((const uint8_t *)p, __ATOMIC_ACQUIRE);
    case 2: return __atomic_load_n((const uint16_t *)p, __ATOMIC_ACQUIRE);
    case 4: return __atomic_load_n((const uint32_t *)p, __ATOMIC_ACQUIRE);
    default: return __atomic_load_n((const uint64_t *)p, __ATOMIC_ACQUIRE);
    }
}

static inline void em_store(void *p, int size, uint64_t v)
{
    switch (size) {
    case 1: __atomic_store_n((uint8_t *)p, (uint8_t)v, __ATOMIC_RELEASE); break;
    case 2: __atomic_store_n((uint16_t *)p, (uint16_t)v, __ATOMIC_RELEASE); break;
    case 4: __atomic_store_n((uint32_t *)p, (uint32_t)v, __ATOMIC_RELEASE); break;
    default: __atomic_store_n((uint64_t *)p, v, __ATOMIC_RELEASE); break;
    }
}

#define EM_SIZED(name, body32, body64)                       \
    static inline uint64_t name(void *p, int size, uint64_t v) \
    {                                                          \
        if (size == 4) { uint32_t *w = p; (void)w; return body32; } \
        uint64_t *w = p; return body64;                        \
    }
EM_SIZED(em_xchg, __atomic_exchange_n(w, (uint32_t)v, __ATOMIC_SEQ_CST), __atomic_exchange_n(w, v, __ATOMIC_SEQ_CST))
EM_SIZED(em_add, __atomic_add_fetch(w, (uint32_t)v, __ATOMIC_SEQ_CST), __atomic_add_fetch(w, v, __ATOMIC_SEQ_CST))
EM_SIZED(em_or, __atomic_fetch_or(w, (uint32_t)v, __ATOMIC_SEQ_CST), __atomic_fetch_or(w, v, __ATOMIC_SEQ_CST))
EM_SIZED(em_andnot, __atomic_fetch_and(w, ~(uint32_t)v, __ATOMIC_SEQ_CST), __atomic_fetch_and(w, ~v, __ATOMIC_SEQ_CST))

static inline int em_cmpxchg(void *p, int size, uint64_t old, uint64_t new_)
{
    if (size == 4) {
        uint32_t o = (uint32_t)old;
        return __atomic_compare_exchange_n((uint32_t *)p, &o, (uint32_t)new_, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    }
    return __atomic_compare_exchange_n((uint64_t *)p, &old, new_, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

static inline void em_fence(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
static inline void em_release(void) { __atomic_thread_fence(__ATOMIC_RELEASE); }

static inline void em_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* The futex is the low half of the (little endian) lock word; the file is mapped shared, so it is not PRIVATE. */
static inline int em_futex_wait(void *word, uint32_t seen, int64_t timeout_us)
{
    struct timespec ts = { timeout_us / 1000000, (timeout_us % 1000000) * 1000 };
    return (int)syscall(SYS_futex, word, FUTEX_WAIT, seen, &ts, (void *)0, 0);
}

static inline void em_futex_wake(void *word, int count)
{
    syscall(SYS_futex, word, FUTEX_WAKE, count, (void *)0, (void *)0, 0);
}

static inline int em_log2(int size) { return __builtin_ctz((unsigned)size); }

static inline int em_bucket(uint64_t ns)
{
    int octave;
    if (ns < 16) return (int)ns;
    octave = 63 - __builtin_clzll(ns);
    return (octave - 3) * 16 + (int)(ns >> (octave - 4) & 15);
}
