/* run.c: one run of a model.  In: values of the inputs.  Out: values of the outputs.
**
** For each segment: settle its plan and memory, find the addresses of its buffers, launch; a loop's segments turn after
** turn, as a tree of calls no deeper than HR_MAX_LOOPS.  The plan has checked that
** everything is in bounds; here only what the caller passes is checked, before it is used.
** A session serves one run at a time: whoever sets `busy` has it alone. */
#include "blame.h"
#include "session.h"
#include "states.h"

#include <string.h>

static hr_status check_input(const hr_model *model, uint32_t i, const hr_value *value, uint64_t bytes,
                             hr_error *error) {
    const hr_port *port = &model->signature.inputs[i];
    if (value->kind != HR_TENSOR)
        return hr_fail(error, HR_INVALID, "input '%s': is of kind %u, expected a tensor", port->name, value->kind);
    if (value->dtype != port->dtype) {
        const char *found = hr_dtype_name(value->dtype);
        return hr_fail(error, HR_SHAPE, "input '%s': is %s, expected %s", port->name, found ? found : "of no dtype",
                       hr_dtype_name(port->dtype));
    }
    if (value->bytes != bytes)
        return hr_fail(error, HR_INVALID, "input '%s': has %llu bytes, its dims say %llu", port->name,
                       (unsigned long long)value->bytes, (unsigned long long)bytes);
    if (bytes && !value->data)
        return hr_fail(error, HR_INVALID, "input '%s': data is NULL", port->name);
    if ((uintptr_t)value->data % hr_dtype_bytes(port->dtype))
        return hr_fail(error, HR_INVALID, "input '%s': data is not aligned to %zu bytes", port->name,
                       hr_dtype_bytes(port->dtype));
    return HR_OK;
}

static hr_status take_inputs(hr_session *session, const hr_value *inputs, hr_error *error) {
    const hr_model *model = session->model;
    hr_status status = hr_plan_set_dims(model, &session->plan, inputs, error);
    for (uint32_t i = 0; i < model->signature.input_count && !status; i++) {
        uint64_t bytes = session->plan.input_bytes[i];
        if ((status = check_input(model, i, &inputs[i], bytes, error)))
            return status;
        session->inputs[i] = hr_is_host(model) ? hr_handle_of(inputs[i].data) : 0;
        if (hr_is_host(model) || bytes == 0)
            continue;
        if (!(status = hr_session_grow(session, &session->device_inputs[i], bytes, error))) {
            session->inputs[i] = session->device_inputs[i].handle;
            hr_slice whole = {session->inputs[i], 0};
            status = model->devices[0].driver->upload(session->queues[0], whole, inputs[i].data, bytes, error);
        }
    }
    return status;
}

static bool ranges_meet(const void *a, uint64_t a_bytes, const void *b, uint64_t b_bytes) {
    uintptr_t x = (uintptr_t)a, y = (uintptr_t)b;
    return a_bytes && b_bytes && x < y + b_bytes && y < x + a_bytes;
}

static hr_status check_output_dims(const hr_port *port, const hr_value *value, const int64_t *dims, hr_error *error) {
    if (value->rank != port->rank)
        return hr_fail(error, HR_SHAPE, "output '%s': is given %u dims, the result has %u", port->name, value->rank,
                       port->rank);
    for (uint32_t j = 0; j < port->rank; j++)
        if (value->dims[j] != dims[j])
            return hr_fail(error, HR_SHAPE, "output '%s': dim %u is given as %lld, the result has %lld", port->name, j,
                           (long long)value->dims[j], (long long)dims[j]);
    return HR_OK;
}

