/* variant.c: the kernels and the program of one variant.  In: sections.  Out: tables that the interpreter may trust.
**
** After hr_variant_parse every index in these tables is in range: of slots (and defined before use), buffers, kernels,
** messages, inputs, outputs and constants; and no kernel or copy writes to an input or a constant. */
#include "variant.h"
#include "loops.h"
#include "headrace_driver.h"

typedef struct parser {
    const hr_file *file;
    uint32_t index;
    const hr_signature *signature;
    const hr_constants *constants;
    hr_blocks *blocks;
    hr_variant *variant;
    hr_error *error;
} parser;

static hr_status damaged(const parser *p, hr_section_type type, const hr_cursor *cursor) {
    return hr_damaged(p->file, type, p->index, cursor, p->error);
}

static hr_status no_memory(const parser *p) {
    return hr_fail(p->error, HR_NO_MEMORY, "%s: no memory for its tables", p->file->name);
}

/* From format 4 on: the bytes of the first image, then driver and bytes of each other one.  They lie one behind the
** other, each at a multiple of 64 and with zeros between, and end where the section of code does. */
static bool parse_images(hr_section code, hr_cursor *cursor, hr_variant *variant) {
    uint64_t at = variant->images[0].bytes = hr_read_u32(cursor);
    uint32_t others = hr_read_count(cursor, 12);
    if (cursor->bad || at > code.bytes || others >= HR_MAX_DEVICES)
        return false;
    variant->image_count = 1 + others;
    for (uint32_t i = 1; i <= others; i++) {
        hr_image *image = &variant->images[i];
        image->driver = hr_read_string(cursor);
        image->bytes = hr_read_u32(cursor);
        for (; at % HR_ALIGN; at++)
            if (at >= code.bytes || code.data[at])
                return false;
        image->offset = at;
        if (cursor->bad || image->bytes > code.bytes - at)
            return false;
        at += image->bytes;
    }
    return at == code.bytes;
}

hr_status hr_variant_parse_head(const hr_file *file, uint32_t index, hr_variant *variant, hr_error *error) {
    hr_cursor cursor = hr_cursor_over(hr_file_section(file, HR_SECTION_VARIANT, index));
    hr_section code = hr_file_section(file, HR_SECTION_CODE, index);
    variant->preset = hr_read_string(&cursor);
    variant->machine = hr_read_u32(&cursor);
    variant->image_count = 1;
    variant->images[0] = (hr_image){hr_read_string(&cursor), 0, code.bytes};
    variant->feature_count = hr_read_count(&cursor, 8);
    variant->features = cursor;
    for (uint32_t i = 0; i < variant->feature_count; i++)
        hr_read_string(&cursor);
    bool sound = cursor.bad || file->format < 4 || parse_images(code, &cursor, variant);
    if (!sound || cursor.bad || cursor.at != cursor.end)
        return hr_damaged(file, HR_SECTION_VARIANT, index, &cursor, error);
    return HR_OK;
}

/* From format 3 on: the slot of the tasks, and those of what must be at least 0. */
static bool parse_limits(const parser *p, hr_cursor *cursor, hr_kernel *kernel) {
    kernel->tasks_slot = HR_NO_SLOT;
    if (p->file->format < 3)
        return true;
    kernel->tasks_slot = hr_read_u32(cursor);
    kernel->required_count = hr_read_count(cursor, 4);
    kernel->required = hr_read_words(cursor, kernel->required_count);
    if (cursor->bad || kernel->tasks_slot >= kernel->code.count)
        return false;
    for (uint32_t i = 0; i < kernel->required_count; i++)
        if (kernel->required[i] >= kernel->code.count)
            return false;
    return true;
}

/* From format 4 on: the device, in whose image it must begin. */
static bool parse_device(const parser *p, hr_cursor *cursor, hr_kernel *kernel) {
    kernel->device = p->file->format < 4 ? 0 : hr_read_u32(cursor);
    return !cursor->bad && kernel->device < p->variant->image_count &&
           kernel->entry < p->variant->images[kernel->device].bytes;
}

