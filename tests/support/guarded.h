/* guarded.h: memory between pages that cannot be touched, for kernels: they are machine code that no sanitizer has seen. */
#ifndef GUARDED_H
#define GUARDED_H

#include "headrace.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#define MOST_BYTES (UINT64_C(256) << 20) /* that may be taken at once */
#define PAGE 4096

static uint64_t taken_bytes;

static size_t mapped_for(size_t size) {
    return (size + PAGE - 1) / PAGE * PAGE + 2 * PAGE;
}

/* Its end is as near to the page behind it as the alignment lets it be. */
static void *guarded_take(void *context, size_t size, size_t alignment) {
    (void)context;
    if (size > MOST_BYTES || taken_bytes + size > MOST_BYTES)
        return NULL;
    size_t mapped = mapped_for(size);
    uint8_t *start = mmap(NULL, mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED)
        return NULL;
    mprotect(start + PAGE, mapped - 2 * PAGE, PROT_READ | PROT_WRITE);
    taken_bytes += size;
    return start + (mapped - PAGE - size) / alignment * alignment;
}

static void guarded_give(void *context, void *memory, size_t size, size_t alignment) {
    (void)context, (void)alignment;
    uintptr_t last = (uintptr_t)memory + (size ? size - 1 : 0); /* in the last page, or in the first of the two guards */
    size_t mapped = mapped_for(size);
    uint8_t *end = (uint8_t *)(last / PAGE * PAGE + PAGE + (size ? PAGE : 0));
    munmap(end - mapped, mapped);
    taken_bytes -= size;
}

static const hr_allocator guarded = {guarded_take, guarded_give, NULL};

#endif
