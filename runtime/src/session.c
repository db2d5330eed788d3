/* session.c: a session's life and memory.  In: a model, shapes.  Out: what run.c needs for a run.
**
** A session has one plan, one queue of each device, and the memory that runs need: arenas, outputs that it lends, and,
** where the device does not use the host's memory, a copy of each input and output.  All of it only grows, so a second
** run with the same shapes allocates nothing.  `busy` is the only thing that two threads may touch at once. */
#include "session.h"
#include "blame.h"
#include "threads.h"

#include <string.h>

static hr_status build(hr_session *session, const hr_session_options *options, hr_error *error) {
    const hr_model *model = session->model;
    uint32_t inputs = model->signature.input_count, outputs = model->signature.output_count;
    session->arenas = hr_blocks_take(&session->blocks, model->variant.program.segment_count, sizeof(hr_memory));
    session->states = hr_blocks_take(&session->blocks, model->variant.program.state_count, sizeof(hr_memory));
    session->device_inputs = hr_blocks_take(&session->blocks, inputs, sizeof(hr_memory));
    session->device_outputs = hr_blocks_take(&session->blocks, outputs, sizeof(hr_memory));
    session->lent = hr_blocks_take(&session->blocks, outputs, sizeof(hr_memory));
    session->inputs = hr_blocks_take(&session->blocks, inputs, sizeof(uint64_t));
    session->outputs = hr_blocks_take(&session->blocks, outputs, sizeof(uint64_t));
    session->slices = hr_blocks_take(&session->blocks, model->variant.program.buffer_count, sizeof(hr_slice));
    if (!session->arenas || !session->states || !session->device_inputs || !session->device_outputs || !session->lent ||
        !session->inputs || !session->outputs || !session->slices)
        return hr_fail(error, HR_NO_MEMORY, "%s: no memory for a session", model->file.name);
    hr_status status = HR_OK;
    if (options->profile)
        status = hr_profile_open(session, options->profile, options->profile_context, error);
    if (!status)
        status = hr_plan_open(model, &session->plan, error);
    if (status)
        return status;
    session->has_plan = true;
    for (uint32_t i = 0; i < model->variant.program.segment_count; i++)
        session->arenas[i].device = model->variant.program.segments[i].device;
    hr_queue_options queue = {sizeof queue, session->threads, options->parallel};
    for (uint32_t i = 0; i < model->device_count && !status; i++)
        status = model->devices[i].driver->queue_open(model->devices[i].opened, &queue, &session->queues[i], error);
    return status;
}

hr_status hr_session_open(hr_model *model, const hr_session_options *given, hr_session **out, hr_error *error) {
    if (!model || !out)
        return hr_fail(error, HR_INVALID, "hr_session_open: model or session is NULL");
    hr_session_options options = {0};
    if (given)
        memcpy(&options, given, given->size < sizeof options ? given->size : sizeof options);
    if (options.threads > HR_MAX_THREADS)
        return hr_fail(error, HR_INVALID, "hr_session_open: %u threads, at most %u are possible", options.threads,
                       HR_MAX_THREADS);
    hr_blocks blocks = {model->blocks.allocator, NULL};
    hr_session *session = hr_blocks_take(&blocks, 1, sizeof *session);
    if (!session)
        return hr_fail(error, HR_NO_MEMORY, "%s: no memory for a session", model->file.name);
    atomic_fetch_add_explicit(&model->references, 1, memory_order_relaxed);
    session->model = model;
    session->blocks = blocks;
    session->threads = options.threads ? options.threads : hr_default_threads("");
    atomic_init(&session->busy, false);
    hr_status status = build(session, &options, error);
    if (status)
        hr_session_close(session);
    else
        *out = session;
    return status;
}

void hr_session_release(hr_session *session, hr_memory *m) {
    const hr_device *device = &session->model->devices[m->device];
    if (m->bytes)
        device->driver->release(device->opened, m->handle, m->bytes);
    m->handle = m->bytes = 0;
}

static void stop_lending(hr_session *session, hr_memory *m) {
    const hr_allocator *allocator = &session->blocks.allocator;
    if (m->bytes)
        allocator->give(allocator->context, (void *)(uintptr_t)m->handle, (size_t)m->bytes, HR_ALIGN);
    m->handle = m->bytes = 0;
}