/* name, entry, scratch alignment, counts, code, scratch slot, two words for each buffer, limits, device. */
static hr_status parse_kernel(const parser *p, hr_cursor *cursor, hr_kernel *kernel) {
    kernel->name = hr_read_string(cursor);
    kernel->entry = hr_read_u32(cursor);
    kernel->scratch_alignment = hr_read_u32(cursor);
    kernel->scalar_count = hr_read_u32(cursor);
    kernel->code.count = hr_read_count(cursor, 12);
    kernel->code.words = hr_read_words(cursor, 3 * (size_t)kernel->code.count);
    kernel->scratch_slot = hr_read_u32(cursor);
    kernel->buffer_count = hr_read_count(cursor, 8);
    kernel->buffers = (const hr_kernel_buffer *)(const void *)hr_read_words(cursor, 2 * (size_t)kernel->buffer_count);
    uint32_t alignment = kernel->scratch_alignment, bad;
    if (cursor->bad || kernel->scalar_count > HR_MAX_SCALARS ||
        kernel->buffer_count > HR_MAX_BUFFERS || kernel->scratch_slot >= kernel->code.count || alignment == 0 ||
        alignment > 4096 || (alignment & (alignment - 1)))
        return damaged(p, HR_SECTION_KERNELS, cursor);
    hr_scope scope = {.arg_count = kernel->scalar_count};
    if (!hr_code_is_sound(&kernel->code, &scope, &bad))
        return damaged(p, HR_SECTION_KERNELS, cursor);
    for (uint32_t i = 0; i < kernel->buffer_count; i++)
        if (kernel->buffers[i].written > 1 || kernel->buffers[i].bytes_slot >= kernel->code.count)
            return damaged(p, HR_SECTION_KERNELS, cursor);
    bool sound = parse_limits(p, cursor, kernel) && parse_device(p, cursor, kernel);
    return sound ? HR_OK : damaged(p, HR_SECTION_KERNELS, cursor);
}

static hr_status parse_kernels(const parser *p) {
    hr_cursor cursor = hr_cursor_over(hr_file_section(p->file, HR_SECTION_KERNELS, p->index));
    hr_variant *v = p->variant;
    v->kernel_count = hr_read_count(&cursor, 32);
    v->kernels = hr_blocks_take(p->blocks, v->kernel_count, sizeof *v->kernels);
    if (!v->kernels)
        return no_memory(p);
    for (uint32_t i = 0; i < v->kernel_count; i++) {
        hr_status status = parse_kernel(p, &cursor, &v->kernels[i]);
        if (status)
            return status;
    }
    return cursor.bad || cursor.at != cursor.end ? damaged(p, HR_SECTION_KERNELS, &cursor) : HR_OK;
}

static bool may_write(const hr_program *program, uint32_t buffer) {
    uint32_t base = program->buffers[buffer]->base;
    return base == HR_BASE_OUTPUT || base == HR_BASE_ARENA || base == HR_BASE_STATE;
}

static bool is_slot_or_none(uint32_t slot, const hr_progress *at) {
    return slot == HR_NO_SLOT || hr_knows_slot(at, slot);
}

static bool launch_is_sound(const parser *p, uint32_t device, const uint32_t *w, uint32_t words, hr_progress *at) {
    const hr_program *program = &p->variant->program;
    if (words < HR_LAUNCH_LISTS || w[HR_LAUNCH_KERNEL] >= p->variant->kernel_count)
        return false;
    const hr_kernel *kernel = &p->variant->kernels[w[HR_LAUNCH_KERNEL]];
    if (kernel->device != device || words != HR_LAUNCH_LISTS + kernel->buffer_count + kernel->scalar_count)
        return false;
    if (!hr_knows_slot(at, w[HR_LAUNCH_TASKS]) || !hr_knows_slot(at, w[HR_LAUNCH_GRAIN]) ||
        !is_slot_or_none(w[HR_LAUNCH_WHEN], at))
        return false;
    for (uint32_t i = 0; i < kernel->buffer_count; i++) {
        uint32_t buffer = w[HR_LAUNCH_LISTS + i];
        if (!hr_knows_buffer(at, buffer) || program->devices[buffer] != device ||
            (kernel->buffers[i].written && !may_write(program, buffer)))
            return false;
    }
    for (uint32_t i = 0; i < kernel->scalar_count; i++)
        if (!hr_knows_slot(at, w[HR_LAUNCH_LISTS + kernel->buffer_count + i]))
            return false;
    at->scalars += kernel->scalar_count;
    return true;
}

/* Within a device, or between the first and another. */
static bool copy_is_sound(const parser *p, const uint32_t *w, uint32_t words, const hr_progress *at) {
    const hr_program *program = &p->variant->program;
    if (words != HR_COPY_WORDS || !hr_knows_buffer(at, w[HR_COPY_SOURCE]) || !hr_knows_buffer(at, w[HR_COPY_TARGET]))
        return false;
    uint8_t from = program->devices[w[HR_COPY_SOURCE]], to = program->devices[w[HR_COPY_TARGET]];
    return (from == to || !from || !to) && may_write(program, w[HR_COPY_TARGET]) && is_slot_or_none(w[HR_COPY_WHEN], at);
}

