/* pool.c: a session's threads.
**
** One thread (the owner: whoever is in hr_run) opens a round: work for some parts, of which it does part 0.  A worker
** that sees an open round enters it and does the part that has its number; the owner closes the round when its own part
** is done and waits for those who are inside.  Nobody waits for a worker that has not come: where another process has
** its core, it comes late or not at all, and the others do its share.
**
** `gate` is all of this state: the round's number, its parts (0: closed), how many workers are inside.  The owner alone
** opens and closes; workers enter open rounds only, by compare and exchange.  Work is written before the round is
** opened and read inside, so it is the owner's again when nobody is inside a closed round.
**
** Whoever waits spins for a while, since a sleeper costs 10 us or more to wake, and then sleeps, whether a run is under
** way or not; a worker spins longer, but lets others have its core meanwhile.
** Sleeping: `lock` guards the conditions.  A waiter states under the lock that it sleeps and looks again before it
** does; a waker changes what is waited for first and then looks for sleepers.  All of these are sequentially
** consistent, so one of the two sees the other.
** Threads are started when they are first wanted, and anew in a child process after fork, which has none. */
#define _GNU_SOURCE
#include "pool.h"
#include "fpenv.h"

#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

#define SPINS 1000 /* some 20 us */
#define YIELDS 100 /* some 50 us, or what others need the core for */
#define STACK_BYTES (256 * 1024) /* kernels use 4 KiB; the rest is for sanitizers and profilers */

typedef struct worker {
    _Alignas(64) hr_pool *pool;
    uint32_t number; /* of its part; from 1 */
    pthread_t thread;
    pthread_cond_t wake;
    atomic_bool sleeps; /* in `wake` */
} worker;

struct hr_pool {
    hr_allocator allocator;
    uint32_t threads; /* the owner included */
    uint32_t started; /* workers that run */
    pid_t process;    /* in which they run */
    hr_work_fn work;
    void *argument;
    _Alignas(64) _Atomic uint64_t gate; /* round << 32 | parts << 16 | inside */
    atomic_bool closing;
    atomic_bool owner_sleeps; /* in `done` */
    pthread_mutex_t lock;
    pthread_cond_t done;
    worker workers[]; /* threads - 1 */
};

static inline void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    __asm__ volatile("yield");
#endif
}

static uint32_t round_of(uint64_t gate) {
    return (uint32_t)(gate >> 32);
}

static uint32_t parts_of(uint64_t gate) {
    return (uint32_t)(gate >> 16 & 0xffff);
}

static uint32_t inside_of(uint64_t gate) {
    return (uint32_t)(gate & 0xffff);
}

static size_t size_of(uint32_t threads) {
    return sizeof(hr_pool) + (threads - 1) * sizeof(worker);
}

static void make_conditions(hr_pool *pool) {
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->done, NULL);
    for (uint32_t i = 0; i + 1 < pool->threads; i++)
        pthread_cond_init(&pool->workers[i].wake, NULL);
}

hr_pool *hr_pool_open(const hr_allocator *allocator, uint32_t threads) {
    hr_pool *pool = allocator->take(allocator->context, size_of(threads), HR_ALIGN);
    if (!pool)
        return NULL;
    *pool = (hr_pool){.allocator = *allocator, .threads = threads};
    for (uint32_t i = 0; i + 1 < threads; i++)
        pool->workers[i] = (worker){.pool = pool, .number = i + 1};
    make_conditions(pool);
    return pool;
}

/* Is a round open that worker `self` has a part in and has not been in? */
static bool is_open_for(const worker *self, uint64_t gate, uint32_t seen) {
    return self->number < parts_of(gate) && round_of(gate) != seen;
}

static bool is_wanted(worker *self, uint32_t seen) {
    return is_open_for(self, atomic_load(&self->pool->gate), seen) || atomic_load(&self->pool->closing);
}

static void wait_until_wanted(worker *self, uint32_t seen) {
    for (;;) {
        for (int i = 0; i < SPINS + YIELDS; i++) {
            if (is_wanted(self, seen))
                return;
            if (i < SPINS)
                relax();
            else
                sched_yield();
        }
        pthread_mutex_lock(&self->pool->lock);
        atomic_store(&self->sleeps, true);
        if (!is_wanted(self, seen))
            pthread_cond_wait(&self->wake, &self->pool->lock);
        atomic_store(&self->sleeps, false);
        pthread_mutex_unlock(&self->pool->lock);
    }
}

