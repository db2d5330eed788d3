/* loops.h: which slots, buffers and segments a program may refer to, while it is parsed. */
#ifndef HR_LOOPS_H
#define HR_LOOPS_H

#include "variant.h"

#define HR_MAX_LOOPS 64u /* one inside the other */

typedef struct hr_open_loop {
    uint32_t last; /* segment of its body */
    uint32_t first_segment, first_slot, first_buffer;
    uint32_t first_read, end_read; /* its symbols */
} hr_open_loop;

/* How far parsing has come, and what of it is hidden: what loops that are closed have defined. */
typedef struct hr_progress {
    uint32_t slots, buffers, steps, reads, scalars;
    uint8_t *hidden_slots, *hidden_buffers, *hidden_segments;
    uint32_t depth;
    hr_open_loop open[HR_MAX_LOOPS];
} hr_progress;

/* Takes the tables of what is hidden from `blocks`; false without memory. */
bool hr_progress_open(hr_progress *at, const hr_program *program, hr_blocks *blocks);

bool hr_knows_slot(const hr_progress *at, uint32_t slot);
bool hr_knows_buffer(const hr_progress *at, uint32_t buffer);

/* The number of a SET: the next one, or of a symbol of the loop whose body ends with the segment. */
bool hr_set_is_sound(hr_progress *at, const uint32_t *words, uint32_t segment);

/* Opens the loop of a segment that has just been parsed, or closes those that end with it. */
bool hr_loops_follow(hr_progress *at, const hr_program *program, uint32_t segment);

#endif
