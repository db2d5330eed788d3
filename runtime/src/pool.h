/* pool.h: a session's threads. */
#ifndef HR_POOL_H
#define HR_POOL_H

#include "base.h"

typedef struct hr_pool hr_pool;

/* No thread is started before hr_pool_run wants one. */
hr_pool *hr_pool_open(const hr_allocator *allocator, uint32_t threads);
void hr_pool_close(hr_pool *pool);

/* A run begins, perhaps in another process than the last one. */
void hr_pool_begin(hr_pool *pool);

/* How many of the first `threads`, the caller's among them, would begin at once: none of these sleeps. */
uint32_t hr_pool_awake(hr_pool *pool, uint32_t threads);

/* Calls work(argument, part, parts) for part 0, in the caller's thread, and for each other part at most once, in a thread
** that has time for it; returns when all calls have returned.  So part 0 must leave nothing undone that another has not
** begun.  `parts` is from 2 to the pool's threads.  False where threads could not be started. */
bool hr_pool_run(hr_pool *pool, uint32_t parts, hr_work_fn work, void *argument);

#endif
