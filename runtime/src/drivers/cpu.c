/* cpu.c: the driver of the machine itself.  Handles are addresses; modules are machine code.
**
** A queue is a team of threads.  The thread that calls gets its own floating-point environment back when the run has
** finished. */
#define _GNU_SOURCE
#include "../fpenv.h"
#include "../team.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

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
    hr_team *team;
    uint64_t environment; /* of the thread that calls */
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
    if (options->name[0] && strcmp(options->name, "0"))
        return hr_fail(error, HR_INVALID, "cpu: there is no device '%s'; there is one, 0", options->name);
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
    *q = (queue){.device = d, .team = hr_team_open(&d->allocator, options)};
    if (!q->team) {
        give(d, q, sizeof *q, HR_ALIGN);
        return hr_fail(error, HR_NO_MEMORY, "cpu: no memory for %u threads", options->threads);
    }
    *out = q;
    return HR_OK;
}

static void cpu_queue_close(void *opened) {
    queue *q = opened;
    hr_team_close(q->team);
    give(q->device, q, sizeof *q, HR_ALIGN);
}

static hr_status cpu_reserve(void *opened, uint64_t bytes, hr_error *error) {
    return hr_team_reserve(((queue *)opened)->team, bytes, error);
}

static hr_status cpu_begin(void *opened, hr_error *error) {
    queue *q = opened;
    (void)error;
    q->environment = hr_fpenv_enter();
    hr_team_begin(q->team);
    return HR_OK;
}

static hr_status cpu_finish(void *opened, hr_fault *fault, hr_error *error) {
    queue *q = opened;
    (void)fault, (void)error; /* every launch has waited and told its own fault */
    hr_team_end(q->team);
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

static hr_status cpu_launch(void *opened, const hr_launch *launch, hr_fault *fault, hr_error *error) {
    queue *q = opened;
    const module *m = (const module *)(uintptr_t)launch->module;
    void *buffers[HR_MAX_BUFFERS];
    for (uint32_t i = 0; i < launch->buffer_count; i++)
        buffers[i] = address_of(launch->buffers[i]);
    return hr_team_launch(q->team, launch, (hr_kernel_fn)((uintptr_t)m->code + launch->entry), buffers, fault, error);
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
