/* opencl.c: the driver of OpenCL devices.  A handle is a cl_mem; a module is a table of kernels and their text.
**
** docs/artefact.md draws the module.  A launch is as many workgroups as it has tasks, on a queue that keeps the order.
** A device's lock guards the arguments of kernels, which its queues share.
** True between any two calls: a queue's scratch is large enough for any launch so far, and only grows. */
#include "../container.h"
#include "../opencl.h"
#include "../profile.h"
#include "headrace_driver.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* What a workgroup needs as scratch is multiplied by their number, up to this much; then they go in several launches. */
#define MOST_SCRATCH (UINT64_C(64) << 20)
#define LOG_BYTES 65536u

/* Extensions that a kernel may need.  ORDER: docs/artefact.md, targets/opencl/image.py */
static const char *const extensions[] = {"cl_khr_fp64", "cl_khr_fp16"};
#define EXTENSIONS (sizeof extensions / sizeof *extensions)

typedef struct device {
    hr_allocator allocator;
    hr_cl cl;
    cl_device id;
    cl_context context;
    pthread_mutex_t lock;
    uint64_t most_bytes; /* in one buffer */
    bool has[EXTENSIONS];
    bool divides_exactly; /* knows the build option for it */
} device;

typedef struct kernel {
    uint32_t entry;
    uint32_t group_size;
    cl_kernel handle;
} kernel;

typedef struct module {
    device *device;
    cl_program program;
    uint32_t count;
    kernel kernels[];
} module;

/* What kernels write where a check fails. */
typedef struct report {
    int32_t site; /* 0 while there is none */
    int32_t index;
    int64_t values[HR_FAULT_VALUES];
} report;

typedef struct queue {
    device *device;
    cl_queue handle;
    cl_memory report;
    cl_memory scratch; /* NULL while there is none */
    uint64_t scratch_bytes;
} queue;

static void *take(const device *d, size_t bytes) {
    void *memory = d->allocator.take(d->allocator.context, bytes, HR_ALIGN);
    return memory ? memset(memory, 0, bytes) : NULL;
}

static void give(const device *d, void *memory, size_t bytes) {
    d->allocator.give(d->allocator.context, memory, bytes, HR_ALIGN);
}

static cl_memory memory_of(hr_slice slice) {
    return (cl_memory)(uintptr_t)slice.handle;
}

static hr_status no_memory(hr_error *error, const char *what) {
    return hr_fail(error, HR_NO_MEMORY, "opencl: no memory for %s", what);
}

/* ---- device ---- */

static void close_device(void *opened) {
    device *d = opened;
    hr_allocator allocator = d->allocator;
    if (d->context)
        d->cl.clReleaseContext(d->context);
    hr_cl_close(&d->cl);
    pthread_mutex_destroy(&d->lock);
    allocator.give(allocator.context, d, sizeof *d, HR_ALIGN);
}

static hr_status open_context(device *d, const char *name, hr_error *error) {
    hr_status status = hr_cl_open(&d->cl, error);
    if (!status)
        status = hr_cl_find_device(&d->cl, name, &d->id, error);
    if (status)
        return status;
    d->most_bytes = hr_cl_fact(&d->cl, d->id, CL_DEVICE_MAX_MEM_ALLOC_SIZE);
    d->divides_exactly =
        hr_cl_fact(&d->cl, d->id, CL_DEVICE_SINGLE_FP_CONFIG) & CL_FP_CORRECTLY_ROUNDED_DIVIDE_SQRT;
    for (size_t i = 0; i < EXTENSIONS; i++)
        d->has[i] = hr_cl_has(&d->cl, d->id, extensions[i]);
    cl_int code;
    d->context = d->cl.clCreateContext(NULL, 1, &d->id, NULL, NULL, &code);
    return d->context ? HR_OK : hr_cl_failed(error, "clCreateContext", code);
}

