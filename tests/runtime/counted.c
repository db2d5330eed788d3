/* counted.c: aligned_alloc and free, counted. */
#include "counted.h"

#include <stdlib.h>

long takes, balance, fail_at = -1;

static void *take(void *context, size_t bytes, size_t alignment) {
    (void)context;
    if (takes++ == fail_at)
        return NULL;
    balance++;
    return aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
}

static void give(void *context, void *memory, size_t bytes, size_t alignment) {
    (void)context, (void)bytes, (void)alignment;
    balance--;
    free(memory);
}

const hr_model_options counted = {.size = sizeof counted, .allocator = {take, give, NULL}};
