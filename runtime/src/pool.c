/* pool.c: a session's threads.
**
** One thread (the owner: whoever is in hr_run) hands out work; the others do one part each.  Work is announced by
** raising `round`; a worker does part `number` of it if there are so many, and counts itself off `working`.
** Whoever waits spins first, since a sleeper costs 10 us or more to wake: workers spin while a run is under way,
** everyone gives up after a while so that a busy machine is not made busier.
**
** Sleeping: `lock` guards the two conditions.  A waiter states under the lock that it sleeps and looks again before it
** does; a waker changes what is waited for first and then looks for sleepers.  All of these are sequentially
** consistent, so one of the two sees the other.
** Threads are started when they are first wanted, and anew in a child process after fork, which has none. */
#define _GNU_SOURCE
#include "pool.h"
#include "fpenv.h"

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#define SPINS_IN_RUN 20000
#define SPINS_OF_OWNER 20000
#define STACK_BYTES (256 * 1024) /* kernels use 4 KiB; the rest is for sanitizers and profilers */

typedef struct worker {
    hr_pool *pool;
    uint32_t number; /* which part it does; from 1 */
    pthread_t thread;
} worker;

struct hr_pool {
    hr_allocator allocator;
    uint32_t threads; /* the owner included */
    uint32_t started; /* workers that run */
    pid_t process;    /* in which they run */
    hr_work_fn work;
    void *argument;
    uint32_t parts;
    _Alignas(64) atomic_uint round; /* written by the owner, read by all */
    atomic_bool in_run;
    atomic_bool closing;
    _Alignas(64) atomic_uint working;
    _Alignas(64) atomic_uint sleeping; /* workers in `wake` */
    atomic_bool owner_sleeps;          /* in `done` */
    pthread_mutex_t lock;
    pthread_cond_t wake, done;
    worker workers[]; /* threads - 1 */
};

static inline void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    __asm__ volatile("yield");
#endif
}

static size_t size_of(uint32_t threads) {
    return sizeof(hr_pool) + (threads - 1) * sizeof(worker);
}

hr_pool *hr_pool_open(const hr_allocator *allocator, uint32_t threads) {
    hr_pool *pool = allocator->take(allocator->context, size_of(threads), HR_ALIGN);
    if (!pool)
        return NULL;
    *pool = (hr_pool){.allocator = *allocator, .threads = threads};
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pthread_cond_init(&pool->done, NULL);
    return pool;
}

static unsigned wait_for_round(hr_pool *pool, unsigned seen) {
    for (int i = 0; i < SPINS_IN_RUN && atomic_load(&pool->in_run); i++) {
        if (atomic_load(&pool->round) != seen)
            return atomic_load(&pool->round);
        relax();
    }
    pthread_mutex_lock(&pool->lock);
    atomic_fetch_add(&pool->sleeping, 1);
    while (atomic_load(&pool->round) == seen)
        pthread_cond_wait(&pool->wake, &pool->lock);
    atomic_fetch_sub(&pool->sleeping, 1);
    pthread_mutex_unlock(&pool->lock);
    return atomic_load(&pool->round);
}

static void *work_on(void *argument) {
    worker *self = argument;
    hr_pool *pool = self->pool;
    hr_fpenv_enter(); /* for the life of this thread */
    for (unsigned seen = 0;;) {
        seen = wait_for_round(pool, seen);
        if (atomic_load(&pool->closing))
            return NULL;
        if (self->number < pool->parts)
            pool->work(pool->argument, self->number, pool->parts);
        if (atomic_fetch_sub(&pool->working, 1) == 1 && atomic_load(&pool->owner_sleeps)) {
            pthread_mutex_lock(&pool->lock);
            pthread_cond_signal(&pool->done);
            pthread_mutex_unlock(&pool->lock);
        }
    }
}

static void next_round(hr_pool *pool) {
    atomic_fetch_add(&pool->round, 1);
    if (atomic_load(&pool->sleeping)) {
        pthread_mutex_lock(&pool->lock);
        pthread_cond_broadcast(&pool->wake);
        pthread_mutex_unlock(&pool->lock);
    }
}

/* Stops the workers that run. */
static void stop(hr_pool *pool) {
    atomic_store(&pool->closing, true);
    next_round(pool);
    for (uint32_t i = 0; i < pool->started; i++)
        pthread_join(pool->workers[i].thread, NULL);
    atomic_store(&pool->closing, false);
    pool->started = 0;
}

static void forget_parent(hr_pool *pool) {
    pool->started = 0;
    atomic_store(&pool->sleeping, 0);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pthread_cond_init(&pool->done, NULL);
}

static bool start(hr_pool *pool) {
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes))
        return false;
    long least = sysconf(_SC_THREAD_STACK_MIN);
    pthread_attr_setstacksize(&attributes, least > STACK_BYTES ? (size_t)least : STACK_BYTES);
    atomic_store(&pool->round, 0); /* where a new worker begins to look */
    pool->process = getpid();
    bool ok = true;
    for (uint32_t i = 0; i + 1 < pool->threads && ok; i++) {
        pool->workers[i].pool = pool;
        pool->workers[i].number = i + 1;
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
    pthread_cond_destroy(&pool->done);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
    pool->allocator.give(pool->allocator.context, pool, size_of(pool->threads), HR_ALIGN);
}

void hr_pool_begin(hr_pool *pool) {
    if (pool->started && pool->process != getpid())
        forget_parent(pool);
    atomic_store(&pool->in_run, true);
}

void hr_pool_end(hr_pool *pool) {
    atomic_store(&pool->in_run, false);
}

static void wait_until_done(hr_pool *pool) {
    for (int i = 0; i < SPINS_OF_OWNER; i++) {
        if (atomic_load(&pool->working) == 0)
            return;
        relax();
    }
    pthread_mutex_lock(&pool->lock);
    atomic_store(&pool->owner_sleeps, true);
    while (atomic_load(&pool->working))
        pthread_cond_wait(&pool->done, &pool->lock);
    atomic_store(&pool->owner_sleeps, false);
    pthread_mutex_unlock(&pool->lock);
}

bool hr_pool_run(hr_pool *pool, uint32_t parts, hr_work_fn work, void *argument) {
    if (!pool->started && !start(pool))
        return false;
    pool->work = work, pool->argument = argument, pool->parts = parts;
    atomic_store(&pool->working, pool->started);
    next_round(pool);
    work(argument, 0, parts);
    wait_until_done(pool);
    return true;
}
