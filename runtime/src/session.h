/* session.h: what a run needs. */
#ifndef HR_SESSION_H
#define HR_SESSION_H

#include "plan.h"
#include "profile.h"

/* Device memory, or host memory that is lent. */
typedef struct hr_memory {
    uint64_t handle;
    uint64_t bytes;
    uint32_t device;
} hr_memory;

struct hr_session {
    hr_model *model;
    hr_blocks blocks;
    atomic_bool busy;
    uint32_t threads;
    hr_profile *profile;        /* NULL unless the caller asked for one */
    bool has_plan;
    hr_plan plan;
    void *queues[HR_MAX_DEVICES]; /* of each device */
    hr_memory *arenas;         /* of each segment */
    hr_memory *states;         /* of the program's loops */
    hr_memory *device_inputs;  /* unused where memory is the host's */
    hr_memory *device_outputs; /* likewise */
    hr_memory *lent;           /* host memory of each output that the caller gave none for */
    uint64_t *inputs;          /* the handles of this run */
    uint64_t *outputs;
    hr_slice *slices; /* of each buffer */
};

/* Room for `bytes` on the device.  What was there is lost when it grows. */
hr_status hr_session_grow(hr_session *session, hr_memory *memory, uint64_t bytes, hr_error *error);

/* Gives it back. */
void hr_session_release(hr_session *session, hr_memory *memory);

/* The same in the host's memory, for an output. */
hr_status hr_session_lend(hr_session *session, hr_memory *memory, uint64_t bytes, hr_error *error);

/* Scratch of one thread for a segment's launches, as a driver is asked for it. */
uint64_t hr_session_scratch(const hr_plan *plan, uint32_t segment);

#endif
