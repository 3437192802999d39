/* The lost wake-up: a sleeper that says "I sleep" and looks at the word once more, a waker that stores the word and
 * looks whether somebody sleeps.  Both see nothing of each other = a wake-up is lost.  With the barriers of
 * cpuemu/core/machine.h that cannot be; built with -DMUTANT they are left out.
 *
 *     wakeup SECONDS [ENOUGH]    prints rounds and lost wake-ups; ends early after ENOUGH lost ones
 */
#include "../../cpuemu/core/machine.h"
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

static struct { _Alignas(64) uint32_t value; } sleeping, word, saw_word, saw_sleeper, turn[2], stop, busy[12];

#ifdef MUTANT
#define FENCE() __asm__ volatile("" ::: "memory")
static void store(uint32_t *p, uint32_t v) { __atomic_store_n(p, v, __ATOMIC_RELEASE); }
#else
#define FENCE() em_fence()
static void store(uint32_t *p, uint32_t v) { em_xchg(p, 4, v); }
#endif

/* Lines that both write: a store after these waits in the store buffer, and a load after that store does not. */
static void fill_store_buffer(uint32_t round)
{
    for (int line = 0; line < 12; line++)
        em_store(&busy[line].value, 4, round);
}

/* Both meet before each half of a round. */
static void meet(int me, uint32_t round)
{
    int spins = 0;
    em_store(&turn[me].value, 4, round);
    while (em_load(&turn[1 - me].value, 4) < round && !em_load(&stop.value, 4))
        if (++spins > 2000)
            sched_yield(); /* the other one is not running: a busy host */
}

static void *waker(void *unused)
{
    uint32_t round = 0;
    while (!em_load(&stop.value, 4)) {
        meet(1, ++round);
        fill_store_buffer(round);
        em_store(&word.value, 4, 1);
        FENCE();
        em_store(&saw_sleeper.value, 4, em_load(&sleeping.value, 4));
        meet(1, ++round);
    }
    return unused;
}

int main(int argc, char **argv)
{
    uint64_t end = em_now() + (uint64_t)(atof(argv[1]) * 1e9), rounds = 0, lost = 0;
    uint64_t enough = argc > 2 ? strtoull(argv[2], 0, 10) : ~0ull;
    uint32_t round = 0;
    pthread_t thread;
    pthread_create(&thread, 0, waker, 0);
    while (em_now() < end && lost < enough) {
        em_store(&word.value, 4, 0);
        em_store(&sleeping.value, 4, 0);
        meet(0, ++round);
        fill_store_buffer(round);
        store(&sleeping.value, 1);
        em_store(&saw_word.value, 4, em_load(&word.value, 4));
        meet(0, ++round);
        lost += !saw_word.value && !em_load(&saw_sleeper.value, 4);
        rounds++;
    }
    em_store(&stop.value, 4, 1);
    pthread_join(thread, 0);
    printf("%llu %llu\n", (unsigned long long)rounds, (unsigned long long)lost);
    return 0;
}
