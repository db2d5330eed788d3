/* plan.c: evaluates the formulas of a program for the shapes of one run.
**
** In: dims of the inputs, integers read from data.  Out: slots, regions of buffers, steps.
** After hr_plan_evaluate every region lies inside its base and every launched kernel's need inside its buffers, so a
** run needs no further checks.  A plan belongs to one session, or to one call of hr_memory_needed. */
#include "plan.h"
#include "blame.h"

#include <stdio.h>
#include <string.h>

static void *take(hr_plan *plan, size_t count, size_t bytes, bool *ok) {
    void *memory = hr_blocks_take(&plan->blocks, count, bytes);
    *ok = *ok && memory;
    return memory;
}

/* One row of int64 for each port, as long as its rank. */
static int64_t **take_rows(hr_plan *plan, const hr_port *ports, uint32_t count, bool *ok) {
    int64_t **rows = take(plan, count, sizeof *rows, ok);
    for (uint32_t i = 0; i < count && *ok; i++)
        rows[i] = take(plan, ports[i].rank, sizeof **rows, ok);
    return rows;
}

hr_status hr_plan_open(const hr_model *model, hr_plan *plan, hr_error *error) {
    const hr_program *program = &model->variant.program;
    const hr_signature *signature = &model->signature;
    *plan = (hr_plan){.blocks = {model->blocks.allocator, NULL}};
    bool ok = true;
    uint32_t most = 0;
    for (uint32_t i = 0; i < model->variant.kernel_count; i++) {
        uint32_t needs = model->variant.kernels[i].code.count, work = model->variant.debug.work[i].code.count;
        most = needs > most ? needs : most;
        most = work > most ? work : most;
    }
    plan->dims = take_rows(plan, signature->inputs, signature->input_count, &ok);
    plan->output_dims = take_rows(plan, signature->outputs, signature->output_count, &ok);
    plan->input_bytes = take(plan, signature->input_count, sizeof *plan->input_bytes, &ok);
    plan->output_bytes = take(plan, signature->output_count, sizeof *plan->output_bytes, &ok);
    plan->reads = take(plan, program->read_count, sizeof *plan->reads, &ok);
    plan->slots = take(plan, program->slot_count, sizeof *plan->slots, &ok);
    plan->kernel_slots = take(plan, most, sizeof *plan->kernel_slots, &ok);
    plan->scalars = take(plan, program->scalar_count, sizeof *plan->scalars, &ok);
    plan->buffers = take(plan, program->buffer_count, sizeof *plan->buffers, &ok);
    plan->steps = take(plan, program->step_count, sizeof *plan->steps, &ok);
    plan->arena_bytes = take(plan, program->segment_count, sizeof *plan->arena_bytes, &ok);
    plan->scratch_bytes = take(plan, program->segment_count, sizeof *plan->scratch_bytes, &ok);
    if (ok)
        return HR_OK;
    hr_plan_close(plan);
    return hr_fail(error, HR_NO_MEMORY, "%s: no memory for its plan", model->file.name);
}

void hr_plan_close(hr_plan *plan) {
    hr_blocks_give(&plan->blocks);
}

static bool bytes_of(const int64_t *dims, uint32_t rank, size_t element, uint64_t *bytes) {
    int64_t total = (int64_t)element;
    bool empty = false;
    for (uint32_t i = 0; i < rank; i++)
        empty = empty || dims[i] == 0;
    for (uint32_t i = 0; i < rank && !empty; i++)
        if (__builtin_mul_overflow(total, dims[i], &total))
            return false;
    *bytes = empty ? 0 : (uint64_t)total;
    return true;
}

static hr_status check_dims(const hr_port *port, const hr_value *value, hr_error *error) {
    if (value->rank != port->rank)
        return hr_fail(error, HR_SHAPE, "input '%s': has %u dims, expected %u", port->name, value->rank, port->rank);
    if (value->rank && !value->dims)
        return hr_fail(error, HR_INVALID, "input '%s': dims is NULL", port->name);
    for (uint32_t i = 0; i < port->rank; i++) {
        long long dim = (long long)value->dims[i];
        if (dim < 0)
            return hr_fail(error, HR_INVALID, "input '%s': dim %u is %lld", port->name, i, dim);
        if (port->dims[i].size >= 0 && port->dims[i].size != dim)
            return hr_fail(error, HR_SHAPE, "input '%s': dim %u is %lld, expected %lld", port->name, i, dim,
                           (long long)port->dims[i].size);
    }
    return HR_OK;
}

