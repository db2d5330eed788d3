/* loops.c: scopes of loops.  In: segments as they are parsed.  Out: what those behind may refer to.
**
** The segments of a loop's body may run many times or never, so what they and the loop's own segment define means
** nothing behind the loop; it is hidden there.  Bodies nest, and end before the last segment of the program. */
#include "loops.h"

#include <string.h>

bool hr_progress_open(hr_progress *at, const hr_program *program, hr_blocks *blocks) {
    *at = (hr_progress){0};
    at->hidden_slots = hr_blocks_take(blocks, program->slot_count, 1);
    at->hidden_buffers = hr_blocks_take(blocks, program->buffer_count, 1);
    at->hidden_segments = hr_blocks_take(blocks, program->segment_count, 1);
    return at->hidden_slots && at->hidden_buffers && at->hidden_segments;
}

bool hr_knows_slot(const hr_progress *at, uint32_t slot) {
    return slot < at->slots && !at->hidden_slots[slot];
}

bool hr_knows_buffer(const hr_progress *at, uint32_t buffer) {
    return buffer < at->buffers && !at->hidden_buffers[buffer];
}

static const hr_open_loop *ending(const hr_progress *at, uint32_t segment) {
    const hr_open_loop *innermost = at->depth ? &at->open[at->depth - 1] : NULL;
    return innermost && innermost->last == segment ? innermost : NULL;
}

bool hr_set_is_sound(hr_progress *at, const uint32_t *w, uint32_t segment) {
    const hr_open_loop *loop = ending(at, segment);
    if (!hr_knows_slot(at, w[HR_SET_VALUE]))
        return false;
    if (w[HR_SET_READ] == at->reads) {
        at->reads++;
        return true;
    }
    return loop && w[HR_SET_READ] >= loop->first_read && w[HR_SET_READ] < loop->end_read;
}

static bool open_loop(hr_progress *at, const hr_program *program, uint32_t number) {
    const hr_segment *segment = &program->segments[number];
    uint32_t segments = segment->loop[HR_LOOP_SEGMENTS];
    uint32_t end = at->depth ? at->open[at->depth - 1].last : program->segment_count - 1;
    if (number == 0 || at->depth == HR_MAX_LOOPS || segments == 0 || number >= end || segments >= end - number)
        return false;
    at->open[at->depth++] = (hr_open_loop){
        .last = number + segments,
        .first_segment = number,
        .first_slot = segment->code.first,
        .first_buffer = at->buffers,
        .first_read = program->segments[number - 1].first_read,
        .end_read = at->reads,
    };
    return true;
}

bool hr_loops_follow(hr_progress *at, const hr_program *program, uint32_t number) {
    if (program->segments[number].loop)
        return open_loop(at, program, number);
    for (const hr_open_loop *loop; (loop = ending(at, number)); at->depth--) {
        memset(at->hidden_slots + loop->first_slot, 1, at->slots - loop->first_slot);
        memset(at->hidden_buffers + loop->first_buffer, 1, at->buffers - loop->first_buffer);
        memset(at->hidden_segments + loop->first_segment, 1, number + 1 - loop->first_segment);
    }
    return true;
}
