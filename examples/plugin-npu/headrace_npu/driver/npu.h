/* npu.h: what the files of this driver share. */
#ifndef NPU_H
#define NPU_H

#include <headrace_driver.h>

#include "isa.h"

/* Memory of the device that a buffer lies in.  A handle is the address of one. */
typedef struct npu_memory {
    uint64_t bytes;
    void *data;
} npu_memory;

/* One kernel of a code section: `count` instructions. */
typedef struct npu_program {
    const uint32_t *code;
    uint32_t count;
} npu_program;

/* Writes the message that the user is to see, and returns the status. */
__attribute__((format(printf, 3, 4))) hr_status npu_fail(hr_error *error, hr_status status, const char *format, ...);

/* Whether a code section is one: check.c.  What passed needs no further look at anything that does not depend on a
** launch. */
hr_status npu_check(const uint32_t *image, uint64_t words, hr_error *error);

/* Runs one task: simulator.c.  `scratchpad` has NPU_SCRATCHPAD elements. */
hr_status npu_run(const npu_program *program, const hr_launch *launch, int64_t task, float *scratchpad, hr_error *error);

#endif
