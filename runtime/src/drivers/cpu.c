/* cpu.c: the driver of the machine itself.  Handles are addresses; modules are machine code.
**
** A queue is a thread pool, its own or the caller's, and the scratch of its threads.  A launch is split into equal
** ranges of tasks, one for each thread; kernels compute each task alike in whatever range it lies, so results do not
** depend on the split.
** The thread that calls gets its own floating-point environment back when the run has finished. */
#define _GNU_SOURCE
#include "../fpenv.h"
#include "../pool.h"
#include "../profile.h"
#include "headrace_driver.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef int32_t (*kernel_fn)(void *const *buffers, const int64_t *scalars, void *scratch, int64_t begin, int64_t end);

typedef struct device {
    hr_allocator allocator;
} device;

/* Machine code, readable and executable, never writable at the same time. */
typedef struct module {
    void *code;
    size_t mapped;
} module;

typedef struct queue {
    device *device;
    hr_pool *pool;        /* NULL where the caller brings threads: */
    hr_parallel parallel;
    uint32_t threads;
    uint64_t environment; /* of the thread that calls */
    char *scratch;        /* threads * scratch_each bytes */
    uint64_t scratch_each;
} queue;

static void *take(const device *d, size_t bytes, size_t alignment) {
    return d->allocator.take(d->allocator.context, bytes, alignment);
}

static void give(const device *d, void *memory, size_t bytes, size_t alignment) {
    d->allocator.give(d->allocator.context, memory, bytes, alignment);
}

static void *address_of(hr_slice slice) {
    return (void *)(uintptr_t)(slice.handle + slice.offset);
}

static hr_status cpu_open(const hr_device_options *options, void **out, hr_error *error) {
    device *d = options->allocator.take(options->allocator.context, sizeof *d, HR_ALIGN);
    if (!d)
        return hr_fail(error, HR_NO_MEMORY, "cpu: no memory for the device");
    d->allocator = options->allocator;
    *out = d;
    return HR_OK;
}

static void cpu_close(void *opened) {
    device *d = opened;
    hr_allocator allocator = d->allocator;
    allocator.give(allocator.context, d, sizeof *d, HR_ALIGN);
}

static hr_status cpu_alloc(void *d, uint64_t bytes, uint64_t *handle, hr_error *error) {
    void *memory = bytes > SIZE_MAX ? NULL : take(d, (size_t)bytes, HR_ALIGN);
    if (!memory)
        return hr_fail(error, HR_NO_MEMORY, "cpu: no memory for %llu bytes", (unsigned long long)bytes);
    *handle = (uint64_t)(uintptr_t)memory;
    return HR_OK;
}

static void cpu_release(void *d, uint64_t handle, uint64_t bytes) {
    give(d, (void *)(uintptr_t)handle, (size_t)bytes, HR_ALIGN);
}

static hr_status cpu_module_load(void *d, const void *image, uint64_t bytes, uint64_t *out, hr_error *error) {
    module *m = take(d, sizeof *m, HR_ALIGN);
    if (!m)
        return hr_fail(error, HR_NO_MEMORY, "cpu: no memory for a module");
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    m->mapped = ((size_t)bytes + page) / page * page; /* at least one page */
    m->code = mmap(NULL, m->mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m->code == MAP_FAILED) {
        give(d, m, sizeof *m, HR_ALIGN);
        return hr_fail(error, HR_NO_MEMORY, "cpu: no memory for %llu bytes of code", (unsigned long long)bytes);
    }
    memcpy(m->code, image, (size_t)bytes);
    if (mprotect(m->code, m->mapped, PROT_READ | PROT_EXEC)) {
        int reason = errno;
        munmap(m->code, m->mapped);
        give(d, m, sizeof *m, HR_ALIGN);
        return hr_fail(error, HR_DEVICE, "cpu: code cannot be made executable: %s", strerror(reason));
    }
    __builtin___clear_cache((char *)m->code, (char *)m->code + bytes);
    *out = (uint64_t)(uintptr_t)m;
    return HR_OK;
}