static bool read_is_sound(const parser *p, const uint32_t *w, uint32_t words, const hr_progress *at) {
    return words == HR_READ_WORDS && hr_knows_buffer(at, w[HR_READ_BUFFER]) && hr_knows_slot(at, w[HR_READ_ELEMENT]) &&
           w[HR_READ_DTYPE] >= HR_I64 && w[HR_READ_DTYPE] <= HR_BOOL && hr_knows_slot(at, w[HR_READ_LOW]) &&
           hr_knows_slot(at, w[HR_READ_HIGH]) && w[HR_READ_MESSAGE] < p->variant->program.message_count;
}

/* Its segment has nothing but formulas beside it. */
static bool loop_is_sound(const hr_segment *segment, const uint32_t *w, uint32_t words, const hr_progress *at) {
    return words == HR_LOOP_WORDS && words == segment->word_count && segment->buffer_count == 0 &&
           hr_knows_slot(at, w[HR_LOOP_LIMIT]) && hr_knows_slot(at, w[HR_LOOP_CONDITION]);
}

/* What ends a segment: reads and sets, or a loop. */
static bool end_is_sound(const parser *p, uint32_t number, const uint32_t *w, hr_progress *at) {
    const hr_program *program = &p->variant->program;
    uint32_t op = w[0] & 0xffff, words = w[0] >> 16;
    if (op == HR_STEP_READ)
        return at->reads++ < program->read_count && read_is_sound(p, w, words, at);
    if (p->file->format < 4)
        return false;
    if (op == HR_STEP_SET)
        return words == HR_SET_WORDS && hr_set_is_sound(at, w, number) && at->reads <= program->read_count;
    program->segments[number].loop = w;
    return op == HR_STEP_LOOP && loop_is_sound(&program->segments[number], w, words, at);
}

/* Launches and copies, then what ends the segment, if another one follows; before format 4 it did so exactly then. */
static bool steps_are_sound(const parser *p, uint32_t number, hr_progress *at) {
    const hr_program *program = &p->variant->program;
    const hr_segment *segment = &program->segments[number];
    bool ends = false;
    for (uint32_t i = 0; i < segment->word_count;) {
        const uint32_t *w = segment->words + i;
        uint32_t op = w[0] & 0xffff, words = w[0] >> 16;
        if (words == 0 || words > segment->word_count - i)
            return false;
        bool sound = false;
        if (op >= HR_STEP_READ)
            sound = ends = end_is_sound(p, number, w, at);
        else if (!ends && at->steps++ < program->step_count)
            sound = op == HR_STEP_LAUNCH ? launch_is_sound(p, segment->device, w, words, at)
                                         : op == HR_STEP_COPY && copy_is_sound(p, w, words, at);
        if (!sound)
            return false;
        i += words;
    }
    bool is_last = number + 1 == program->segment_count;
    return ends != is_last || (!is_last && p->file->format >= 4);
}

static bool buffer_is_sound(const parser *p, const hr_buffer *buffer, uint32_t segment, const hr_progress *at) {
    uint32_t limit = 0;
    switch (buffer->base) {
    case HR_BASE_INPUT:
        limit = p->signature->input_count;
        break;
    case HR_BASE_OUTPUT:
        limit = p->signature->output_count;
        break;
    case HR_BASE_CONSTANT:
        limit = p->constants->count;
        break;
    case HR_BASE_ARENA:
        limit = segment + 1;
        if (buffer->index <= segment && at->hidden_segments[buffer->index])
            return false;
        break;
    case HR_BASE_STATE:
        limit = p->variant->program.state_count;
        break;
    default:
        break;
    }
    return buffer->index < limit && hr_knows_slot(at, buffer->offset_slot) && hr_knows_slot(at, buffer->bytes_slot);
}

/* Inputs, outputs and states lie on the first device. */
static uint8_t device_of(const hr_program *program, const hr_buffer *buffer, const hr_segment *segment) {
    if (buffer->base == HR_BASE_ARENA)
        return (uint8_t)program->segments[buffer->index].device;
    return buffer->base == HR_BASE_CONSTANT ? (uint8_t)segment->device : 0;
}

