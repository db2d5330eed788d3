/* blame.c: which of the user's nodes an error of sizes or memory is about.  In: tables of the program.  Out: text.
**
** Nodes stand with steps, in the debug section, and in the messages of checks and reads.  A size belongs to the first
** step that has to do with it, which makes what has that size. */
#include "blame.h"

#include <stdio.h>
#include <string.h>

#define NO_STEP UINT32_MAX

/* One launch or copy after the other of a segment: they stand before what makes numbers known and the loop. */
typedef struct walk {
    const hr_variant *variant;
    const uint32_t *w, *end;
    uint32_t step;
} walk;

static walk walk_over(const hr_model *model, uint32_t segment) {
    const hr_segment *s = &model->variant.program.segments[segment];
    return (walk){&model->variant, s->words, s->words + s->word_count, s->first_step};
}

static bool is_there(const walk *at) {
    return at->w < at->end && ((at->w[0] & 0xffff) == HR_STEP_LAUNCH || (at->w[0] & 0xffff) == HR_STEP_COPY);
}

static void go_on(walk *at) {
    at->w += at->w[0] >> 16;
    at->step++;
}

static uint32_t buffers_of(const walk *at, const uint32_t **buffers) {
    bool is_launch = (at->w[0] & 0xffff) == HR_STEP_LAUNCH;
    *buffers = at->w + (is_launch ? (uint32_t)HR_LAUNCH_LISTS : (uint32_t)HR_COPY_SOURCE);
    return is_launch ? at->variant->kernels[at->w[HR_LAUNCH_KERNEL]].buffer_count : 2;
}

/* What stands before the message in "node 'Split_1': the sizes ...". */
static hr_blame of_message(const char *message) {
    hr_blame blame = {""};
    const char *end = strncmp(message, "node '", 6) ? NULL : strstr(message, "': ");
    if (end)
        snprintf(blame.text, sizeof blame.text, "%.*s", (int)(end + 3 - message), message);
    return blame;
}

hr_blame hr_blame_step(const hr_model *model, uint32_t step) {
    hr_blame blame = {""};
    hr_cursor cursor = model->variant.debug.nodes[step];
    char names[sizeof blame.text - 16] = "";
    size_t used = 0;
    for (uint32_t left = hr_read_u32(&cursor); left; left--) {
        const char *name = hr_read_string(&cursor);
        int n = snprintf(names + used, sizeof names - used, "%s%s", used ? ", " : "", name);
        if (n < 0 || (size_t)n >= sizeof names - used)
            break;
        used += (size_t)n;
    }
    if (names[0])
        snprintf(blame.text, sizeof blame.text, "node '%s': ", names);
    return blame;
}

static hr_blame of_step_or_none(const hr_model *model, uint32_t step) {
    return step == NO_STEP ? (hr_blame){""} : hr_blame_step(model, step);
}

static bool is_marked(const hr_code *code, const int64_t *slots, uint32_t slot) {
    return slot >= code->first && slots[slot];
}

/* Each slot that follows from `slot` becomes 1, the others 0. */
static void mark(const hr_code *code, int64_t *slots, uint32_t slot) {
    for (uint32_t i = 0; i < code->count; i++) {
        const uint32_t *w = code->words + 3 * (size_t)i;
        bool two = w[0] >= HR_OP_ADD && w[0] != HR_OP_CHECK;
        bool follows = (w[0] >= HR_OP_ADD && is_marked(code, slots, w[1])) || (two && is_marked(code, slots, w[2]));
        slots[code->first + i] = follows || code->first + i == slot;
    }
}

/* The first step that has to do with the largest of the buffers whose bytes are known below a slot: what makes an arena
** of them overflow. */
static uint32_t step_of_largest(const hr_model *model, const hr_plan *plan, uint32_t number, uint32_t slot) {
    int64_t most = 0;
    uint32_t step = NO_STEP;
    for (walk at = walk_over(model, number); is_there(&at); go_on(&at)) {
        const uint32_t *buffers;
        for (uint32_t i = 0, count = buffers_of(&at, &buffers); i < count; i++) {
            uint32_t bytes = model->variant.program.buffers[buffers[i]]->bytes_slot;
            if (bytes >= slot || plan->slots[bytes] <= most)
                continue;
            most = plan->slots[bytes];
            step = at.step;
        }
    }
    return step;
}