hr_status hr_plan_set_dims(const hr_model *model, hr_plan *plan, const hr_value *inputs, hr_error *error) {
    const hr_signature *signature = &model->signature;
    for (uint32_t i = 0; i < signature->input_count; i++) {
        const hr_port *port = &signature->inputs[i];
        hr_status status = check_dims(port, &inputs[i], error);
        if (status)
            return status;
        if (!bytes_of(inputs[i].dims, port->rank, hr_dtype_bytes(port->dtype), &plan->input_bytes[i])) {
            plan->valid = 0;
            return hr_fail(error, HR_SHAPE, "input '%s': its bytes do not fit 64 bits", port->name);
        }
        size_t row = port->rank * sizeof(int64_t);
        if (row && memcmp(plan->dims[i], inputs[i].dims, row)) {
            plan->valid = 0;
            memcpy(plan->dims[i], inputs[i].dims, row);
        }
    }
    return HR_OK;
}

void hr_plan_set_read(hr_plan *plan, uint32_t segment, uint32_t read, int64_t value) {
    if (plan->reads[read] == value)
        return;
    plan->reads[read] = value;
    plan->valid = plan->valid > segment + 1 ? segment + 1 : plan->valid;
}

/* `blame` says what has these sizes, where no message of the file does. */
static hr_status formula_failed(const hr_model *model, const hr_code *code, hr_fault_kind kind,
                                const hr_formula_fault *fault, const hr_blame *blame, hr_error *error) {
    const uint32_t *w = code->words + 3 * (size_t)fault->instruction;
    if (kind == HR_FAULT_CHECK)
        return hr_fail(error, HR_SHAPE, "%s", model->variant.program.messages[w[2]]);
    if (kind == HR_FAULT_EXPECT) {
        const uint32_t *dim = code->words + 3 * (size_t)(w[1] - code->first);
        const hr_port *port = &model->signature.inputs[dim[1]];
        return hr_fail(error, HR_SHAPE, "input '%s': dim %u is %lld, expected %lld (%s)", port->name, dim[2],
                       (long long)fault->a, (long long)fault->b, port->dims[dim[2]].text);
    }
    static const char *const names[] = {
        [HR_OP_ADD] = "+", [HR_OP_MUL] = "*", [HR_OP_FLOORDIV] = "/", [HR_OP_MOD] = "mod"};
    const char *why = kind == HR_FAULT_OVERFLOW ? "which does not fit 64 bits" : "which is no number";
    return hr_fail(error, HR_SHAPE, "%s%sthe shapes lead to %lld %s %lld, %s",
                   blame->text[0] ? blame->text : model->file.name, blame->text[0] ? "" : ": ", (long long)fault->a,
                   names[w[0]], (long long)fault->b, why);
}

static hr_status output_failed(const hr_model *model, uint32_t output, hr_error *error) {
    hr_blame blame = hr_blame_output(model, output);
    return hr_blame_on(&blame, HR_SHAPE, error);
}

static hr_status evaluate_outputs(const hr_model *model, hr_plan *plan, uint32_t segment, hr_error *error) {
    for (uint32_t i = 0; i < model->signature.output_count; i++) {
        const hr_port *port = &model->signature.outputs[i];
        const hr_output *output = &model->variant.program.outputs[i];
        if (output->segment != segment)
            continue;
        for (uint32_t j = 0; j < port->rank; j++) {
            int64_t dim = plan->output_dims[i][j] = plan->slots[output->slots[j]];
            if (dim < 0) {
                hr_fail(error, HR_SHAPE, "output '%s': dim %u (%s) would be %lld", port->name, j, port->dims[j].text,
                        (long long)dim);
                return output_failed(model, i, error);
            }
        }
        if (!bytes_of(plan->output_dims[i], port->rank, hr_dtype_bytes(port->dtype), &plan->output_bytes[i])) {
            hr_fail(error, HR_SHAPE, "output '%s': its bytes do not fit 64 bits", port->name);
            return output_failed(model, i, error);
        }
    }
    return HR_OK;
}

static uint64_t room_in(const hr_model *model, const hr_plan *plan, const hr_buffer *buffer) {
    switch (buffer->base) {
    case HR_BASE_INPUT:
        return plan->input_bytes[buffer->index];
    case HR_BASE_OUTPUT:
        return plan->output_bytes[buffer->index];
    case HR_BASE_CONSTANT:
        return model->constants.items[buffer->index].bytes;
    case HR_BASE_STATE:
        return INT64_MAX; /* it grows */
    default:
        return plan->arena_bytes[buffer->index];
    }
}