static hr_status open_device(const hr_device_options *options, void **out, hr_error *error) {
    device *d = options->allocator.take(options->allocator.context, sizeof *d, HR_ALIGN);
    if (!d)
        return no_memory(error, "the device");
    *d = (device){.allocator = options->allocator};
    if (pthread_mutex_init(&d->lock, NULL)) {
        give(d, d, sizeof *d);
        return no_memory(error, "a lock");
    }
    hr_status status = open_context(d, options->name, error);
    if (status)
        close_device(d);
    else
        *out = d;
    return status;
}

static hr_status create_buffer(device *d, uint64_t bytes, cl_memory *out, hr_error *error) {
    cl_int code;
    if (bytes > d->most_bytes || bytes > SIZE_MAX)
        return hr_fail(error, HR_NO_MEMORY, "opencl: a buffer of %llu bytes; this device has at most %llu in one",
                       (unsigned long long)bytes, (unsigned long long)d->most_bytes);
    *out = d->cl.clCreateBuffer(d->context, CL_MEM_READ_WRITE, (size_t)bytes, NULL, &code);
    return *out ? HR_OK : hr_cl_failed(error, "clCreateBuffer", code);
}

static hr_status alloc(void *opened, uint64_t bytes, uint64_t *handle, hr_error *error) {
    cl_memory memory;
    hr_status status = create_buffer(opened, bytes, &memory, error);
    if (!status)
        *handle = (uint64_t)(uintptr_t)memory;
    return status;
}

static void release(void *opened, uint64_t handle, uint64_t bytes) {
    (void)bytes;
    ((device *)opened)->cl.clReleaseMemObject((cl_memory)(uintptr_t)handle);
}

/* ---- module ---- */

static size_t module_bytes(uint32_t count) {
    return sizeof(module) + count * sizeof(kernel);
}

static void module_unload(void *opened, uint64_t handle) {
    device *d = opened;
    module *m = (module *)(uintptr_t)handle;
    for (uint32_t i = 0; i < m->count; i++)
        if (m->kernels[i].handle)
            d->cl.clReleaseKernel(m->kernels[i].handle);
    if (m->program)
        d->cl.clReleaseProgram(m->program);
    give(d, m, module_bytes(m->count));
}

/* The compiler's first error and what follows, as far as one message goes. */
static hr_status build_failed(device *d, cl_program program, cl_int code, hr_error *error) {
    char *log = code == CL_BUILD_PROGRAM_FAILURE ? take(d, LOG_BYTES) : NULL;
    if (!log)
        return hr_cl_failed(error, "clBuildProgram", code);
    d->cl.clGetProgramBuildInfo(program, d->id, CL_PROGRAM_BUILD_LOG, LOG_BYTES - 1, log, NULL);
    for (char *c = log; (c = strchr(c, '\n'));)
        *c = ' ';
    const char *first = strstr(log, "error");
    hr_status status = hr_fail(error, HR_DEVICE, "opencl: the program does not build: %s", first ? first : log);
    give(d, log, LOG_BYTES);
    return status;
}

static hr_status build(module *m, const char *text, hr_error *error) {
    device *d = m->device;
    cl_int code;
    m->program = d->cl.clCreateProgramWithSource(d->context, 1, &text, NULL, &code);
    if (!m->program)
        return hr_cl_failed(error, "clCreateProgramWithSource", code);
    const char *options =
        d->divides_exactly ? "-cl-std=CL1.2 -cl-fp32-correctly-rounded-divide-sqrt" : "-cl-std=CL1.2";
    code = d->cl.clBuildProgram(m->program, 1, &d->id, options, NULL, NULL);
    return code ? build_failed(d, m->program, code, error) : HR_OK;
}

/* What a row of a module's table says of a kernel. */
typedef struct row {
    const char *name;
    uint32_t group_size, local_bytes, needs;
} row;

static row read_row(hr_cursor *cursor) {
    row r = {.name = hr_read_string(cursor)};
    r.group_size = hr_read_u32(cursor), r.local_bytes = hr_read_u32(cursor), r.needs = hr_read_u32(cursor);
    return r;
}