/* Settles where one output goes, once its size is known, and completes the caller's value. */
static hr_status place_output(hr_session *session, uint32_t i, const hr_value *inputs, hr_value *value,
                              hr_error *error) {
    const hr_model *model = session->model;
    const hr_port *port = &model->signature.outputs[i];
    uint64_t bytes = session->plan.output_bytes[i];
    hr_status status = HR_OK;
    if (value->dims && (status = check_output_dims(port, value, session->plan.output_dims[i], error)))
        return status;
    if (!value->data && !value->bytes) {
        if ((status = hr_session_lend(session, &session->lent[i], bytes, error))) {
            hr_blame blame = hr_blame_output(model, i);
            return hr_blame_on(&blame, status, error);
        }
        value->data = (void *)(uintptr_t)session->lent[i].handle;
    } else if (value->bytes < bytes) {
        return hr_fail(error, HR_SHAPE, "output '%s': has room for %llu bytes, the result has %llu", port->name,
                       (unsigned long long)value->bytes, (unsigned long long)bytes);
    } else if (!value->data || (uintptr_t)value->data % hr_dtype_bytes(port->dtype)) {
        return hr_fail(error, HR_INVALID, "output '%s': data is NULL or not aligned to %zu bytes", port->name,
                       hr_dtype_bytes(port->dtype));
    }
    for (uint32_t j = 0; j < model->signature.input_count; j++)
        if (ranges_meet(value->data, bytes, inputs[j].data, inputs[j].bytes))
            return hr_fail(error, HR_INVALID, "output '%s': its memory overlaps that of input '%s'", port->name,
                           model->signature.inputs[j].name);
    value->kind = HR_TENSOR, value->dtype = port->dtype, value->rank = port->rank, value->reserved = 0;
    value->dims = value->dims ? value->dims : session->plan.output_dims[i];
    value->bytes = bytes;
    session->outputs[i] = hr_is_host(model) ? hr_handle_of(value->data) : 0;
    if (!hr_is_host(model) && bytes && !(status = hr_session_grow(session, &session->device_outputs[i], bytes, error)))
        session->outputs[i] = session->device_outputs[i].handle;
    return status;
}

static void resolve_buffers(hr_session *session, const hr_segment *segment) {
    const hr_model *model = session->model;
    for (uint32_t i = segment->first_buffer; i < segment->first_buffer + segment->buffer_count; i++) {
        const hr_buffer *buffer = model->variant.program.buffers[i];
        hr_slice slice = {0, session->plan.buffers[i].offset};
        switch (buffer->base) {
        case HR_BASE_INPUT:
            slice.handle = session->inputs[buffer->index];
            break;
        case HR_BASE_OUTPUT:
            slice.handle = session->outputs[buffer->index];
            break;
        case HR_BASE_CONSTANT:
            slice.handle = model->devices[segment->device].constants;
            slice.offset += model->constants.items[buffer->index].offset;
            break;
        case HR_BASE_STATE:
            slice.handle = session->states[buffer->index].handle;
            break;
        default:
            slice.handle = session->arenas[buffer->index].handle;
        }
        session->slices[i] = slice;
    }
}

/* Everything that a segment's steps need: the plan, memory, outputs, addresses. */
static hr_status prepare(hr_session *session, uint32_t number, const hr_value *inputs, hr_value *outputs,
                         hr_error *error) {
    const hr_model *model = session->model;
    const hr_program *program = &model->variant.program;
    hr_plan *plan = &session->plan;
    hr_status status = HR_OK;
    if (number >= plan->valid && (status = hr_plan_evaluate(model, plan, number, error)))
        return status;
    if ((status = hr_session_grow(session, &session->arenas[number], plan->arena_bytes[number], error))) {
        hr_blame blame = hr_blame_arena(model, plan, number);
        return hr_blame_on(&blame, status, error);
    }
    if ((status = hr_states_settle(session, number, error)))
        return status;
    uint32_t device = program->segments[number].device;
    status = model->devices[device].driver->reserve(session->queues[device], hr_session_scratch(plan, number), error);
    if (status) {
        hr_blame blame = hr_blame_scratch(model, plan, number);
        return hr_blame_on(&blame, status, error);
    }
    for (uint32_t i = 0; i < model->signature.output_count; i++)
        if (program->outputs[i].segment == number && (status = place_output(session, i, inputs, &outputs[i], error)))
            return status;
    resolve_buffers(session, &program->segments[number]);
    return HR_OK;
}

static int64_t work_of(const hr_planned_step *step) {
    int64_t work;
    bool known = step->flops >= 0 && step->bytes >= 0 && !__builtin_add_overflow(step->flops, step->bytes, &work);
    return known ? work : -1;
}

static hr_status launch(hr_session *session, const uint32_t *w, uint32_t number, hr_fault *fault, hr_error *error) {
    const hr_model *model = session->model;
    const hr_planned_step *step = &session->plan.steps[number];
    const hr_kernel *kernel = &model->variant.kernels[w[HR_LAUNCH_KERNEL]];
    hr_slice buffers[HR_MAX_BUFFERS];
    for (uint32_t i = 0; i < kernel->buffer_count; i++)
        buffers[i] = session->slices[w[HR_LAUNCH_LISTS + i]];
    hr_launch launch = {
        .size = sizeof launch,
        .index = number,
        .module = model->devices[kernel->device].module,
        .name = kernel->name,
        .entry = kernel->entry,
        .buffer_count = kernel->buffer_count,
        .scalar_count = kernel->scalar_count,
        .scratch_alignment = kernel->scratch_alignment,
        .buffers = buffers,
        .scalars = step->scalars,
        .scratch_bytes = step->scratch_bytes,
        .tasks = step->tasks,
        .grain = step->grain,
        .work = work_of(step),
    };
    if (session->profile)
        return hr_profile_launch(session, &launch, w[HR_LAUNCH_KERNEL], fault, error);
    return model->devices[kernel->device].driver->launch(session->queues[kernel->device], &launch, fault, error);
}

