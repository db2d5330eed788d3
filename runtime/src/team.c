/* team.c: the threads of a session: how many of them a launch is worth, and who does what of it.
**
** A launch is split into equal ranges of tasks, a part for each thread, and each part into a few pieces: a thread that is
** done with its own takes what others have left.  So one that comes late, or whose core another process has, holds up the
** others by a piece at most.  Kernels compute each task alike in whatever range it lies: results do not depend on who
** does what.
**
** What a launch is worth follows from its work, operations and bytes.  To hand a part to a thread that waits takes a
** fraction of a microsecond, to wake one that sleeps ten and more: so one is woken when the work that it might have
** shared is worth that, in this run or in others shortly before, for which it would still wait.
**
** Memory is taken when a team is opened and when scratch grows.  One launch at a time. */
#include "team.h"
#include "fpenv.h"
#include "pool.h"
#include "profile.h"

#include <stdatomic.h>
#include <string.h>

/* As if data were in a cache and arithmetic in vectors: a rate that few kernels exceed, so what seems worth a thread is. */
#define WORK_OF_1US INT64_C(64000)
#define WORTH_A_PART (2 * WORK_OF_1US)
#define WORTH_WAKING (40 * WORK_OF_1US)
#define SHORTLY_NS 100000 /* about as long as a worker waits before it sleeps */
#define MOST_PIECES 8     /* of a part */

/* What one thread does of a launch. */
typedef struct part {
    _Alignas(64) atomic_uint taken; /* pieces of it, by whatever thread */
    bool came;
    uint64_t begin_ns, end_ns;
    int64_t fault_at; /* the first task of the piece with a fault */
    hr_fault fault;   /* site 0: none */
} part;

struct hr_team {
    hr_allocator allocator;
    uint32_t threads;
    hr_pool *pool;        /* NULL where one thread is enough, or the caller brings threads: */
    hr_parallel parallel;
    char *scratch;        /* threads * scratch_each bytes */
    uint64_t scratch_each;
    int64_t missed;       /* work that sleepers might have shared */
    uint64_t ended_ns;    /* when the last run did */
    part parts[];         /* one for each thread */
};

static size_t size_of(uint32_t threads) {
    return sizeof(hr_team) + threads * sizeof(part);
}

hr_team *hr_team_open(const hr_allocator *allocator, const hr_queue_options *options) {
    hr_team *team = allocator->take(allocator->context, size_of(options->threads), HR_ALIGN);
    if (!team)
        return NULL;
    *team = (hr_team){.allocator = *allocator, .threads = options->threads, .parallel = options->parallel};
    if (team->threads == 1 || team->parallel.run || (team->pool = hr_pool_open(allocator, team->threads)))
        return team;
    hr_team_close(team);
    return NULL;
}

static void drop_scratch(hr_team *team) {
    if (team->scratch)
        team->allocator.give(team->allocator.context, team->scratch, (size_t)(team->scratch_each * team->threads), 4096);
    team->scratch = NULL;
    team->scratch_each = 0;
}

void hr_team_close(hr_team *team) {
    if (team->pool)
        hr_pool_close(team->pool);
    drop_scratch(team);
    team->allocator.give(team->allocator.context, team, size_of(team->threads), HR_ALIGN);
}

hr_status hr_team_reserve(hr_team *team, uint64_t bytes, hr_error *error) {
    if (bytes <= team->scratch_each)
        return HR_OK;
    drop_scratch(team);
    uint64_t total;
    bool fits = !__builtin_mul_overflow(bytes, (uint64_t)team->threads, &total) && total <= SIZE_MAX;
    team->scratch = fits ? team->allocator.take(team->allocator.context, (size_t)total, 4096) : NULL;
    if (!team->scratch)
        return hr_fail(error, HR_NO_MEMORY, "cpu: no memory for %llu bytes of scratch in %u threads",
                       (unsigned long long)bytes, team->threads);
    team->scratch_each = bytes;
    return HR_OK;
}

void hr_team_begin(hr_team *team) {
    if (!team->pool)
        return;
    hr_pool_begin(team->pool);
    if (hr_now_ns() - team->ended_ns > SHORTLY_NS)
        team->missed = 0;
}

void hr_team_end(hr_team *team) {
    if (team->pool)
        team->ended_ns = hr_now_ns();
}

/* One launch, as its parts see it. */
typedef struct job {
    hr_team *team;
    const hr_launch *launch;
    hr_kernel_fn kernel;
    void *const *buffers;
    uint32_t pieces; /* of each part */
} job;

/* floor(tasks * part / parts), which fits although the product may not. */
static int64_t boundary(int64_t tasks, uint32_t part, uint32_t parts) {
    return tasks / parts * part + tasks % parts * part / parts;
}