static hr_status check_kernel(const device *d, const row *r, hr_error *error) {
    for (uint32_t i = 0; i < EXTENSIONS; i++)
        if (r->needs >> i & 1 && !d->has[i])
            return hr_fail(error, HR_UNSUPPORTED, "opencl: kernel '%s' needs %s, which this device has not", r->name,
                           extensions[i]);
    uint64_t most = hr_cl_fact(&d->cl, d->id, CL_DEVICE_MAX_WORK_GROUP_SIZE);
    if (r->group_size == 0 || r->group_size > most)
        return hr_fail(error, HR_UNSUPPORTED, "opencl: kernel '%s' has workgroups of %u; this device takes at most %llu",
                       r->name, r->group_size, (unsigned long long)most);
    uint64_t local = hr_cl_fact(&d->cl, d->id, CL_DEVICE_LOCAL_MEM_SIZE);
    if (r->local_bytes > local)
        return hr_fail(error, HR_UNSUPPORTED,
                       "opencl: kernel '%s' needs %u bytes of local memory; this device has %llu", r->name,
                       r->local_bytes, (unsigned long long)local);
    return HR_OK;
}

static hr_status load_kernels(module *m, hr_cursor rows, const uint8_t *start, hr_error *error) {
    device *d = m->device;
    for (uint32_t i = 0; i < m->count; i++) {
        kernel *k = &m->kernels[i];
        k->entry = (uint32_t)(rows.at - start);
        row r = read_row(&rows);
        cl_int code;
        k->group_size = r.group_size;
        k->handle = d->cl.clCreateKernel(m->program, r.name, &code);
        if (!k->handle)
            return hr_cl_failed(error, r.name, code);
    }
    return HR_OK;
}

static hr_status module_load(void *opened, const void *image, uint64_t bytes, uint64_t *out, hr_error *error) {
    device *d = opened;
    hr_cursor cursor = hr_cursor_over((hr_section){.data = image, .bytes = bytes});
    uint32_t count = hr_read_count(&cursor, 20);
    hr_cursor rows = cursor;
    hr_status status = HR_OK;
    for (uint32_t i = 0; i < count && !status && !cursor.bad; i++) {
        row r = read_row(&cursor);
        if (!cursor.bad)
            status = check_kernel(d, &r, error);
    }
    const char *text = hr_read_string(&cursor);
    if (status)
        return status;
    if (cursor.bad || cursor.at != cursor.end)
        return hr_fail(error, HR_DAMAGED, "opencl: the table of kernels does not end where it should");
    module *m = take(d, module_bytes(count));
    if (!m)
        return no_memory(error, "a module");
    m->device = d, m->count = count;
    status = build(m, text, error);
    if (!status)
        status = load_kernels(m, rows, image, error);
    if (status)
        module_unload(d, (uint64_t)(uintptr_t)m);
    else
        *out = (uint64_t)(uintptr_t)m;
    return status;
}

/* Rows stand in the order of their entries; NULL where none starts there. */
static const kernel *find_kernel(const module *m, uint32_t entry) {
    uint32_t low = 0, high = m->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (m->kernels[middle].entry < entry)
            low = middle + 1;
        else
            high = middle;
    }
    return low < m->count && m->kernels[low].entry == entry ? &m->kernels[low] : NULL;
}

/* ---- queue ---- */

static void queue_close(void *opened) {
    queue *q = opened;
    device *d = q->device;
    if (q->handle)
        d->cl.clFinish(q->handle);
    if (q->scratch)
        d->cl.clReleaseMemObject(q->scratch);
    if (q->report)
        d->cl.clReleaseMemObject(q->report);
    if (q->handle)
        d->cl.clReleaseCommandQueue(q->handle);
    give(d, q, sizeof *q);
}

static hr_status queue_open(void *opened, const hr_queue_options *options, void **out, hr_error *error) {
    (void)options;
    device *d = opened;
    queue *q = take(d, sizeof *q);
    if (!q)
        return no_memory(error, "a queue");
    q->device = d;
    cl_int code;
    q->handle = d->cl.clCreateCommandQueue(d->context, d->id, CL_QUEUE_PROFILING_ENABLE, &code);
    hr_status status = q->handle ? create_buffer(d, sizeof(report), &q->report, error)
                                 : hr_cl_failed(error, "clCreateCommandQueue", code);
    if (status)
        queue_close(q);
    else
        *out = q;
    return status;
}