static int64_t widen(uint32_t dtype, const uint8_t raw[8]) {
    uint64_t u = 0;
    size_t bytes = hr_dtype_bytes(dtype);
    memcpy(&u, raw, bytes);
    unsigned unused = (unsigned)(64 - 8 * bytes);
    bool is_signed = dtype >= HR_I64 && dtype <= HR_I8;
    if (is_signed)
        return (int64_t)(u << unused) >> unused; /* gcc and clang shift signed numbers arithmetically */
    return u > INT64_MAX ? INT64_MAX : (int64_t)u;
}

static hr_status read_element(hr_session *session, const uint32_t *w, uint32_t segment, uint32_t read,
                              hr_error *error) {
    const hr_model *model = session->model;
    const int64_t *slots = session->plan.slots;
    int64_t element = slots[w[HR_READ_ELEMENT]], low = slots[w[HR_READ_LOW]], high = slots[w[HR_READ_HIGH]];
    size_t bytes = hr_dtype_bytes(w[HR_READ_DTYPE]);
    if (element < 0 || (uint64_t)element >= session->plan.buffers[w[HR_READ_BUFFER]].bytes / bytes)
        return hr_fail(error, HR_DAMAGED, "%s: reads element %lld of buffer %u, past its end", model->file.name,
                       (long long)element, w[HR_READ_BUFFER]);
    hr_slice slice = session->slices[w[HR_READ_BUFFER]];
    slice.offset += (uint64_t)element * bytes;
    uint8_t raw[8];
    uint32_t device = model->variant.program.devices[w[HR_READ_BUFFER]];
    hr_status status = model->devices[device].driver->download(session->queues[device], raw, slice, bytes, error);
    if (status)
        return status;
    int64_t value = widen(w[HR_READ_DTYPE], raw);
    if (value < low || value > high)
        return hr_fail(error, HR_DATA, "%s: is %lld, expected %lld to %lld",
                       model->variant.program.messages[w[HR_READ_MESSAGE]], (long long)value, (long long)low,
                       (long long)high);
    hr_plan_set_read(&session->plan, segment, read, value);
    return HR_OK;
}

/* Within a device, or between the first of several, which uses the host's memory, and another. */
static hr_status copy(hr_session *session, const uint32_t *w, hr_error *error) {
    const hr_model *model = session->model;
    const uint8_t *devices = model->variant.program.devices;
    hr_slice source = session->slices[w[HR_COPY_SOURCE]], target = session->slices[w[HR_COPY_TARGET]];
    uint64_t bytes = session->plan.buffers[w[HR_COPY_SOURCE]].bytes;
    uint32_t from = devices[w[HR_COPY_SOURCE]], to = devices[w[HR_COPY_TARGET]];
    if (!bytes)
        return HR_OK;
    if (from == to)
        return model->devices[to].driver->copy(session->queues[to], target, source, bytes, error);
    if (to)
        return model->devices[to].driver->upload(
            session->queues[to], target, (const void *)(uintptr_t)(source.handle + source.offset), bytes, error);
    return model->devices[from].driver->download(session->queues[from],
                                                 (void *)(uintptr_t)(target.handle + target.offset), source, bytes, error);
}

static hr_status run_segment(hr_session *session, uint32_t number, hr_fault *fault, hr_error *error) {
    const hr_segment *segment = &session->model->variant.program.segments[number];
    uint32_t step = segment->first_step, read = segment->first_read;
    hr_status status = HR_OK;
    for (const uint32_t *w = segment->words, *end = w + segment->word_count; w < end && !status; w += w[0] >> 16) {
        uint32_t op = w[0] & 0xffff;
        if (op == HR_STEP_READ) {
            status = read_element(session, w, number, read++, error);
        } else if (op == HR_STEP_SET) {
            hr_plan_set_read(&session->plan, number, w[HR_SET_READ], session->plan.slots[w[HR_SET_VALUE]]);
            read += w[HR_SET_READ] == read;
        } else if (!session->plan.steps[step].active) {
            step++;
        } else if (op == HR_STEP_LAUNCH) {
            status = launch(session, w, step++, fault, error);
        } else {
            status = copy(session, w, error);
            step++;
        }
    }
    return status;
}

