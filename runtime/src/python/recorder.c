/* recorder.c: keeps launches in a ring and counts memory.
**
** Records are written by the thread that runs the session and read between runs, so the ring holds no lock.  Memory
** is taken by whatever thread calls the library, so its counters are atomic.  Nothing here allocates while recording. */
#include "recorder.h"

#include <stdlib.h>

void hr_recorder_launch(void *context, const hr_profile_event *event) {
    hr_recorder *r = context;
    for (uint32_t i = 0; i < event->part_count; i++) {
        const hr_profile_part *part = &event->parts[i];
        r->records[r->written++ % HR_RECORDS] = (hr_record){
            .kernel = event->kernel,
            .nodes = event->nodes,
            .kernel_index = event->kernel_index,
            .launch_index = event->launch_index,
            .thread = part->thread,
            .tasks = event->tasks,
            .flops = event->flops,
            .bytes = event->bytes,
            .begin_ns = part->begin_ns,
            .end_ns = part->end_ns,
        };
    }
}

static void *take(void *context, size_t bytes, size_t alignment) {
    hr_recorder *r = context;
    size_t rounded = (bytes + alignment - 1) / alignment * alignment;
    void *memory = rounded < bytes ? NULL : aligned_alloc(alignment, rounded);
    if (!memory)
        return NULL;
    atomic_fetch_add(&r->takes, 1);
    unsigned long long held = atomic_fetch_add(&r->held, bytes) + bytes, peak = atomic_load(&r->peak);
    while (peak < held && !atomic_compare_exchange_weak(&r->peak, &peak, held))
        ;
    return memory;
}

static void give(void *context, void *memory, size_t bytes, size_t alignment) {
    hr_recorder *r = context;
    (void)alignment;
    atomic_fetch_sub(&r->held, bytes);
    free(memory);
}

hr_allocator hr_recorder_allocator(hr_recorder *recorder) {
    return (hr_allocator){take, give, recorder};
}
