/* blame.h: which of the user's nodes an error of sizes or memory is about. */
#ifndef HR_BLAME_H
#define HR_BLAME_H

#include "plan.h"

/* `node 'Range_0': `, or nothing where no node is known: what a message begins with. */
typedef struct hr_blame {
    char text[160];
} hr_blame;

/* The nodes of a step. */
hr_blame hr_blame_step(const hr_model *model, uint32_t step);

/* Whose sizes follow from a slot of the segment that is being planned.  Overwrites the segment's slots, whose evaluation
** has failed. */
hr_blame hr_blame_slot(const hr_model *model, hr_plan *plan, uint32_t segment, uint32_t slot);

/* Whose buffer is the largest in the arena of a segment, which is planned. */
hr_blame hr_blame_arena(const hr_model *model, const hr_plan *plan, uint32_t segment);

/* Whose launch asks for the most scratch in a segment, which is planned. */
hr_blame hr_blame_scratch(const hr_model *model, const hr_plan *plan, uint32_t segment);

/* What first uses a buffer of a segment. */
hr_blame hr_blame_buffer(const hr_model *model, uint32_t segment, uint32_t buffer);

/* What makes an output. */
hr_blame hr_blame_output(const hr_model *model, uint32_t output);

/* Whose data end a segment that is not the last. */
hr_blame hr_blame_read(const hr_model *model, uint32_t segment);

/* Puts it in front of the message of a call that has failed; returns `status`. */
hr_status hr_blame_on(const hr_blame *blame, hr_status status, hr_error *error);

#endif
