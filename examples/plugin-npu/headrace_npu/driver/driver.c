/* driver.c: the NPU, simulated, as a driver of Headrace.  Everything that headrace_driver.h asks for.
**
** The device has memory of its own, of NPU_BYTES; copies lead in and out.  A launch is over when the call returns.
** Threads: the count of bytes taken is atomic; everything else belongs to one queue. */
#include "npu.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define ALIGNMENT 64u
#define NPU_BYTES ((uint64_t)64 << 20)

typedef struct device {
    hr_allocator allocator;
    _Atomic uint64_t used; /* bytes of memory */
} device;

typedef struct module {
    uint64_t words;
    uint32_t image[]; /* checked */
} module;

typedef struct queue {
    device *device;
    float scratchpad[NPU_SCRATCHPAD];
} queue;

hr_status npu_fail(hr_error *error, hr_status status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    if (vsnprintf(error->message, sizeof error->message, format, arguments) < 0)
        error->message[0] = 0;
    va_end(arguments);
    return error->status = status;
}

/* ---- the host's memory, for what the driver itself keeps ---- */

static void *take(const hr_allocator *a, uint64_t bytes) {
    return bytes > SIZE_MAX ? NULL : a->take(a->context, (size_t)bytes, ALIGNMENT);
}

static void give(const hr_allocator *a, void *memory, uint64_t bytes) {
    a->give(a->context, memory, (size_t)bytes, ALIGNMENT);
}

/* ---- device ---- */

static hr_status npu_open(const hr_device_options *options, void **out, hr_error *error) {
    if (options->name[0] && strcmp(options->name, "0") != 0)
        return npu_fail(error, HR_INVALID, "npu: there is no device '%s'; there is one, 0", options->name);
    device *d = take(&options->allocator, sizeof *d);
    if (!d)
        return npu_fail(error, HR_NO_MEMORY, "npu: no memory for the device");
    d->allocator = options->allocator;
    atomic_init(&d->used, 0);
    *out = d;
    return HR_OK;
}

static void npu_close(void *opened) {
    device *d = opened;
    hr_allocator allocator = d->allocator;
    give(&allocator, d, sizeof *d);
}

static hr_status npu_alloc(void *opened, uint64_t bytes, uint64_t *handle, hr_error *error) {
    device *d = opened;
    uint64_t before = atomic_fetch_add(&d->used, bytes);
    npu_memory *m = before > NPU_BYTES || bytes > NPU_BYTES - before ? NULL : take(&d->allocator, sizeof *m);
    void *data = m ? take(&d->allocator, bytes) : NULL;
    if (!data) {
        if (m)
            give(&d->allocator, m, sizeof *m);
        atomic_fetch_sub(&d->used, bytes);
        return npu_fail(error, HR_NO_MEMORY, "npu: %llu bytes wanted, %llu of %llu taken", (unsigned long long)bytes,
                        (unsigned long long)before, (unsigned long long)NPU_BYTES);
    }
    *m = (npu_memory){bytes, data};
    *handle = (uint64_t)(uintptr_t)m;
    return HR_OK;
}

static void npu_release(void *opened, uint64_t handle, uint64_t bytes) {
    device *d = opened;
    npu_memory *m = (npu_memory *)(uintptr_t)handle;
    give(&d->allocator, m->data, bytes);
    give(&d->allocator, m, sizeof *m);
    atomic_fetch_sub(&d->used, bytes);
}

/* ---- module ---- */

static hr_status npu_module_load(void *opened, const void *image, uint64_t bytes, uint64_t *handle, hr_error *error) {
    device *d = opened;
    module *m = take(&d->allocator, sizeof *m + bytes);
    if (!m)
        return npu_fail(error, HR_NO_MEMORY, "npu: no memory for %llu bytes of code", (unsigned long long)bytes);
    m->words = bytes / 4;
    memcpy(m->image, image, (size_t)bytes);
    hr_status status = npu_check(m->image, m->words, error);
    if (status)
        give(&d->allocator, m, sizeof *m + bytes);
    else
        *handle = (uint64_t)(uintptr_t)m;
    return status;
}

