/* states.c: the states of loops.  In: a planned segment.  Out: room for those of its buffers that lie in states.
**
** A state keeps what it holds from turn to turn, and grows when a turn asks for more: to twice its size at least, so that
** appending costs a constant for each element.  It stays for later runs, as arenas do.  Buffers of earlier segments that
** lie in one are told where it has gone. */
#include "states.h"

static hr_status grow(hr_session *session, uint32_t state, uint64_t bytes, hr_error *error) {
    const hr_model *model = session->model;
    const hr_program *program = &model->variant.program;
    hr_memory *old = &session->states[state], grown = {0};
    uint64_t twice = old->bytes > UINT64_MAX / 2 ? UINT64_MAX : 2 * old->bytes;
    hr_status status = hr_session_grow(session, &grown, bytes > twice ? bytes : twice, error);
    if (!status && old->bytes) {
        hr_slice from = {old->handle, 0}, to = {grown.handle, 0};
        status = model->devices[0].driver->copy(session->queues[0], to, from, old->bytes, error);
    }
    if (status) {
        hr_session_release(session, &grown);
        return status;
    }
    hr_session_release(session, old);
    *old = grown;
    for (uint32_t i = 0; i < program->buffer_count; i++)
        if (program->buffers[i]->base == HR_BASE_STATE && program->buffers[i]->index == state)
            session->slices[i].handle = grown.handle;
    return HR_OK;
}

hr_status hr_states_settle(hr_session *session, uint32_t number, hr_error *error) {
    const hr_program *program = &session->model->variant.program;
    const hr_segment *segment = &program->segments[number];
    if (!program->state_count)
        return HR_OK;
    for (uint32_t i = segment->first_buffer; i < segment->first_buffer + segment->buffer_count; i++) {
        const hr_buffer *buffer = program->buffers[i];
        const hr_region *region = &session->plan.buffers[i];
        hr_status status = HR_OK;
        if (buffer->base == HR_BASE_STATE && region->offset + region->bytes > session->states[buffer->index].bytes)
            status = grow(session, buffer->index, region->offset + region->bytes, error);
        if (status)
            return status;
    }
    return HR_OK;
}