static bool parse_segment(const parser *p, hr_cursor *cursor, uint32_t number, hr_progress *at) {
    hr_program *program = &p->variant->program;
    hr_segment *segment = &program->segments[number];
    segment->first_step = at->steps, segment->first_read = at->reads, segment->first_scalar = at->scalars;
    segment->code.first = at->slots;
    segment->code.count = hr_read_count(cursor, 12);
    segment->code.words = hr_read_words(cursor, 3 * (size_t)segment->code.count);
    if (cursor->bad || segment->code.count > program->slot_count - at->slots)
        return false;
    hr_scope scope = {.inputs = p->signature->inputs,
                      .input_count = p->signature->input_count,
                      .read_count = at->reads,
                      .message_count = program->message_count,
                      .hidden = at->hidden_slots};
    uint32_t bad;
    if (!hr_code_is_sound(&segment->code, &scope, &bad))
        return false;
    at->slots += segment->code.count;
    segment->arena_slot = hr_read_u32(cursor);
    segment->device = p->file->format < 4 ? 0 : hr_read_u32(cursor);
    segment->first_buffer = at->buffers;
    segment->buffer_count = hr_read_count(cursor, sizeof(hr_buffer));
    if (cursor->bad || segment->device >= p->variant->image_count || !hr_knows_slot(at, segment->arena_slot) ||
        segment->buffer_count > program->buffer_count - at->buffers)
        return false;
    for (uint32_t i = 0; i < segment->buffer_count; i++) {
        const hr_buffer *buffer = (const hr_buffer *)(const void *)hr_read_words(cursor, 4);
        if (!buffer || !buffer_is_sound(p, buffer, number, at))
            return false;
        program->devices[at->buffers] = device_of(program, buffer, segment);
        program->buffers[at->buffers++] = buffer;
    }
    segment->word_count = hr_read_count(cursor, 4);
    segment->words = hr_read_words(cursor, segment->word_count);
    return !cursor->bad && steps_are_sound(p, number, at) && hr_loops_follow(at, program, number);
}

static uint32_t segment_of_slot(const hr_program *program, uint32_t slot) {
    uint32_t s = 0;
    while (slot >= program->segments[s].code.first + program->segments[s].code.count)
        s++;
    return s;
}

/* A slot for each dim of each output; no buffer may lie in an output before the output's size is known. */
static bool parse_outputs(const parser *p, hr_cursor *cursor, const hr_progress *at) {
    hr_program *program = &p->variant->program;
    for (uint32_t i = 0; i < p->signature->output_count; i++) {
        hr_output *output = &program->outputs[i];
        uint32_t rank = p->signature->outputs[i].rank;
        if (!(output->slots = hr_read_words(cursor, rank)))
            return false;
        for (uint32_t j = 0; j < rank; j++) {
            if (!hr_knows_slot(at, output->slots[j]))
                return false;
            uint32_t segment = segment_of_slot(program, output->slots[j]);
            output->segment = segment > output->segment ? segment : output->segment;
        }
    }
    for (uint32_t s = 0; s < program->segment_count; s++)
        for (uint32_t i = 0; i < program->segments[s].buffer_count; i++) {
            const hr_buffer *buffer = program->buffers[program->segments[s].first_buffer + i];
            if (buffer->base == HR_BASE_OUTPUT && program->outputs[buffer->index].segment > s)
                return false;
        }
    return true;
}