static void cpu_module_unload(void *d, uint64_t handle) {
    module *m = (module *)(uintptr_t)handle;
    munmap(m->code, m->mapped);
    give(d, m, sizeof *m, HR_ALIGN);
}

static hr_status cpu_queue_open(void *opened, const hr_queue_options *options, void **out, hr_error *error) {
    device *d = opened;
    queue *q = take(d, sizeof *q, HR_ALIGN);
    if (!q)
        return hr_fail(error, HR_NO_MEMORY, "cpu: no memory for a queue");
    *q = (queue){.device = d, .threads = options->threads, .parallel = options->parallel};
    if (!q->parallel.run && !(q->pool = hr_pool_open(&d->allocator, q->threads))) {
        give(d, q, sizeof *q, HR_ALIGN);
        return hr_fail(error, HR_NO_MEMORY, "cpu: no memory for a thread pool");
    }
    *out = q;
    return HR_OK;
}

static void drop_scratch(queue *q) {
    if (q->scratch)
        give(q->device, q->scratch, (size_t)(q->scratch_each * q->threads), 4096);
    q->scratch = NULL;
    q->scratch_each = 0;
}

static void cpu_queue_close(void *opened) {
    queue *q = opened;
    if (q->pool)
        hr_pool_close(q->pool);
    drop_scratch(q);
    give(q->device, q, sizeof *q, HR_ALIGN);
}

static hr_status cpu_reserve(void *opened, uint64_t bytes, hr_error *error) {
    queue *q = opened;
    if (bytes <= q->scratch_each)
        return HR_OK;
    drop_scratch(q);
    uint64_t total;
    bool fits = !__builtin_mul_overflow(bytes, (uint64_t)q->threads, &total) && total <= SIZE_MAX;
    q->scratch = fits ? take(q->device, (size_t)total, 4096) : NULL;
    if (!q->scratch)
        return hr_fail(error, HR_NO_MEMORY, "cpu: no memory for %llu bytes of scratch in %u threads",
                       (unsigned long long)bytes, q->threads);
    q->scratch_each = bytes;
    return HR_OK;
}

static hr_status cpu_begin(void *opened, hr_error *error) {
    queue *q = opened;
    (void)error;
    q->environment = hr_fpenv_enter();
    if (q->pool)
        hr_pool_begin(q->pool);
    return HR_OK;
}

static hr_status cpu_finish(void *opened, hr_fault *fault, hr_error *error) {
    queue *q = opened;
    (void)fault, (void)error; /* every launch has waited and told its own fault */
    if (q->pool)
        hr_pool_end(q->pool);
    hr_fpenv_leave(q->environment);
    return HR_OK;
}

static hr_status cpu_upload(void *q, hr_slice target, const void *source, uint64_t bytes, hr_error *error) {
    (void)q, (void)error;
    memcpy(address_of(target), source, (size_t)bytes);
    return HR_OK;
}

static hr_status cpu_download(void *q, void *target, hr_slice source, uint64_t bytes, hr_error *error) {
    (void)q, (void)error;
    memcpy(target, address_of(source), (size_t)bytes);
    return HR_OK;
}

static hr_status cpu_copy(void *q, hr_slice target, hr_slice source, uint64_t bytes, hr_error *error) {
    (void)q, (void)error;
    memcpy(address_of(target), address_of(source), (size_t)bytes);
    return HR_OK;
}

/* One launch, as its parts see it. */
typedef struct job {
    const queue *queue;
    const hr_launch *launch;
    kernel_fn kernel;
    void *const *buffers;
    _Atomic uint64_t first; /* part << 32 | site of the lowest part that reports one: not a matter of timing */
} job;

#define NO_SITE UINT64_MAX

/* floor(tasks * part / parts), which fits although the product may not. */
static int64_t boundary(int64_t tasks, uint32_t part, uint32_t parts) {
    return tasks / parts * part + tasks % parts * part / parts;
}

