/* simulator.c: one task of a kernel, instruction by instruction.  The program passed npu_check. */
#include "npu.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#define FAR ((int64_t)1 << 40) /* no element's number or step is larger, so that sums of them stay exact */

typedef struct loop {
    uint32_t body; /* its first instruction */
    int64_t count;
} loop;

typedef struct machine {
    const npu_program *program;
    const hr_launch *launch;
    float *scratchpad;
    int64_t registers[NPU_REGISTERS];
    loop loops[NPU_LOOPS];
    uint32_t depth;
    uint32_t at; /* the number of the instruction */
} machine;

static hr_status fail(const machine *m, hr_error *error, const char *what) {
    return npu_fail(error, HR_DEVICE, "npu: kernel '%s', instruction %u %s", m->launch->name, m->at, what);
}

/* ---- scalar unit ---- */

static int64_t wrapped(uint64_t bits) {
    int64_t number;
    memcpy(&number, &bits, sizeof number);
    return number;
}

static hr_status compute(machine *m, const uint32_t *w, hr_error *error) {
    int64_t a = m->registers[w[2]], b = m->registers[w[3]], *d = &m->registers[w[1]];
    if ((w[0] == NPU_DIV || w[0] == NPU_MOD) && b <= 0)
        return fail(m, error, "divides by a number below 1");
    switch (w[0]) {
    case NPU_ADD:
        *d = wrapped((uint64_t)a + (uint64_t)b);
        break;
    case NPU_MUL:
        *d = wrapped((uint64_t)a * (uint64_t)b);
        break;
    case NPU_DIV:
        *d = a / b - (a % b < 0);
        break;
    case NPU_MOD:
        *d = a % b + (a % b < 0 ? b : 0);
        break;
    case NPU_MIN:
        *d = a < b ? a : b;
        break;
    default:
        *d = a > b ? a : b;
    }
    return HR_OK;
}

/* The number of the END that belongs to the LOOP at `at`. */
static uint32_t end_of(const npu_program *p, uint32_t at) {
    uint32_t open = 0;
    do {
        uint32_t opcode = p->code[(uint64_t)at * NPU_WORDS];
        open += opcode == NPU_LOOP;
        open -= opcode == NPU_END;
        at++;
    } while (open);
    return at - 1;
}

static void enter(machine *m, const uint32_t *w) {
    m->registers[w[1]] = 0;
    if (m->registers[w[2]] > 0)
        m->loops[m->depth++] = (loop){m->at + 1, m->registers[w[2]]};
    else
        m->at = end_of(m->program, m->at);
}

static void leave(machine *m) {
    loop *l = &m->loops[m->depth - 1];
    int64_t *turn = &m->registers[m->program->code[(uint64_t)(l->body - 1) * NPU_WORDS + 1]];
    if (++*turn < l->count)
        m->at = l->body - 1;
    else
        m->depth--;
}

/* ---- DMA ---- */

static int64_t within(int64_t number, uint32_t most) {
    return number < 0 ? 0 : number < (int64_t)most ? number : (int64_t)most;
}

/* The elements of memory that a LOAD or STORE touches: `first` and steps; rows and columns that are there. */
typedef struct patch {
    float *first;
    int64_t row, column;
    int64_t rows, columns;
} patch;

static hr_status find(const machine *m, const uint32_t *w, patch *out, hr_error *error) {
    const int64_t *r = m->registers;
    int64_t start = r[w[2]], row = r[w[3]], column = r[w[4]];
    int64_t rows = within(r[w[5]], w[10]), columns = within(r[w[6]], w[11]);
    *out = (patch){NULL, row, column, rows, columns};
    if (!rows || !columns)
        return HR_OK;
    if (w[1] >= m->launch->buffer_count)
        return fail(m, error, "names a buffer that the launch does not bring");
    hr_slice slice = m->launch->buffers[w[1]];
    const npu_memory *memory = (const npu_memory *)(uintptr_t)slice.handle;
    int64_t elements = memory && slice.offset <= memory->bytes ? (int64_t)((memory->bytes - slice.offset) / 4) : 0;
    bool is_near = start >= 0 && start < FAR && row >= 0 && row < FAR && column >= 0 && column < FAR;
    if (!is_near || start + (rows - 1) * row + (columns - 1) * column >= elements)
        return npu_fail(error, HR_DEVICE,
                        "npu: kernel '%s', instruction %u leaves memory: %lld by %lld elements from %lld on, in steps of "
                        "%lld and %lld, of %lld",
                        m->launch->name, m->at, (long long)rows, (long long)columns, (long long)start, (long long)row,
                        (long long)column, (long long)elements);
    out->first = (float *)((char *)memory->data + slice.offset) + start;
    return HR_OK;
}