static hr_status reserve(void *opened, uint64_t bytes, hr_error *error) {
    (void)opened, (void)bytes, (void)error; /* the number of workgroups decides, too: `launch` knows it */
    return HR_OK;
}

static hr_status begin(void *opened, hr_error *error) {
    static const report none;
    queue *q = opened;
    cl_int code =
        q->device->cl.clEnqueueWriteBuffer(q->handle, q->report, false, 0, sizeof none, &none, 0, NULL, NULL);
    return code ? hr_cl_failed(error, "clEnqueueWriteBuffer", code) : HR_OK;
}

static hr_status finish(void *opened, hr_fault *fault, hr_error *error) {
    queue *q = opened;
    report found = {0};
    cl_int code =
        q->device->cl.clEnqueueReadBuffer(q->handle, q->report, true, 0, sizeof found, &found, 0, NULL, NULL);
    cl_int waited = q->device->cl.clFinish(q->handle);
    if (code || waited)
        return hr_cl_failed(error, "the end of a run", code ? code : waited);
    if (found.site) {
        *fault = (hr_fault){.index = (uint32_t)found.index, .site = found.site};
        memcpy(fault->values, found.values, sizeof found.values);
    }
    return HR_OK;
}

static hr_status upload(void *opened, hr_slice target, const void *source, uint64_t bytes, hr_error *error) {
    queue *q = opened;
    cl_int code = q->device->cl.clEnqueueWriteBuffer(q->handle, memory_of(target), true, (size_t)target.offset,
                                                     (size_t)bytes, source, 0, NULL, NULL);
    return code ? hr_cl_failed(error, "clEnqueueWriteBuffer", code) : HR_OK;
}

static hr_status download(void *opened, void *target, hr_slice source, uint64_t bytes, hr_error *error) {
    queue *q = opened;
    cl_int code = q->device->cl.clEnqueueReadBuffer(q->handle, memory_of(source), true, (size_t)source.offset,
                                                    (size_t)bytes, target, 0, NULL, NULL);
    return code ? hr_cl_failed(error, "clEnqueueReadBuffer", code) : HR_OK;
}

static hr_status copy(void *opened, hr_slice target, hr_slice source, uint64_t bytes, hr_error *error) {
    queue *q = opened;
    cl_int code =
        q->device->cl.clEnqueueCopyBuffer(q->handle, memory_of(source), memory_of(target), (size_t)source.offset,
                                          (size_t)target.offset, (size_t)bytes, 0, NULL, NULL);
    return code ? hr_cl_failed(error, "clEnqueueCopyBuffer", code) : HR_OK;
}

/* ---- launch ---- */

/* Some of a launch's workgroups. */
typedef struct range {
    uint64_t first, count;
} range;

/* How many workgroups may go at once, and room for their scratch. */
static hr_status settle_scratch(queue *q, const hr_launch *launch, uint64_t *at_once, hr_error *error) {
    uint64_t each = launch->scratch_bytes, tasks = (uint64_t)launch->tasks;
    uint64_t most = each < MOST_SCRATCH ? MOST_SCRATCH / (each ? each : 1) : 1;
    *at_once = each == 0 || tasks < most ? tasks : most;
    uint64_t bytes = each * (each ? *at_once : 0);
    if (bytes <= q->scratch_bytes)
        return HR_OK;
    cl_memory larger;
    hr_status status = create_buffer(q->device, bytes, &larger, error);
    if (status)
        return status;
    if (q->scratch)
        q->device->cl.clReleaseMemObject(q->scratch); /* launches on their way keep it until they are done */
    q->scratch = larger, q->scratch_bytes = bytes;
    return HR_OK;
}

