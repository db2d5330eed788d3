/* base.h: errors and memory, used by every file of the runtime. */
#ifndef HR_BASE_H
#define HR_BASE_H

#include "headrace.h"

#include <stdbool.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the format is little-endian and is read in place");

#define HR_ALIGN 64u

/* Writes the message, control characters replaced so that it stays one line, and returns `status`. */
__attribute__((format(printf, 3, 4))) hr_status hr_fail(hr_error *error, hr_status status, const char *format, ...);

/* The caller's allocator, or the default one where `take` is NULL. */
hr_allocator hr_allocator_or_default(const hr_allocator *given);

/* Memory that is given back all at once.  Zero is an empty list. */
typedef struct hr_blocks {
    hr_allocator allocator;
    struct hr_block *first;
} hr_blocks;

/* `count * bytes` bytes of zeros, at least one; NULL where the product overflows or there is no memory. */
void *hr_blocks_take(hr_blocks *blocks, size_t count, size_t bytes);
void hr_blocks_give(hr_blocks *blocks);

#endif
