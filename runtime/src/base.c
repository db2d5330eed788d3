/* base.c: errors and memory.
**
** A list of blocks belongs to one owner (a model, a session, a plan), which takes from it while it is being built
** and gives everything back at once.  It holds no lock. */
#include "base.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

hr_status hr_fail(hr_error *error, hr_status status, const char *format, ...) {
    if (!error)
        return status;
    va_list arguments;
    va_start(arguments, format);
    int written = vsnprintf(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
    if (written < 0)
        error->message[0] = 0;
    for (unsigned char *c = (unsigned char *)error->message; *c; c++)
        if (*c < ' ' || *c == 127)
            *c = '?';
    error->status = status;
    return status;
}

static void *take_default(void *context, size_t bytes, size_t alignment) {
    (void)context;
    size_t rounded = (bytes + alignment - 1) / alignment * alignment;
    return rounded < bytes ? NULL : aligned_alloc(alignment, rounded);
}

static void give_default(void *context, void *memory, size_t bytes, size_t alignment) {
    (void)context, (void)bytes, (void)alignment;
    free(memory);
}

hr_allocator hr_allocator_or_default(const hr_allocator *given) {
    if (given && given->take)
        return *given;
    return (hr_allocator){take_default, give_default, NULL};
}

typedef struct hr_block {
    struct hr_block *next;
    size_t bytes; /* header included */
} hr_block;

#define HEADER ((sizeof(hr_block) + HR_ALIGN - 1) / HR_ALIGN * HR_ALIGN)

void *hr_blocks_take(hr_blocks *blocks, size_t count, size_t bytes) {
    size_t total;
    if (__builtin_mul_overflow(count, bytes, &total) || __builtin_add_overflow(total, HEADER + 1, &total))
        return NULL;
    hr_block *block = blocks->allocator.take(blocks->allocator.context, total, HR_ALIGN);
    if (!block)
        return NULL;
    memset(block, 0, total);
    block->next = blocks->first;
    block->bytes = total;
    blocks->first = block;
    return (char *)block + HEADER;
}

void hr_blocks_give(hr_blocks *blocks) {
    while (blocks->first) {
        hr_block *block = blocks->first;
        blocks->first = block->next;
        blocks->allocator.give(blocks->allocator.context, block, block->bytes, HR_ALIGN);
    }
}