/* Here and below: a well-compiled program never fails these checks. */
static hr_status evaluate_buffers(const hr_model *model, hr_plan *plan, const hr_segment *segment, hr_error *error) {
    for (uint32_t i = segment->first_buffer; i < segment->first_buffer + segment->buffer_count; i++) {
        const hr_buffer *buffer = model->variant.program.buffers[i];
        int64_t offset = plan->slots[buffer->offset_slot], bytes = plan->slots[buffer->bytes_slot];
        uint64_t room = room_in(model, plan, buffer);
        if (bytes < 0) {
            hr_blame blame = hr_blame_buffer(model, (uint32_t)(segment - model->variant.program.segments), i);
            hr_fail(error, HR_SHAPE, "the shapes lead to a tensor of %lld bytes", (long long)bytes);
            return hr_blame_on(&blame, HR_SHAPE, error);
        }
        if (bytes == 0)
            offset = 0; /* an empty part of an empty buffer: where it would begin says nothing */
        if (offset < 0 || (uint64_t)offset > room || (uint64_t)bytes > room - (uint64_t)offset)
            return hr_fail(error, HR_DAMAGED, "%s: buffer %u would be %lld bytes at %lld of %llu", model->file.name, i,
                           (long long)bytes, (long long)offset, (unsigned long long)room);
        plan->buffers[i] = (hr_region){(uint64_t)offset, (uint64_t)bytes};
    }
    return HR_OK;
}

/* What is not known steers nothing: it must not make a run fail. */
static void count_work(const hr_model *model, hr_plan *plan, uint32_t kernel, hr_planned_step *step) {
    const hr_work *work = &model->variant.debug.work[kernel];
    const hr_sources sources = {.args = step->scalars};
    hr_formula_fault fault;
    step->flops = step->bytes = -1;
    if (work->code.count && !hr_code_evaluate(&work->code, &sources, plan->kernel_slots, &fault)) {
        step->flops = plan->kernel_slots[work->flops_slot];
        step->bytes = plan->kernel_slots[work->bytes_slot];
    }
}

static hr_status evaluate_launch(const hr_model *model, hr_plan *plan, const uint32_t *w, hr_planned_step *step,
                                 hr_error *error) {
    const hr_kernel *kernel = &model->variant.kernels[w[HR_LAUNCH_KERNEL]];
    const uint32_t *buffers = w + HR_LAUNCH_LISTS;
    const hr_sources sources = {.args = step->scalars};
    hr_formula_fault fault;
    hr_fault_kind kind = hr_code_evaluate(&kernel->code, &sources, plan->kernel_slots, &fault);
    if (kind) {
        hr_blame blame = hr_blame_step(model, (uint32_t)(step - plan->steps));
        return formula_failed(model, &kernel->code, kind, &fault, &blame, error);
    }
    int64_t scratch = plan->kernel_slots[kernel->scratch_slot];
    int64_t most = kernel->tasks_slot == HR_NO_SLOT ? INT64_MAX : plan->kernel_slots[kernel->tasks_slot];
    for (uint32_t i = 0; i < kernel->required_count; i++)
        if (plan->kernel_slots[kernel->required[i]] < 0)
            return hr_fail(error, HR_DAMAGED, "%s: kernel '%s' is not made for the sizes that it would get",
                           model->file.name, kernel->name);
    if (scratch < 0 || step->tasks < 0 || step->tasks > most)
        return hr_fail(error, HR_DAMAGED, "%s: kernel '%s' would have %lld tasks with %lld bytes of scratch",
                       model->file.name, kernel->name, (long long)step->tasks, (long long)scratch);
    step->scratch_bytes = (uint64_t)scratch;
    for (uint32_t i = 0; i < kernel->buffer_count; i++) {
        int64_t need = plan->kernel_slots[kernel->buffers[i].bytes_slot];
        if (need > 0 && (uint64_t)need > plan->buffers[buffers[i]].bytes)
            return hr_fail(error, HR_DAMAGED, "%s: kernel '%s' needs %lld bytes of its buffer %u, which has %llu",
                           model->file.name, kernel->name, (long long)need, i,
                           (unsigned long long)plan->buffers[buffers[i]].bytes);
    }
    count_work(model, plan, w[HR_LAUNCH_KERNEL], step);
    return HR_OK;
}

static bool overlap(const hr_program *program, const hr_plan *plan, uint32_t a, uint32_t b) {
    const hr_region *x = &plan->buffers[a], *y = &plan->buffers[b];
    return program->buffers[a]->base == program->buffers[b]->base &&
           program->buffers[a]->index == program->buffers[b]->index && x->offset < y->offset + y->bytes &&
           y->offset < x->offset + x->bytes;
}

