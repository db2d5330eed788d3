/* plan.h: what follows from the shapes of one run: sizes, offsets, task counts, and that all of it is in bounds. */
#ifndef HR_PLAN_H
#define HR_PLAN_H

#include "model.h"

typedef struct hr_region {
    uint64_t offset;
    uint64_t bytes;
} hr_region;

/* One launch or copy. */
typedef struct hr_planned_step {
    bool active;
    int64_t tasks;
    int64_t grain;
    int64_t flops; /* of all tasks; -1, like bytes, where the file does not say or it does not fit */
    int64_t bytes;
    uint64_t scratch_bytes;
    const int64_t *scalars;
} hr_planned_step;

/* Made once for a session; evaluating allocates nothing. */
typedef struct hr_plan {
    hr_blocks blocks;
    uint32_t valid; /* segments [0, valid) hold for the dims and reads below */
    int64_t **dims; /* of each input */
    int64_t *reads;
    uint64_t *input_bytes;
    int64_t **output_dims;
    uint64_t *output_bytes;
    int64_t *slots;
    int64_t *kernel_slots;
    int64_t *scalars;
    hr_region *buffers;
    hr_planned_step *steps;
    uint64_t *arena_bytes;   /* of each segment */
    uint64_t *scratch_bytes; /* of each segment: the most any of its launches asks for */
} hr_plan;

hr_status hr_plan_open(const hr_model *model, hr_plan *plan, hr_error *error);
void hr_plan_close(hr_plan *plan);

/* Takes over the inputs' dims; what was evaluated stays valid if they are the same. */
hr_status hr_plan_set_dims(const hr_model *model, hr_plan *plan, const hr_value *inputs, hr_error *error);

/* Takes over what the reads and sets at the end of segment `segment` have found. */
void hr_plan_set_read(hr_plan *plan, uint32_t segment, uint32_t read, int64_t value);

/* Evaluates one segment; those before it must be valid. */
hr_status hr_plan_evaluate(const hr_model *model, hr_plan *plan, uint32_t segment, hr_error *error);

#endif