static float *element(const machine *m, const uint32_t *tile, uint32_t row, uint32_t column) {
    return m->scratchpad + tile[0] + row * tile[1] + column * tile[2];
}

static float number(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static hr_status move(machine *m, const uint32_t *w, hr_error *error) {
    patch p;
    hr_status status = find(m, w, &p, error);
    for (uint32_t i = 0; i < w[10] && !status; i++)
        for (uint32_t j = 0; j < w[11]; j++) {
            bool is_there = i < p.rows && j < p.columns;
            float *inside = element(m, w + 7, i, j);
            if (w[0] == NPU_LOAD)
                *inside = is_there ? p.first[i * p.row + j * p.column] : number(w[12]);
            else if (is_there)
                p.first[i * p.row + j * p.column] = *inside;
        }
    return status;
}

/* ---- vector and matrix unit ---- */

static float function(uint32_t which, float a, float b) {
    switch (which) {
    case NPU_F_ADD:
        return a + b;
    case NPU_F_SUB:
        return a - b;
    case NPU_F_MUL:
        return a * b;
    case NPU_F_DIV:
        return a / b;
    case NPU_F_MIN: /* a NaN stays one */
        return isnan(a) || a < b ? a : b;
    case NPU_F_MAX:
        return isnan(a) || a > b ? a : b;
    default:
        return a;
    }
}

static void vector(machine *m, const uint32_t *w) {
    for (uint32_t i = 0; i < w[11]; i++)
        for (uint32_t j = 0; j < w[12]; j++)
            *element(m, w + 2, i, j) = function(w[1], *element(m, w + 5, i, j), *element(m, w + 8, i, j));
}

static void fill(machine *m, const uint32_t *w) {
    for (uint32_t i = 0; i < w[4]; i++)
        for (uint32_t j = 0; j < w[5]; j++)
            *element(m, w + 1, i, j) = number(w[6]);
}

static void multiply(machine *m, const uint32_t *w) {
    uint32_t depth = (uint32_t)within(m->registers[w[13]], w[12]);
    for (uint32_t i = 0; i < w[10]; i++)
        for (uint32_t j = 0; j < w[11]; j++)
            for (uint32_t k = 0; k < depth; k++)
                *element(m, w + 1, i, j) += *element(m, w + 4, i, k) * *element(m, w + 7, k, j);
}

/* ---- programs ---- */

static hr_status step(machine *m, const uint32_t *w, int64_t task, hr_error *error) {
    switch (w[0]) {
    case NPU_SET:
        m->registers[w[1]] = wrapped((uint64_t)w[3] << 32 | w[2]);
        return HR_OK;
    case NPU_ARGUMENT:
        if (w[2] >= m->launch->scalar_count)
            return fail(m, error, "names a scalar that the launch does not bring");
        m->registers[w[1]] = m->launch->scalars[w[2]];
        return HR_OK;
    case NPU_TASK:
        m->registers[w[1]] = task;
        return HR_OK;
    case NPU_LOOP:
        enter(m, w);
        return HR_OK;
    case NPU_END:
        leave(m);
        return HR_OK;
    case NPU_LOAD:
    case NPU_STORE:
        return move(m, w, error);
    case NPU_FILL:
        fill(m, w);
        return HR_OK;
    case NPU_VECTOR:
        vector(m, w);
        return HR_OK;
    case NPU_MATMUL:
        multiply(m, w);
        return HR_OK;
    default:
        return compute(m, w, error);
    }
}

hr_status npu_run(const npu_program *program, const hr_launch *launch, int64_t task, float *scratchpad, hr_error *error) {
    machine m = {.program = program, .launch = launch, .scratchpad = scratchpad};
    hr_status status = HR_OK;
    for (; m.at < program->count && !status; m.at++)
        status = step(&m, program->code + (uint64_t)m.at * NPU_WORDS, task, error);
    return status;
}