hr_blame hr_blame_slot(const hr_model *model, hr_plan *plan, uint32_t number, uint32_t slot) {
    const hr_program *program = &model->variant.program;
    const hr_segment *segment = &program->segments[number];
    const hr_code *code = &segment->code;
    uint32_t largest = step_of_largest(model, plan, number, slot);
    mark(code, plan->slots, slot);
    for (uint32_t i = 0; i < code->count; i++) {
        const uint32_t *w = code->words + 3 * (size_t)i;
        if (w[0] == HR_OP_CHECK && plan->slots[code->first + i])
            return of_message(program->messages[w[2]]);
    }
    for (walk at = walk_over(model, number); is_there(&at); go_on(&at)) {
        const uint32_t *buffers;
        uint32_t count = buffers_of(&at, &buffers);
        bool is_launch = (at.w[0] & 0xffff) == HR_STEP_LAUNCH;
        uint32_t scalars = is_launch ? at.variant->kernels[at.w[HR_LAUNCH_KERNEL]].scalar_count : 0;
        bool follows = is_launch && is_marked(code, plan->slots, at.w[HR_LAUNCH_TASKS]);
        for (uint32_t i = 0; i < count + scalars; i++) {
            uint32_t found = i < count ? program->buffers[buffers[i]]->bytes_slot : buffers[i];
            follows = follows || is_marked(code, plan->slots, found);
        }
        if (follows)
            return hr_blame_step(model, at.step);
    }
    return of_step_or_none(model, largest);
}

hr_blame hr_blame_arena(const hr_model *model, const hr_plan *plan, uint32_t number) {
    uint64_t most = 0;
    uint32_t step = NO_STEP;
    for (walk at = walk_over(model, number); is_there(&at); go_on(&at)) {
        const uint32_t *buffers;
        for (uint32_t i = 0, count = buffers_of(&at, &buffers); i < count; i++) {
            const hr_buffer *buffer = model->variant.program.buffers[buffers[i]];
            if (buffer->base != HR_BASE_ARENA || buffer->index != number || plan->buffers[buffers[i]].bytes <= most)
                continue;
            most = plan->buffers[buffers[i]].bytes;
            step = at.step;
        }
    }
    return of_step_or_none(model, step);
}

hr_blame hr_blame_scratch(const hr_model *model, const hr_plan *plan, uint32_t number) {
    for (walk at = walk_over(model, number); is_there(&at); go_on(&at)) {
        const hr_planned_step *step = &plan->steps[at.step];
        if (step->active && step->scratch_bytes == plan->scratch_bytes[number])
            return hr_blame_step(model, at.step);
    }
    return (hr_blame){""};
}

hr_blame hr_blame_buffer(const hr_model *model, uint32_t number, uint32_t buffer) {
    for (walk at = walk_over(model, number); is_there(&at); go_on(&at)) {
        const uint32_t *buffers;
        for (uint32_t i = 0, count = buffers_of(&at, &buffers); i < count; i++)
            if (buffers[i] == buffer)
                return hr_blame_step(model, at.step);
    }
    return (hr_blame){""};
}

hr_blame hr_blame_output(const hr_model *model, uint32_t output) {
    const hr_program *program = &model->variant.program;
    for (uint32_t s = program->outputs[output].segment; s < program->segment_count; s++)
        for (walk at = walk_over(model, s); is_there(&at); go_on(&at)) {
            const uint32_t *buffers;
            for (uint32_t i = 0, count = buffers_of(&at, &buffers); i < count; i++) {
                const hr_buffer *buffer = program->buffers[buffers[i]];
                if (buffer->base == HR_BASE_OUTPUT && buffer->index == output)
                    return hr_blame_step(model, at.step);
            }
        }
    return (hr_blame){""};
}

hr_blame hr_blame_read(const hr_model *model, uint32_t number) {
    const hr_segment *segment = &model->variant.program.segments[number];
    for (const uint32_t *w = segment->words, *end = w + segment->word_count; w < end; w += w[0] >> 16)
        if ((w[0] & 0xffff) == HR_STEP_READ)
            return of_message(model->variant.program.messages[w[HR_READ_MESSAGE]]);
    return (hr_blame){""};
}

hr_status hr_blame_on(const hr_blame *blame, hr_status status, hr_error *error) {
    if (!error || !blame->text[0])
        return status;
    hr_error before = *error;
    return hr_fail(error, status, "%s%s", blame->text, before.message);
}