static void npu_module_unload(void *opened, uint64_t handle) {
    device *d = opened;
    module *m = (module *)(uintptr_t)handle;
    give(&d->allocator, m, sizeof *m + m->words * 4);
}

/* ---- queue ---- */

static hr_status npu_queue_open(void *opened, const hr_queue_options *options, void **out, hr_error *error) {
    (void)options;
    device *d = opened;
    queue *q = take(&d->allocator, sizeof *q);
    if (!q)
        return npu_fail(error, HR_NO_MEMORY, "npu: no memory for a queue");
    q->device = d;
    *out = q;
    return HR_OK;
}

static void npu_queue_close(void *opened) {
    queue *q = opened;
    give(&q->device->allocator, q, sizeof *q);
}

/* No kernel asks for scratch: the scratchpad is all that they need. */
static hr_status npu_reserve(void *opened, uint64_t bytes, hr_error *error) {
    (void)opened, (void)bytes, (void)error;
    return HR_OK;
}

static hr_status npu_begin(void *opened, hr_error *error) {
    (void)opened, (void)error;
    return HR_OK;
}

static hr_status npu_finish(void *opened, hr_fault *fault, hr_error *error) {
    (void)opened, (void)error;
    *fault = (hr_fault){0};
    return HR_OK;
}

/* Where a slice leads to.  The runtime has seen to it that what is copied lies inside. */
static char *address(hr_slice slice) {
    return (char *)((npu_memory *)(uintptr_t)slice.handle)->data + slice.offset;
}

static hr_status npu_upload(void *opened, hr_slice target, const void *source, uint64_t bytes, hr_error *error) {
    (void)opened, (void)error;
    if (bytes)
        memcpy(address(target), source, (size_t)bytes);
    return HR_OK;
}

static hr_status npu_download(void *opened, void *target, hr_slice source, uint64_t bytes, hr_error *error) {
    (void)opened, (void)error;
    if (bytes)
        memcpy(target, address(source), (size_t)bytes);
    return HR_OK;
}

static hr_status npu_copy(void *opened, hr_slice target, hr_slice source, uint64_t bytes, hr_error *error) {
    (void)opened, (void)error;
    if (bytes)
        memcpy(address(target), address(source), (size_t)bytes);
    return HR_OK;
}

/* The kernel that begins at a byte of a module; none does where `count` is 0. */
static npu_program kernel_at(const module *m, uint32_t entry) {
    for (uint64_t at = 2; at < m->words; at += 1 + (uint64_t)m->image[at] * NPU_WORDS)
        if (at * 4 == entry)
            return (npu_program){m->image + at + 1, m->image[at]};
    return (npu_program){NULL, 0};
}

static hr_status npu_launch(void *opened, const hr_launch *launch, hr_fault *fault, hr_error *error) {
    queue *q = opened;
    npu_program program = kernel_at((const module *)(uintptr_t)launch->module, launch->entry);
    (void)fault;
    if (!program.count)
        return npu_fail(error, HR_DEVICE, "npu: kernel '%s' does not lie in its module", launch->name);
    hr_status status = HR_OK;
    for (int64_t task = 0; task < launch->tasks && !status; task++)
        status = npu_run(&program, launch, task, q->scratchpad, error);
    return status;
}

static const hr_driver npu = {
    .size = sizeof(hr_driver),
    .abi = HR_DRIVER_ABI,
    .name = "npu",
    .open = npu_open,
    .close = npu_close,
    .alloc = npu_alloc,
    .release = npu_release,
    .module_load = npu_module_load,
    .module_unload = npu_module_unload,
    .queue_open = npu_queue_open,
    .queue_close = npu_queue_close,
    .reserve = npu_reserve,
    .begin = npu_begin,
    .upload = npu_upload,
    .download = npu_download,
    .copy = npu_copy,
    .launch = npu_launch,
    .finish = npu_finish,
};

/* What --driver, HEADRACE_DRIVERS and hr_driver_load look for. */
HR_API const hr_driver *headrace_driver(void);
const hr_driver *headrace_driver(void) {
    return &npu;
}