static uint32_t kernel_of_step(const hr_program *program, uint32_t number) {
    uint32_t step = 0;
    for (uint32_t s = 0; s < program->segment_count; s++) {
        const hr_segment *segment = &program->segments[s];
        for (const uint32_t *w = segment->words, *end = w + segment->word_count; w < end; w += w[0] >> 16)
            if ((w[0] & 0xffff) < HR_STEP_READ && step++ == number)
                return w[HR_LAUNCH_KERNEL];
    }
    return 0;
}

static hr_status kernel_failed(const hr_model *model, const hr_fault *fault, hr_error *error) {
    const hr_variant *v = &model->variant;
    char text[400] = "a kernel failed";
    if (fault->index < v->program.step_count)
        hr_debug_fault(v, kernel_of_step(&v->program, fault->index), fault, text, sizeof text);
    return hr_fail(error, HR_DATA, "%s", text);
}

static hr_status fetch_outputs(hr_session *session, hr_value *outputs, hr_error *error) {
    const hr_model *model = session->model;
    hr_status status = HR_OK;
    for (uint32_t i = 0; i < model->signature.output_count && !status && !hr_is_host(model); i++)
        if (outputs[i].bytes)
            status = model->devices[0].driver->download(session->queues[0], outputs[i].data,
                                                        (hr_slice){session->outputs[i], 0}, outputs[i].bytes, error);
    return status;
}

/* One run: what the caller gave, and where a kernel's fault goes. */
typedef struct run {
    hr_session *session;
    const hr_value *inputs;
    hr_value *outputs;
    hr_fault *fault;
    hr_error *error;
} run;

static hr_status run_segments(const run *r, uint32_t first, uint32_t end);

/* Turns of a loop whose own segment is settled.  In each of them the body is planned anew. */
static hr_status run_loop(const run *r, uint32_t head) {
    hr_plan *plan = &r->session->plan;
    const uint32_t *w = r->session->model->variant.program.segments[head].loop;
    int64_t limit = plan->slots[w[HR_LOOP_LIMIT]];
    hr_status status = HR_OK;
    for (int64_t turn = 0; turn < limit && plan->slots[w[HR_LOOP_CONDITION]] >= 0 && !status; turn++) {
        plan->valid = head + 1;
        status = run_segments(r, head + 1, head + 1 + w[HR_LOOP_SEGMENTS]);
        if (status || r->fault->site)
            return status;
        plan->valid = head;
        status = prepare(r->session, head, r->inputs, r->outputs, r->error);
    }
    return status;
}

/* Segments [first, end), those of loops as often as these say. */
static hr_status run_segments(const run *r, uint32_t first, uint32_t end) {
    hr_status status = HR_OK;
    for (uint32_t s = first; s < end && !status && !r->fault->site;) {
        const hr_segment *segment = &r->session->model->variant.program.segments[s];
        status = prepare(r->session, s, r->inputs, r->outputs, r->error);
        if (!status)
            status = segment->loop ? run_loop(r, s) : run_segment(r->session, s, r->fault, r->error);
        s += segment->loop ? 1 + segment->loop[HR_LOOP_SEGMENTS] : 1;
    }
    return status;
}

static hr_status run_all(hr_session *session, const hr_value *inputs, hr_value *outputs, hr_fault *fault,
                         hr_error *error) {
    const run all = {session, inputs, outputs, fault, error};
    hr_status status = take_inputs(session, inputs, error);
    if (!status)
        status = run_segments(&all, 0, session->model->variant.program.segment_count);
    return status || fault->site ? status : fetch_outputs(session, outputs, error);
}

hr_status hr_run(hr_session *session, const hr_value *inputs, hr_value *outputs, hr_error *error) {
    const hr_model *model = session ? session->model : NULL;
    if (!model || (!inputs && model->signature.input_count) || (!outputs && model->signature.output_count))
        return hr_fail(error, HR_INVALID, "hr_run: session, inputs or outputs is NULL");
    if (atomic_exchange_explicit(&session->busy, true, memory_order_acquire))
        return hr_fail(error, HR_BUSY, "%s: this session is running; one run at a time", model->file.name);
    hr_fault fault = {0};
    hr_status status = HR_OK;
    uint32_t begun = 0;
    for (; begun < model->device_count && !status; begun += !status)
        status = model->devices[begun].driver->begin(session->queues[begun], error);
    if (!status)
        status = run_all(session, inputs, outputs, &fault, error);
    while (begun--) {
        hr_fault late = {0};
        hr_status finished = model->devices[begun].driver->finish(session->queues[begun], &late, status ? NULL : error);
        status = status ? status : finished;
        fault = fault.site ? fault : late;
    }
    if (fault.site && (status == HR_OK || status == HR_DATA))
        status = kernel_failed(model, &fault, error);
    atomic_store_explicit(&session->busy, false, memory_order_release);
    return status;
}
