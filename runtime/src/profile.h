/* profile.h: what a session tells of each launch, where the caller has asked for it. */
#ifndef HR_PROFILE_H
#define HR_PROFILE_H

#include "headrace_driver.h"

#include <time.h>

typedef struct hr_profile hr_profile;

static inline uint64_t hr_now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Takes from the session's blocks all that telling needs, so that runs allocate nothing. */
hr_status hr_profile_open(hr_session *session, hr_profile_fn tell, void *context, hr_error *error);

/* Launches, then tells.  Nothing is told of a launch that failed. */
hr_status hr_profile_launch(hr_session *session, hr_launch *launch, uint32_t kernel, hr_fault *fault, hr_error *error);

#endif