static void run_part(void *context, uint32_t part, uint32_t parts) {
    job *j = context;
    int64_t begin = boundary(j->launch->tasks, part, parts), end = boundary(j->launch->tasks, part + 1, parts);
    char *scratch = j->queue->scratch ? j->queue->scratch + j->queue->scratch_each * part : NULL;
    hr_profile_part *timed = j->launch->parts ? &j->launch->parts[part] : NULL;
    if (timed)
        *timed = (hr_profile_part){.thread = part, .begin_ns = hr_now_ns()};
    int32_t site = j->kernel(j->buffers, j->launch->scalars, scratch, begin, end);
    if (timed)
        timed->end_ns = hr_now_ns();
    if (site == 0)
        return;
    uint64_t mine = (uint64_t)part << 32 | (uint32_t)site, first = atomic_load(&j->first);
    while (mine < first && !atomic_compare_exchange_weak(&j->first, &first, mine))
        ;
}

/* In a thread of the caller's, which gets its environment back. */
static void run_part_as_guest(void *context, uint32_t part, uint32_t parts) {
    uint64_t environment = hr_fpenv_enter();
    run_part(context, part, parts);
    hr_fpenv_leave(environment);
}

static uint32_t parts_of(const queue *q, const hr_launch *launch) {
    int64_t grain = launch->grain > 1 ? launch->grain : 1;
    int64_t most = launch->tasks / grain;
    return most <= 1 ? 1 : most < (int64_t)q->threads ? (uint32_t)most : q->threads;
}

/* The fault of the lowest part that reports one, with the numbers that it left behind. */
static hr_fault fault_of(const queue *q, const hr_launch *launch, uint64_t first) {
    hr_fault fault = {.index = launch->index, .site = (int32_t)(uint32_t)first};
    if (launch->scratch_bytes >= sizeof fault.values)
        memcpy(fault.values, q->scratch + q->scratch_each * (first >> 32), sizeof fault.values);
    return fault;
}

static hr_status cpu_launch(void *opened, const hr_launch *launch, hr_fault *fault, hr_error *error) {
    queue *q = opened;
    void *buffers[HR_MAX_BUFFERS];
    for (uint32_t i = 0; i < launch->buffer_count; i++)
        buffers[i] = address_of(launch->buffers[i]);
    const module *m = (const module *)(uintptr_t)launch->module;
    job j = {.queue = q,
             .launch = launch,
             .kernel = (kernel_fn)((uintptr_t)m->code + launch->entry),
             .buffers = buffers};
    atomic_init(&j.first, NO_SITE);
    uint32_t parts = parts_of(q, launch);
    if (parts > 1 && q->parallel.run)
        q->parallel.run(q->parallel.context, parts, run_part_as_guest, &j);
    else if (parts == 1)
        run_part(&j, 0, 1);
    else if (!hr_pool_run(q->pool, parts, run_part, &j))
        return hr_fail(error, HR_NO_MEMORY, "cpu: %u threads cannot be started", q->threads);
    if (launch->part_count)
        *launch->part_count = parts;
    uint64_t first = atomic_load(&j.first);
    if (first == NO_SITE)
        return HR_OK;
    *fault = fault_of(q, launch, first);
    return HR_DATA;
}

extern const hr_driver hr_driver_cpu;
const hr_driver hr_driver_cpu = {
    .size = sizeof(hr_driver),
    .abi = HR_DRIVER_ABI,
    .name = "cpu",
    .flags = HR_DRIVER_HOST_MEMORY,
    .open = cpu_open,
    .close = cpu_close,
    .alloc = cpu_alloc,
    .release = cpu_release,
    .module_load = cpu_module_load,
    .module_unload = cpu_module_unload,
    .queue_open = cpu_queue_open,
    .queue_close = cpu_queue_close,
    .reserve = cpu_reserve,
    .begin = cpu_begin,
    .upload = cpu_upload,
    .download = cpu_download,
    .copy = cpu_copy,
    .launch = cpu_launch,
    .finish = cpu_finish,
};