static hr_status parse_program(const parser *p) {
    hr_cursor cursor = hr_cursor_over(hr_file_section(p->file, HR_SECTION_PROGRAM, p->index));
    hr_program *program = &p->variant->program;
    program->slot_count = hr_read_count(&cursor, 12);
    program->buffer_count = hr_read_count(&cursor, sizeof(hr_buffer));
    program->step_count = hr_read_count(&cursor, 4 * HR_COPY_WORDS);
    program->read_count = hr_read_count(&cursor, 4 * HR_SET_WORDS);
    program->scalar_count = hr_read_count(&cursor, 4);
    program->state_count = p->file->format < 4 ? 0 : hr_read_u32(&cursor);
    program->message_count = hr_read_count(&cursor, 8);
    if (cursor.bad || program->state_count > program->buffer_count)
        return damaged(p, HR_SECTION_PROGRAM, &cursor);
    program->messages = hr_blocks_take(p->blocks, program->message_count, sizeof *program->messages);
    program->buffers = hr_blocks_take(p->blocks, program->buffer_count, sizeof *program->buffers);
    program->devices = hr_blocks_take(p->blocks, program->buffer_count, sizeof *program->devices);
    program->outputs = hr_blocks_take(p->blocks, p->signature->output_count, sizeof *program->outputs);
    if (!program->messages || !program->buffers || !program->devices || !program->outputs)
        return no_memory(p);
    for (uint32_t i = 0; i < program->message_count; i++)
        program->messages[i] = hr_read_string(&cursor);
    program->segment_count = hr_read_count(&cursor, 16);
    program->segments = hr_blocks_take(p->blocks, program->segment_count, sizeof *program->segments);
    if (!program->segments)
        return no_memory(p);
    hr_progress at;
    if (!hr_progress_open(&at, program, p->blocks))
        return no_memory(p);
    for (uint32_t s = 0; s < program->segment_count; s++)
        if (!parse_segment(p, &cursor, s, &at))
            return damaged(p, HR_SECTION_PROGRAM, &cursor);
    if (program->segment_count == 0 || at.slots != program->slot_count || at.buffers != program->buffer_count ||
        at.steps != program->step_count || at.reads != program->read_count || at.scalars != program->scalar_count ||
        !parse_outputs(p, &cursor, &at) || cursor.at != cursor.end)
        return damaged(p, HR_SECTION_PROGRAM, &cursor);
    return HR_OK;
}

/* Instructions, then the slots of operations and bytes; neither where the list is empty. */
static bool parse_work(const hr_kernel *kernel, hr_cursor *cursor, hr_work *work) {
    work->code.count = hr_read_count(cursor, 12);
    if (cursor->bad || !work->code.count)
        return !cursor->bad;
    work->code.words = hr_read_words(cursor, 3 * (size_t)work->code.count);
    work->flops_slot = hr_read_u32(cursor);
    work->bytes_slot = hr_read_u32(cursor);
    hr_scope scope = {.arg_count = kernel->scalar_count};
    uint32_t bad;
    return !cursor->bad && work->flops_slot < work->code.count && work->bytes_slot < work->code.count &&
           hr_code_is_sound(&work->code, &scope, &bad);
}

/* For each kernel: scalar names, text, sites, from format 2 on its work; for each step: nodes; for each read: the
** symbol's name. */
static hr_status parse_debug(const parser *p) {
    hr_cursor cursor = hr_cursor_over(hr_file_section(p->file, HR_SECTION_DEBUG, p->index));
    const hr_variant *v = p->variant;
    hr_debug *debug = &p->variant->debug;
    debug->sites = hr_blocks_take(p->blocks, v->kernel_count, sizeof *debug->sites);
    debug->work = hr_blocks_take(p->blocks, v->kernel_count, sizeof *debug->work);
    debug->nodes = hr_blocks_take(p->blocks, v->program.step_count, sizeof *debug->nodes);
    if (!debug->sites || !debug->work || !debug->nodes)
        return no_memory(p);
    for (uint32_t k = 0; k < v->kernel_count; k++) {
        for (uint32_t i = 0; i < v->kernels[k].scalar_count; i++)
            hr_read_string(&cursor);
        hr_read_string(&cursor);
        debug->sites[k] = cursor;
        for (uint32_t left = hr_read_count(&cursor, 12); left; left--) {
            hr_read_u32(&cursor);
            hr_read_string(&cursor);
        }
        if (p->file->format >= 2 && !parse_work(&v->kernels[k], &cursor, &debug->work[k]))
            return damaged(p, HR_SECTION_DEBUG, &cursor);
    }
    for (uint32_t s = 0; s < v->program.step_count; s++) {
        debug->nodes[s] = cursor;
        for (uint32_t left = hr_read_count(&cursor, 8); left; left--)
            hr_read_string(&cursor);
    }
    for (uint32_t r = 0; r < v->program.read_count; r++)
        hr_read_string(&cursor);
    return cursor.bad || cursor.at != cursor.end ? damaged(p, HR_SECTION_DEBUG, &cursor) : HR_OK;
}

hr_status hr_variant_parse(const hr_file *file, uint32_t index, const hr_signature *signature,
                           const hr_constants *constants, hr_blocks *blocks, hr_variant *variant, hr_error *error) {
    parser p = {file, index, signature, constants, blocks, variant, error};
    hr_status status = hr_variant_parse_head(file, index, variant, error);
    if (!status)
        status = parse_kernels(&p);
    if (!status)
        status = parse_program(&p);
    if (!status)
        status = parse_debug(&p);
    return status;
}
