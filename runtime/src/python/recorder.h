/* recorder.h: what a session did, kept for whoever looks later: its launches, and the memory it took. */
#ifndef HR_RECORDER_H
#define HR_RECORDER_H

#include "headrace.h"

#include <stdatomic.h>

/* What one thread did of one launch. */
typedef struct hr_record {
    const char *kernel; /* as long as the session lives, like the other text */
    const char *nodes;
    uint32_t kernel_index;
    uint32_t launch_index;
    uint32_t thread;
    int64_t tasks;
    int64_t flops;
    int64_t bytes;
    uint64_t begin_ns;
    uint64_t end_ns;
} hr_record;

#define HR_RECORDS 65536u /* the newest are kept */

typedef struct hr_recorder {
    uint64_t written; /* since the last look; more than HR_RECORDS where old ones were lost */
    atomic_ullong takes;
    atomic_ullong held; /* bytes */
    atomic_ullong peak;
    hr_record records[HR_RECORDS];
} hr_recorder;

/* An hr_profile_fn; `context` is the recorder. */
void hr_recorder_launch(void *context, const hr_profile_event *event);

/* One that counts; `recorder` must outlive what is taken from it. */
hr_allocator hr_recorder_allocator(hr_recorder *recorder);

#endif
