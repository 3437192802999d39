/* libzmq's own speed, in C: what an interrupt between emulated CPUs is measured against.
 *
 *     messages LIBZMQ DIRECTORY RECEIVERS ROUNDS WARMUP
 *
 * One sender, RECEIVERS processes, a pair of PAIR sockets (ipc) for each.  A round: a message of 16 bytes to each
 * receiver, then a reply from each.  Prints two lines of nanoseconds, one number a round: send to receipt at the first
 * receiver, and the whole round.  Only the prototypes needed are declared here: the shared library that pyzmq has loaded
 * comes without headers, and it is the one to compare with.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#define ZMQ_PAIR 0
#define ZMQ_LINGER 17
#define FRAME 16

static void *(*ctx_new)(void);
static void *(*socket_new)(void *, int);
static int (*bind_to)(void *, const char *), (*connect_to)(void *, const char *);
static int (*send_to)(void *, const void *, size_t, int), (*receive_from)(void *, void *, size_t, int);

static void give_up(const char *what)
{
    fprintf(stderr, "%s\n", what);
    exit(1);
}

static void load(const char *path)
{
    void *library = dlopen(path, RTLD_NOW);
    if (!library)
        give_up(dlerror());
    if (!(ctx_new = dlsym(library, "zmq_ctx_new")) || !(socket_new = dlsym(library, "zmq_socket"))
        || !(bind_to = dlsym(library, "zmq_bind")) || !(connect_to = dlsym(library, "zmq_connect"))
        || !(send_to = dlsym(library, "zmq_send")) || !(receive_from = dlsym(library, "zmq_recv")))
        give_up("a function of libzmq is missing");
}

static uint64_t now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void receiver(const char *path, uint64_t *came, int rounds)
{
    char frame[FRAME];
    void *socket = socket_new(ctx_new(), ZMQ_PAIR);
    if (connect_to(socket, path))
        give_up("a receiver cannot connect");
    for (int round = 0; round < rounds; round++) {
        if (receive_from(socket, frame, FRAME, 0) != FRAME)
            give_up("a receiver's message is lost");
        if (came)
            came[round] = now();
        if (send_to(socket, frame, FRAME, 0) != FRAME)
            give_up("a receiver cannot reply");
    }
    pause(); /* until the sender has everything: it kills us */
}

int main(int argc, char **argv)
{
    if (argc != 6)
        give_up("messages LIBZMQ DIRECTORY RECEIVERS ROUNDS WARMUP");
    int receivers = atoi(argv[3]), rounds = atoi(argv[4]), warmup = atoi(argv[5]), all = rounds + warmup;
    char path[200], frame[FRAME] = "interrupt";
    uint64_t *came = mmap(NULL, all * sizeof *came, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    uint64_t *sent = calloc(all, sizeof *sent), *over = calloc(all, sizeof *over);
    pid_t *children = calloc(receivers, sizeof *children);
    void **sockets = calloc(receivers, sizeof *sockets);
    if (came == MAP_FAILED || !sent || !over || !children || !sockets)
        give_up("no memory");
    load(argv[1]);
    for (int each = 0; each < receivers; each++) { /* before the first context: no thread is forked */
        snprintf(path, sizeof path, "ipc://%s/%d", argv[2], each);
        if (!(children[each] = fork())) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            receiver(path, each ? NULL : came, all);
        }
    }
    void *context = ctx_new();
    for (int each = 0; each < receivers; each++) {
        snprintf(path, sizeof path, "ipc://%s/%d", argv[2], each);
        sockets[each] = socket_new(context, ZMQ_PAIR);
        if (bind_to(sockets[each], path))
            give_up("the sender cannot bind");
    }
    for (int round = 0; round < all; round++) {
        sent[round] = now();
        for (int each = 0; each < receivers; each++)
            if (send_to(sockets[each], frame, FRAME, 0) != FRAME)
                give_up("the sender cannot send");
        for (int each = 0; each < receivers; each++)
            if (receive_from(sockets[each], frame, FRAME, 0) != FRAME)
                give_up("a reply is lost");
        over[round] = now();
    }
    for (int each = 0; each < receivers; each++)
        kill(children[each], SIGKILL);
    while (wait(NULL) > 0)
        ;
    for (int round = warmup; round < all; round++)
        printf("%llu ", (unsigned long long)(came[round] - sent[round]));
    printf("\n");
    for (int round = warmup; round < all; round++)
        printf("%llu ", (unsigned long long)(over[round] - sent[round]));
    printf("\n");
    fflush(stdout);
    _exit(0);
}