void hr_session_close(hr_session *session) {
    if (!session)
        return;
    hr_model *model = session->model;
    for (uint32_t i = 0; i < model->device_count; i++)
        if (session->queues[i])
            model->devices[i].driver->queue_close(session->queues[i]);
    if (session->has_plan) {
        for (uint32_t i = 0; i < model->variant.program.segment_count; i++)
            hr_session_release(session, &session->arenas[i]);
        for (uint32_t i = 0; i < model->variant.program.state_count; i++)
            hr_session_release(session, &session->states[i]);
        for (uint32_t i = 0; i < model->signature.input_count; i++)
            hr_session_release(session, &session->device_inputs[i]);
        for (uint32_t i = 0; i < model->signature.output_count; i++) {
            hr_session_release(session, &session->device_outputs[i]);
            stop_lending(session, &session->lent[i]);
        }
        hr_plan_close(&session->plan);
    }
    hr_blocks blocks = session->blocks; /* the session lies in the first of them */
    hr_blocks_give(&blocks);
    hr_model_release(model);
}

uint32_t hr_session_threads(const hr_session *session) {
    return session->threads;
}

hr_status hr_session_grow(hr_session *session, hr_memory *m, uint64_t bytes, hr_error *error) {
    if (bytes <= m->bytes)
        return HR_OK;
    hr_session_release(session, m);
    uint64_t handle;
    const hr_device *device = &session->model->devices[m->device];
    hr_status status = device->driver->alloc(device->opened, bytes, &handle, error);
    if (!status)
        m->handle = handle, m->bytes = bytes;
    return status;
}

hr_status hr_session_lend(hr_session *session, hr_memory *m, uint64_t bytes, hr_error *error) {
    if (bytes <= m->bytes)
        return HR_OK;
    stop_lending(session, m);
    const hr_allocator *allocator = &session->blocks.allocator;
    void *block = bytes > SIZE_MAX ? NULL : allocator->take(allocator->context, (size_t)bytes, HR_ALIGN);
    if (!block)
        return hr_fail(error, HR_NO_MEMORY, "%s: no memory for an output of %llu bytes", session->model->file.name,
                       (unsigned long long)bytes);
    m->handle = hr_handle_of(block), m->bytes = bytes;
    return HR_OK;
}

uint64_t hr_session_scratch(const hr_plan *plan, uint32_t segment) {
    uint64_t bytes = plan->scratch_bytes[segment];
    return bytes > UINT64_MAX - 4096 ? bytes : (bytes + 4095) / 4096 * 4096;
}

static hr_status sum_needed(const hr_session *session, hr_plan *plan, uint64_t *bytes, hr_error *error) {
    const hr_model *model = session->model;
    uint64_t total = 0, scratch = 0;
    bool fits = true;
    for (uint32_t s = 0; s < model->variant.program.segment_count; s++) {
        hr_status status = hr_plan_evaluate(model, plan, s, error);
        if (status)
            return status;
        fits = fits && !__builtin_add_overflow(total, plan->arena_bytes[s], &total);
        scratch = hr_session_scratch(plan, s) > scratch ? hr_session_scratch(plan, s) : scratch;
    }
    fits = fits && !__builtin_mul_overflow(scratch, (uint64_t)session->threads, &scratch) &&
           !__builtin_add_overflow(total, scratch, &total);
    for (uint32_t i = 0; i < model->signature.input_count && !hr_is_host(model); i++)
        fits = fits && !__builtin_add_overflow(total, plan->input_bytes[i], &total);
    for (uint32_t i = 0; i < model->signature.output_count && !hr_is_host(model); i++)
        fits = fits && !__builtin_add_overflow(total, plan->output_bytes[i], &total);
    *bytes = total;
    return fits ? HR_OK : hr_fail(error, HR_SHAPE, "%s: its memory does not fit 64 bits", model->file.name);
}

hr_status hr_memory_needed(hr_session *session, const hr_value *inputs, uint64_t *bytes, hr_error *error) {
    const hr_model *model = session ? session->model : NULL;
    if (!model || (!inputs && model->signature.input_count) || !bytes)
        return hr_fail(error, HR_INVALID, "hr_memory_needed: session, inputs or bytes is NULL");
    if (model->variant.program.read_count) {
        hr_fail(error, HR_DATA,
                "what it computes decides sizes, so the memory needed is not known before a run; run the largest data "
                "that is expected with an allocator (hr_model_options) that counts");
        hr_blame blame = hr_blame_read(model, 0);
        return hr_blame_on(&blame, HR_DATA, error);
    }
    hr_plan plan;
    hr_status status = hr_plan_open(model, &plan, error);
    if (status)
        return status;
    status = hr_plan_set_dims(model, &plan, inputs, error);
    if (!status)
        status = sum_needed(session, &plan, bytes, error);
    hr_plan_close(&plan);
    return status;
}
