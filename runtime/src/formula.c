/* formula.c: checks and evaluates the plan's bytecode.  In: words from the file, dims, reads, scalars.  Out: slots. */
#include "formula.h"

static bool is_known(uint32_t a, uint32_t slot, const hr_scope *scope) {
    return a < slot && !(scope->hidden && scope->hidden[a]);
}

static bool is_sound(const uint32_t *w, uint32_t slot, const hr_code *code, const hr_scope *scope) {
    uint32_t a = w[1], b = w[2];
    switch (w[0]) {
    case HR_OP_CONST:
        return true;
    case HR_OP_DIM:
        return scope->inputs && a < scope->input_count && b < scope->inputs[a].rank;
    case HR_OP_READ:
        return a < scope->read_count && b == 0;
    case HR_OP_ARG:
        return a < scope->arg_count && b == 0;
    case HR_OP_ADD:
    case HR_OP_MUL:
    case HR_OP_FLOORDIV:
    case HR_OP_MOD:
    case HR_OP_MIN:
    case HR_OP_MAX:
        return is_known(a, slot, scope) && is_known(b, slot, scope);
    case HR_OP_CHECK:
        return is_known(a, slot, scope) && b < scope->message_count;
    case HR_OP_EXPECT:
        /* Its message names the input, so `a` must be a DIM of this very code. */
        return a < slot && is_known(b, slot, scope) && a >= code->first && code->words[3 * (a - code->first)] == HR_OP_DIM;
    default:
        return false;
    }
}

bool hr_code_is_sound(const hr_code *code, const hr_scope *scope, uint32_t *bad) {
    for (uint32_t i = 0; i < code->count; i++)
        if (!is_sound(code->words + 3 * (size_t)i, code->first + i, code, scope)) {
            *bad = i;
            return false;
        }
    return true;
}

static int64_t floor_divide(int64_t a, int64_t b) {
    return a / b - (a % b < 0);
}

static int64_t modulo(int64_t a, int64_t b) {
    int64_t r = a % b;
    return r < 0 ? r + b : r;
}

hr_fault_kind hr_code_evaluate(const hr_code *code, const hr_sources *sources, int64_t *slots,
                               hr_formula_fault *fault) {
    for (uint32_t i = 0; i < code->count; i++) {
        const uint32_t *w = code->words + 3 * (size_t)i;
        int64_t *out = slots + code->first + i;
        int64_t a = 0, b = 0;
        hr_fault_kind kind = HR_NO_FAULT;
        if (w[0] >= HR_OP_ADD) {
            a = slots[w[1]];
            b = w[0] == HR_OP_CHECK ? 0 : slots[w[2]];
        }
        switch (w[0]) {
        case HR_OP_CONST:
            *out = (int64_t)((uint64_t)w[2] << 32 | w[1]);
            break;
        case HR_OP_DIM:
            *out = sources->dims[w[1]][w[2]];
            break;
        case HR_OP_READ:
            *out = sources->reads[w[1]];
            break;
        case HR_OP_ARG:
            *out = sources->args[w[1]];
            break;
        case HR_OP_ADD:
            kind = __builtin_add_overflow(a, b, out) ? HR_FAULT_OVERFLOW : HR_NO_FAULT;
            break;
        case HR_OP_MUL:
            kind = __builtin_mul_overflow(a, b, out) ? HR_FAULT_OVERFLOW : HR_NO_FAULT;
            break;
        case HR_OP_FLOORDIV:
        case HR_OP_MOD:
            if (b <= 0)
                kind = HR_FAULT_DIVISOR;
            else
                *out = w[0] == HR_OP_MOD ? modulo(a, b) : floor_divide(a, b);
            break;
        case HR_OP_MIN:
            *out = a < b ? a : b;
            break;
        case HR_OP_MAX:
            *out = a > b ? a : b;
            break;
        case HR_OP_CHECK:
            *out = a;
            kind = a < 0 ? HR_FAULT_CHECK : HR_NO_FAULT;
            break;
        case HR_OP_EXPECT:
            *out = a;
            kind = a != b ? HR_FAULT_EXPECT : HR_NO_FAULT;
            break;
        default:
            break; /* hr_code_is_sound let nothing else through */
        }
        if (kind != HR_NO_FAULT) {
            *fault = (hr_formula_fault){i, a, b};
            return kind;
        }
    }
    return HR_NO_FAULT;
}