static hr_status evaluate_copy(const hr_model *model, const hr_plan *plan, const uint32_t *w, hr_error *error) {
    uint32_t source = w[HR_COPY_SOURCE], target = w[HR_COPY_TARGET];
    uint64_t from = plan->buffers[source].bytes, to = plan->buffers[target].bytes;
    if (from != to || overlap(&model->variant.program, plan, source, target))
        return hr_fail(error, HR_DAMAGED, "%s: a copy from buffer %u (%llu bytes) to %u (%llu bytes) is wrong",
                       model->file.name, source, (unsigned long long)from, target, (unsigned long long)to);
    return HR_OK;
}

/* A launch that writes nothing could only fail.  Where it cannot, its loops over what is left of an empty buffer's dims
** need not run: one of [2^62, 0] has many rows. */
static bool has_effect(const hr_model *model, const hr_plan *plan, const uint32_t *w) {
    const hr_kernel *kernel = &model->variant.kernels[w[HR_LAUNCH_KERNEL]];
    hr_cursor sites = model->variant.debug.sites[w[HR_LAUNCH_KERNEL]];
    bool found = hr_read_u32(&sites) > 0;
    for (uint32_t i = 0; i < kernel->buffer_count && !found; i++)
        found = kernel->buffers[i].written && plan->buffers[w[HR_LAUNCH_LISTS + i]].bytes > 0;
    return found;
}

static hr_status evaluate_steps(const hr_model *model, hr_plan *plan, uint32_t number, hr_error *error) {
    const hr_segment *segment = &model->variant.program.segments[number];
    hr_planned_step *step = plan->steps + segment->first_step;
    int64_t *scalars = plan->scalars + segment->first_scalar;
    plan->scratch_bytes[number] = 0;
    for (const uint32_t *w = segment->words, *end = w + segment->word_count; w < end; w += w[0] >> 16) {
        uint32_t op = w[0] & 0xffff;
        if (op >= HR_STEP_READ)
            break;
        uint32_t when = w[op == HR_STEP_LAUNCH ? HR_LAUNCH_WHEN : HR_COPY_WHEN];
        step->active = when == HR_NO_SLOT || plan->slots[when] >= 0;
        hr_status status = HR_OK;
        if (op == HR_STEP_COPY) {
            status = step->active ? evaluate_copy(model, plan, w, error) : HR_OK;
        } else {
            const hr_kernel *kernel = &model->variant.kernels[w[HR_LAUNCH_KERNEL]];
            step->scalars = scalars;
            for (uint32_t i = 0; i < kernel->scalar_count; i++)
                *scalars++ = plan->slots[w[HR_LAUNCH_LISTS + kernel->buffer_count + i]];
            step->tasks = plan->slots[w[HR_LAUNCH_TASKS]];
            step->grain = plan->slots[w[HR_LAUNCH_GRAIN]];
            step->active = step->active && step->tasks != 0 && has_effect(model, plan, w);
            status = step->active ? evaluate_launch(model, plan, w, step, error) : HR_OK;
            if (step->active && step->scratch_bytes > plan->scratch_bytes[number])
                plan->scratch_bytes[number] = step->scratch_bytes;
        }
        if (status)
            return status;
        step++;
    }
    return HR_OK;
}

hr_status hr_plan_evaluate(const hr_model *model, hr_plan *plan, uint32_t number, hr_error *error) {
    const hr_segment *segment = &model->variant.program.segments[number];
    const hr_sources sources = {.dims = (const int64_t *const *)plan->dims, .reads = plan->reads};
    hr_formula_fault fault;
    plan->valid = number;
    hr_fault_kind kind = hr_code_evaluate(&segment->code, &sources, plan->slots, &fault);
    if (kind) {
        hr_blame blame = {""};
        if (kind == HR_FAULT_OVERFLOW || kind == HR_FAULT_DIVISOR)
            blame = hr_blame_slot(model, plan, number, segment->code.first + fault.instruction);
        return formula_failed(model, &segment->code, kind, &fault, &blame, error);
    }
    int64_t arena = plan->slots[segment->arena_slot];
    if (arena < 0)
        return hr_fail(error, HR_DAMAGED, "%s: the arena would be %lld bytes", model->file.name, (long long)arena);
    plan->arena_bytes[number] = (uint64_t)arena;
    hr_status status = evaluate_outputs(model, plan, number, error);
    if (!status)
        status = evaluate_buffers(model, plan, segment, error);
    if (!status)
        status = evaluate_steps(model, plan, number, error);
    if (!status)
        plan->valid = number + 1;
    return status;
}