/* Does the worker's part of the round, if it is still open. */
static void join_round(worker *self, uint32_t *seen) {
    hr_pool *pool = self->pool;
    uint64_t gate = atomic_load(&pool->gate);
    do
        if (!is_open_for(self, gate, *seen))
            return;
    while (!atomic_compare_exchange_weak(&pool->gate, &gate, gate + 1));
    *seen = round_of(gate);
    pool->work(pool->argument, self->number, parts_of(gate));
    gate = atomic_fetch_sub(&pool->gate, 1);
    if (parts_of(gate) == 0 && inside_of(gate) == 1 && atomic_load(&pool->owner_sleeps)) {
        pthread_mutex_lock(&pool->lock);
        pthread_cond_signal(&pool->done);
        pthread_mutex_unlock(&pool->lock);
    }
}

static void *work_on(void *argument) {
    worker *self = argument;
    hr_fpenv_enter(); /* for the life of this thread */
    for (uint32_t seen = 0; !atomic_load(&self->pool->closing);) {
        wait_until_wanted(self, seen);
        join_round(self, &seen);
    }
    return NULL;
}

static void wake(hr_pool *pool, uint32_t workers) {
    for (uint32_t i = 0; i < workers; i++) {
        worker *w = &pool->workers[i];
        if (!atomic_load(&w->sleeps))
            continue;
        pthread_mutex_lock(&pool->lock);
        atomic_store(&w->sleeps, false); /* so that it is woken once, however long that takes */
        pthread_cond_signal(&w->wake);
        pthread_mutex_unlock(&pool->lock);
    }
}

/* Stops the workers that run. */
static void stop(hr_pool *pool) {
    atomic_store(&pool->closing, true);
    wake(pool, pool->started);
    for (uint32_t i = 0; i < pool->started; i++)
        pthread_join(pool->workers[i].thread, NULL);
    atomic_store(&pool->closing, false);
    pool->started = 0;
}

static void forget_parent(hr_pool *pool) {
    pool->started = 0;
    atomic_store(&pool->gate, 0);
    for (uint32_t i = 0; i + 1 < pool->threads; i++)
        atomic_store(&pool->workers[i].sleeps, false);
    make_conditions(pool);
}

static bool start(hr_pool *pool) {
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes))
        return false;
    long least = sysconf(_SC_THREAD_STACK_MIN);
    pthread_attr_setstacksize(&attributes, least > STACK_BYTES ? (size_t)least : STACK_BYTES);
    pool->process = getpid();
    bool ok = true;
    for (uint32_t i = 0; i + 1 < pool->threads && ok; i++) {
        ok = !pthread_create(&pool->workers[i].thread, &attributes, work_on, &pool->workers[i]);
        pool->started += ok;
    }
    pthread_attr_destroy(&attributes);
    if (!ok)
        stop(pool);
    return ok;
}

void hr_pool_close(hr_pool *pool) {
    if (pool->started && pool->process == getpid())
        stop(pool);
    else if (pool->started)
        forget_parent(pool); /* to destroy a condition that others wait for is to wait for them */
    for (uint32_t i = 0; i + 1 < pool->threads; i++)
        pthread_cond_destroy(&pool->workers[i].wake);
    pthread_cond_destroy(&pool->done);
    pthread_mutex_destroy(&pool->lock);
    pool->allocator.give(pool->allocator.context, pool, size_of(pool->threads), HR_ALIGN);
}

void hr_pool_begin(hr_pool *pool) {
    if (pool->started && pool->process != getpid())
        forget_parent(pool);
}

uint32_t hr_pool_awake(hr_pool *pool, uint32_t threads) {
    uint32_t awake = 1;
    while (awake < threads && awake <= pool->started && !atomic_load(&pool->workers[awake - 1].sleeps))
        awake++;
    return awake;
}

/* Does not yield: a worker that takes so long has lost its core, and may get this one as soon as it is idle. */
static void wait_until_alone(hr_pool *pool) {
    for (int i = 0; i < SPINS; i++) {
        if (inside_of(atomic_load(&pool->gate)) == 0)
            return;
        relax();
    }
    pthread_mutex_lock(&pool->lock);
    atomic_store(&pool->owner_sleeps, true);
    while (inside_of(atomic_load(&pool->gate)))
        pthread_cond_wait(&pool->done, &pool->lock);
    atomic_store(&pool->owner_sleeps, false);
    pthread_mutex_unlock(&pool->lock);
}

bool hr_pool_run(hr_pool *pool, uint32_t parts, hr_work_fn work, void *argument) {
    if (!pool->started && !start(pool))
        return false;
    pool->work = work, pool->argument = argument;
    uint64_t round = round_of(atomic_load(&pool->gate)) + UINT64_C(1);
    atomic_store(&pool->gate, round << 32 | (uint64_t)parts << 16);
    wake(pool, parts - 1);
    work(argument, 0, parts);
    atomic_fetch_sub(&pool->gate, (uint64_t)parts << 16);
    wait_until_alone(pool);
    return true;
}
