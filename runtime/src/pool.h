/* pool.h: a session's threads. */
#ifndef HR_POOL_H
#define HR_POOL_H

#include "base.h"

typedef struct hr_pool hr_pool;

/* No thread is started before hr_pool_run wants one. */
hr_pool *hr_pool_open(const hr_allocator *allocator, uint32_t threads);
void hr_pool_close(hr_pool *pool);

/* Between these two, threads that have nothing to do spin, for work may come soon. */
void hr_pool_begin(hr_pool *pool);
void hr_pool_end(hr_pool *pool);

/* Does all parts, part 0 in the caller's thread, and returns when they are done; `parts` is from 2 to the pool's
** threads.  False where threads could not be started. */
bool hr_pool_run(hr_pool *pool, uint32_t parts, hr_work_fn work, void *argument);

#endif
