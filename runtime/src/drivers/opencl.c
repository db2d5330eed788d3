/* opencl.c: the driver of OpenCL devices: queues and launches; devices and modules are in ../opencl_device.c.
**
** A launch is as many workgroups as it has tasks, on a queue that keeps the order.
** True between any two calls: a queue's scratch is large enough for any launch so far, and only grows. */
#include "../opencl_device.h"
#include "../profile.h"

#include <string.h>

/* What a workgroup needs as scratch is multiplied by their number, up to this much; then they go in several launches. */
#define MOST_SCRATCH (UINT64_C(64) << 20)

/* What kernels write where a check fails. */
typedef struct report {
    int32_t site; /* 0 while there is none */
    int32_t index;
    int64_t values[HR_FAULT_VALUES];
} report;

typedef struct queue {
    hr_cl_device *device;
    cl_queue handle;
    cl_memory report;
    cl_memory scratch; /* NULL while there is none */
    uint64_t scratch_bytes;
} queue;

static cl_memory memory_of(hr_slice slice) {
    return (cl_memory)(uintptr_t)slice.handle;
}

/* ---- queue ---- */

static void queue_close(void *opened) {
    queue *q = opened;
    hr_cl_device *d = q->device;
    if (q->handle)
        d->cl.clFinish(q->handle);
    if (q->scratch)
        d->cl.clReleaseMemObject(q->scratch);
    if (q->report)
        d->cl.clReleaseMemObject(q->report);
    if (q->handle)
        d->cl.clReleaseCommandQueue(q->handle);
    hr_cl_give(d, q, sizeof *q);
}

static hr_status queue_open(void *opened, const hr_queue_options *options, void **out, hr_error *error) {
    (void)options;
    hr_cl_device *d = opened;
    queue *q = hr_cl_take(d, sizeof *q);
    if (!q)
        return hr_cl_no_memory(error, "a queue");
    q->device = d;
    cl_int code;
    q->handle = d->cl.clCreateCommandQueue(d->context, d->id, CL_QUEUE_PROFILING_ENABLE, &code);
    hr_status status = q->handle ? hr_cl_create_buffer(d, sizeof(report), &q->report, error)
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
    hr_status status = hr_cl_check_process(error);
    if (status)
        return status;
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
    hr_status status = hr_cl_create_buffer(q->device, bytes, &larger, error);
    if (status)
        return status;
    if (q->scratch)
        q->device->cl.clReleaseMemObject(q->scratch); /* launches on their way keep it until they are done */
    q->scratch = larger, q->scratch_bytes = bytes;
    return HR_OK;
}

static cl_int set_arguments(const queue *q, const hr_cl_kernel *k, const hr_launch *launch) {
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

static hr_status enqueue(queue *q, const hr_cl_kernel *k, const hr_launch *launch, range tasks, hr_error *error) {
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
    const hr_cl_kernel *k = hr_cl_find_kernel((const hr_cl_module *)(uintptr_t)launch->module, launch->entry);
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
    .open = hr_cl_device_open,
    .close = hr_cl_device_close,
    .alloc = hr_cl_alloc,
    .release = hr_cl_release,
    .module_load = hr_cl_module_load,
    .module_unload = hr_cl_module_unload,
    .queue_open = queue_open,
    .queue_close = queue_close,
    .reserve = reserve,
    .begin = begin,
    .upload = upload,
    .download = download,
    .copy = copy,
    .launch = launch,
    .finish = finish,
    .supports = hr_cl_device_supports, /* "cpu" for a device that is one, or an extension's name */
};
