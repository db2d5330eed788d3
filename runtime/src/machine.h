/* machine.h: what this CPU can do. */
#ifndef HR_MACHINE_H
#define HR_MACHINE_H

#include "base.h"

/* ORDER: docs/artefact.md, codegen/artefact/layout.py */
typedef enum hr_machine_kind { HR_X86_64 = 1, HR_AARCH64 = 2, HR_ANY_MACHINE = 3 } hr_machine_kind;

typedef struct hr_machine {
    uint32_t kind;
    uint64_t features; /* bit i: the i-th name of the machine's list */
} hr_machine;

/* Asks the CPU and the operating system; HEADRACE_CPU limits the answer.  HR_INVALID for a limit that is no level. */
hr_status hr_machine_detect(hr_machine *machine, hr_error *error);

/* Does it have this feature, by LLVM's name? */
bool hr_machine_has(const hr_machine *machine, const char *feature);

const char *hr_machine_name(uint32_t kind);

#endif