/* Tasks [begin, end), in the thread of part `mine`, which keeps the fault of the lowest: not a matter of timing. */
static void run_tasks(const job *j, uint32_t mine, int64_t begin, int64_t end) {
    part *p = &j->team->parts[mine];
    char *scratch = j->team->scratch ? j->team->scratch + j->team->scratch_each * mine : NULL;
    int32_t site = j->kernel(j->buffers, j->launch->scalars, scratch, begin, end);
    if (site == 0 || (p->fault.site && p->fault_at < begin))
        return;
    p->fault = (hr_fault){.index = j->launch->index, .site = site};
    p->fault_at = begin;
    if (j->launch->scratch_bytes >= sizeof p->fault.values)
        memcpy(p->fault.values, scratch, sizeof p->fault.values);
}

/* Its own pieces, and then those of others that nobody has taken yet. */
static void run_part(void *context, uint32_t mine, uint32_t parts) {
    const job *j = context;
    part *p = &j->team->parts[mine];
    bool timed = j->launch->parts;
    p->begin_ns = timed ? hr_now_ns() : 0;
    for (uint32_t i = 0; i < parts; i++) {
        uint32_t of = (mine + i) % parts;
        int64_t first = boundary(j->launch->tasks, of, parts), tasks = boundary(j->launch->tasks, of + 1, parts) - first;
        for (uint32_t n; (n = atomic_fetch_add(&j->team->parts[of].taken, 1)) < j->pieces;)
            run_tasks(j, mine, first + boundary(tasks, n, j->pieces), first + boundary(tasks, n + 1, j->pieces));
    }
    p->end_ns = timed ? hr_now_ns() : 0;
    p->came = true;
}

/* In a thread of the caller's, which gets its environment back. */
static void run_part_as_guest(void *context, uint32_t part, uint32_t parts) {
    uint64_t environment = hr_fpenv_enter();
    run_part(context, part, parts);
    hr_fpenv_leave(environment);
}

/* How many threads would be worth it if none slept; an artefact of format 1 does not say what work is. */
static uint32_t worth(const hr_team *team, const hr_launch *launch) {
    if (team->threads == 1)
        return 1;
    int64_t most = launch->grain > 1 ? launch->tasks / launch->grain : launch->tasks;
    if (launch->work >= 0 && launch->work / WORTH_A_PART < most)
        most = launch->work / WORTH_A_PART;
    return most < 1 ? 1 : most < (int64_t)team->threads ? (uint32_t)most : team->threads;
}

/* How many of `parts` threads to use: those that are awake, or all of them when enough work has been missed. */
static uint32_t at_hand(hr_team *team, const hr_launch *launch, uint32_t parts) {
    uint32_t awake = hr_pool_awake(team->pool, parts);
    if (awake == parts)
        return parts;
    int64_t needed = (parts - awake) * WORTH_WAKING;
    if (launch->work >= 0 && launch->work < needed - team->missed) {
        team->missed += launch->work;
        return awake;
    }
    team->missed = 0;
    return parts;
}

/* Two for the least that is worth a thread, more for more. */
static uint32_t pieces_of(const hr_launch *launch, uint32_t parts) {
    int64_t most = launch->tasks / parts, worth = launch->work / WORTH_A_PART / parts;
    most = most < MOST_PIECES ? most : MOST_PIECES;
    return (uint32_t)(launch->work < 0 || most < 2 * worth ? most : 2 * worth);
}

static hr_status run_shared(hr_team *team, job *j, uint32_t parts, hr_fault *fault, hr_error *error) {
    j->pieces = pieces_of(j->launch, parts);
    for (uint32_t i = 0; i < parts; i++) {
        team->parts[i].came = false;
        team->parts[i].fault.site = 0;
        atomic_store_explicit(&team->parts[i].taken, 0, memory_order_relaxed);
    }
    if (team->parallel.run)
        team->parallel.run(team->parallel.context, parts, run_part_as_guest, j);
    else if (!hr_pool_run(team->pool, parts, run_part, j))
        return hr_fail(error, HR_NO_MEMORY, "cpu: %u threads cannot be started", team->threads);
    const part *first = NULL;
    for (uint32_t i = 0; i < parts; i++) {
        const part *p = &team->parts[i];
        if (p->came && j->launch->parts)
            j->launch->parts[(*j->launch->part_count)++] =
                (hr_profile_part){.thread = i, .begin_ns = p->begin_ns, .end_ns = p->end_ns};
        if (p->fault.site && (!first || p->fault_at < first->fault_at))
            first = p;
    }
    if (first)
        *fault = first->fault;
    return first ? HR_DATA : HR_OK;
}

hr_status hr_team_launch(hr_team *team, const hr_launch *launch, hr_kernel_fn kernel, void *const *buffers,
                         hr_fault *fault, hr_error *error) {
    job j = {.team = team, .launch = launch, .kernel = kernel, .buffers = buffers};
    uint32_t parts = worth(team, launch);
    if (parts > 1 && team->pool)
        parts = at_hand(team, launch, parts);
    if (parts > 1)
        return run_shared(team, &j, parts, fault, error);
    team->parts[0].fault.site = 0;
    run_tasks(&j, 0, 0, launch->tasks);
    if (team->parts[0].fault.site == 0)
        return HR_OK;
    *fault = team->parts[0].fault;
    return HR_DATA;
}
