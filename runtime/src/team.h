/* team.h: the threads of a session, which share a launch's tasks. */
#ifndef HR_TEAM_H
#define HR_TEAM_H

#include "base.h"
#include "headrace_driver.h"

typedef int32_t (*hr_kernel_fn)(void *const *buffers, const int64_t *scalars, void *scratch, int64_t begin, int64_t end);

typedef struct hr_team hr_team;

/* NULL where there is no memory. */
hr_team *hr_team_open(const hr_allocator *allocator, const hr_queue_options *options);
void hr_team_close(hr_team *team);

/* Scratch of so many bytes for each thread; what was in it is lost when it grows. */
hr_status hr_team_reserve(hr_team *team, uint64_t bytes, hr_error *error);

/* Around the launches of one run. */
void hr_team_begin(hr_team *team);
void hr_team_end(hr_team *team);

/* Runs the kernel on all tasks; returns when it has.  HR_DATA, and the fault of the lowest task, where it has one. */
hr_status hr_team_launch(hr_team *team, const hr_launch *launch, hr_kernel_fn kernel, void *const *buffers,
                         hr_fault *fault, hr_error *error);

#endif