static cl_int set_arguments(const queue *q, const kernel *k, const hr_launch *launch) {
    const hr_cl *cl = &q->device->cl;
    cl_uint place = 0;
    cl_int code = CL_SUCCESS;
    for (uint32_t i = 0; i < launch->buffer_count && !code; i++) {
        /* A buffer of no bytes may have no memory; the kernel does not touch it. */
        cl_memory memory = launch->buffers[i].handle ? memory_of(launch->buffers[i]) : q->report;
        code = cl->clSetKernelArg(k->handle, place++, sizeof memory, &memory);
        code = code ? code : cl->clSetKernelArg(k->handle, place++, sizeof(int64_t), &launch->buffers[i].offset);
    }
    for (uint32_t i = 0; i < launch->scalar_count && !code; i++)
        code = cl->clSetKernelArg(k->handle, place++, sizeof(int64_t), &launch->scalars[i]);
    const cl_memory last[] = {q->scratch ? q->scratch : q->report, q->report};
    for (size_t i = 0; i < 2 && !code; i++)
        code = cl->clSetKernelArg(k->handle, place++, sizeof last[i], &last[i]);
    int32_t index = (int32_t)launch->index;
    return code ? code : cl->clSetKernelArg(k->handle, place, sizeof index, &index);
}

static hr_status time_event(const hr_cl *cl, cl_event event, const hr_launch *launch, hr_error *error) {
    uint64_t start = 0, end = 0;
    cl_int code = cl->clWaitForEvents(1, &event);
    code = code ? code : cl->clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_START, sizeof start, &start, NULL);
    code = code ? code : cl->clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_END, sizeof end, &end, NULL);
    if (code)
        return hr_cl_failed(error, launch->name, code);
    uint64_t now = hr_now_ns(), took = end > start ? end - start : 0;
    if (*launch->part_count) /* a further part of the same launch */
        launch->parts[0].end_ns = now;
    else
        launch->parts[0] = (hr_profile_part){0, 0, took < now ? now - took : 0, now};
    *launch->part_count = 1;
    return HR_OK;
}

static hr_status enqueue(queue *q, const kernel *k, const hr_launch *launch, range tasks, hr_error *error) {
    const hr_cl *cl = &q->device->cl;
    size_t local = k->group_size, offset, global;
    if (__builtin_mul_overflow(tasks.first, local, &offset) || __builtin_mul_overflow(tasks.count, local, &global))
        return hr_fail(error, HR_SHAPE, "opencl: %s: %lld workgroups of %u do not fit the device's sizes",
                       launch->name, (long long)launch->tasks, k->group_size);
    cl_event event = NULL;
    pthread_mutex_lock(&q->device->lock);
    cl_int code = set_arguments(q, k, launch);
    if (!code)
        code = cl->clEnqueueNDRangeKernel(q->handle, k->handle, 1, &offset, &global, &local, 0, NULL,
                                          launch->parts ? &event : NULL);
    pthread_mutex_unlock(&q->device->lock);
    if (code)
        return hr_cl_failed(error, launch->name, code);
    if (!event)
        return HR_OK;
    hr_status status = time_event(cl, event, launch, error);
    cl->clReleaseEvent(event);
    return status;
}

static hr_status launch(void *opened, const hr_launch *launch, hr_fault *fault, hr_error *error) {
    queue *q = opened;
    (void)fault; /* known when the run has finished */
    const kernel *k = find_kernel((const module *)(uintptr_t)launch->module, launch->entry);
    if (!k)
        return hr_fail(error, HR_DAMAGED, "opencl: no kernel is at entry %u of '%s'", launch->entry, launch->name);
    uint64_t at_once;
    hr_status status = settle_scratch(q, launch, &at_once, error);
    for (uint64_t done = 0, all = (uint64_t)launch->tasks; done < all && !status; done += at_once) {
        range tasks = {done, all - done < at_once ? all - done : at_once};
        status = enqueue(q, k, launch, tasks, error);
    }
    return status;
}

extern const hr_driver hr_driver_opencl;
const hr_driver hr_driver_opencl = {
    .size = sizeof(hr_driver),
    .abi = HR_DRIVER_ABI,
    .name = "opencl",
    .open = open_device,
    .close = close_device,
    .alloc = alloc,
    .release = release,
    .module_load = module_load,
    .module_unload = module_unload,
    .queue_open = queue_open,
    .queue_close = queue_close,
    .reserve = reserve,
    .begin = begin,
    .upload = upload,
    .download = download,
    .copy = copy,
    .launch = launch,
    .finish = finish,
};
