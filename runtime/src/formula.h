/* formula.h: the plan's bytecode: formulas over int64, each instruction the value of the next slot.
**
** An instruction is three words {op, a, b}.  Instruction i of a code that starts at slot f defines slot f + i and may
** read slots below it only.  So a code that has been checked once can neither loop nor read what is not there. */
#ifndef HR_FORMULA_H
#define HR_FORMULA_H

#include "base.h"

/* ORDER: docs/artefact.md, codegen/artefact/formula.py */
typedef enum hr_op {
    HR_OP_CONST = 1, /* the int64 with low half a, high half b */
    HR_OP_DIM,       /* dim b of input a */
    HR_OP_READ,      /* what read a has read */
    HR_OP_ARG,       /* scalar a of the launch */
    HR_OP_ADD,       /* slot a + slot b, and so on: */
    HR_OP_MUL,
    HR_OP_FLOORDIV, /* slot b must be above 0 */
    HR_OP_MOD,      /* slot b must be above 0; the result is in [0, slot b) */
    HR_OP_MIN,
    HR_OP_MAX,
    HR_OP_CHECK, /* slot a, which must be >= 0; else the error is message b */
    HR_OP_EXPECT /* slot a, a DIM, which must equal slot b */
} hr_op;

typedef struct hr_code {
    const uint32_t *words; /* 3 * count, in the file */
    uint32_t count;
    uint32_t first; /* the slot that the first instruction defines */
} hr_code;

/* What a code may refer to. */
typedef struct hr_scope {
    const hr_port *inputs; /* NULL: no DIM */
    uint32_t input_count;
    uint32_t read_count;
    uint32_t arg_count;
    uint32_t message_count;
    const uint8_t *hidden; /* NULL, or for each slot whether it is of a loop that is closed */
} hr_scope;

/* False, with the number of the first bad instruction, for a code that evaluation could not trust. */
bool hr_code_is_sound(const hr_code *code, const hr_scope *scope, uint32_t *bad);

/* Where values come from. */
typedef struct hr_sources {
    const int64_t *const *dims; /* of each input */
    const int64_t *reads;
    const int64_t *args;
} hr_sources;

typedef enum hr_fault_kind {
    HR_NO_FAULT = 0,
    HR_FAULT_OVERFLOW, /* a op b does not fit 64 bits */
    HR_FAULT_DIVISOR,  /* b is not above 0 */
    HR_FAULT_CHECK,    /* a is negative */
    HR_FAULT_EXPECT    /* a is not b */
} hr_fault_kind;

typedef struct hr_formula_fault {
    uint32_t instruction;
    int64_t a, b;
} hr_formula_fault;

/* Evaluates a sound code into slots[first ...]. */
hr_fault_kind hr_code_evaluate(const hr_code *code, const hr_sources *sources, int64_t *slots,
                               hr_formula_fault *fault);

#endif
