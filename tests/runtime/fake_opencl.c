/* fake_opencl.c: an OpenCL library whose n-th call fails.  It has one device, whose kernels do nothing.
**
** `fake_fail_at` counts down with each call that may fail; what happens at 0 is an error or a NULL.  `fake_live` counts
** what was created and not released; all of it is memory, so that leak checkers see it, too. */
#include "opencl.h"

#include <stdlib.h>
#include <string.h>

#define FAKE __attribute__((visibility("default")))

FAKE int fake_fail_at = -1;
FAKE int fake_live;
FAKE uint64_t fake_most_bytes = 1u << 30;
FAKE uint64_t fake_groups; /* of all launches */

static int fails(void) {
    return fake_fail_at >= 0 && fake_fail_at-- == 0;
}

static void *create(size_t bytes, cl_int *code) {
    *code = fails() ? CL_OUT_OF_HOST_MEMORY : CL_SUCCESS;
    if (*code)
        return NULL;
    fake_live++;
    return calloc(1, bytes ? bytes : 1);
}

static cl_int destroy(void *object) {
    fake_live--;
    free(object);
    return CL_SUCCESS;
}

static cl_int answer(cl_int code) {
    return fails() ? code : CL_SUCCESS;
}

FAKE cl_int clGetPlatformIDs(cl_uint room, cl_platform *out, cl_uint *count) {
    (void)room;
    *out = NULL, *count = 1;
    return answer(-30);
}

FAKE cl_int clGetPlatformInfo(cl_platform p, cl_uint what, size_t room, void *out, size_t *size) {
    (void)p, (void)what, (void)room, (void)size;
    strcpy(out, "Fake");
    return CL_SUCCESS;
}

FAKE cl_int clGetDeviceIDs(cl_platform p, cl_bits kind, cl_uint room, cl_device *out, cl_uint *count) {
    (void)p, (void)kind, (void)room;
    *out = NULL, *count = 1;
    return answer(-1);
}

FAKE cl_int clGetDeviceInfo(cl_device d, cl_uint what, size_t room, void *out, size_t *size) {
    (void)d, (void)size;
    uint64_t number = what == CL_DEVICE_TYPE ? 4 : what == CL_DEVICE_MAX_MEM_ALLOC_SIZE ? fake_most_bytes : 64;
    if (what == CL_DEVICE_NAME || what == CL_DEVICE_EXTENSIONS)
        strcpy(out, what == CL_DEVICE_NAME ? "fake device" : "cl_khr_fp16x cl_khr_fp64");
    else
        memcpy(out, &number, room < sizeof number ? room : sizeof number);
    return CL_SUCCESS;
}

FAKE cl_context clCreateContext(const intptr_t *p, cl_uint n, const cl_device *d,
                                void (*f)(const char *, const void *, size_t, void *), void *u, cl_int *code) {
    (void)p, (void)n, (void)d, (void)f, (void)u;
    return create(1, code);
}

FAKE cl_int clReleaseContext(cl_context c) {
    return destroy(c);
}

FAKE cl_queue clCreateCommandQueue(cl_context c, cl_device d, cl_bits b, cl_int *code) {
    (void)c, (void)d, (void)b;
    return create(1, code);
}

FAKE cl_int clReleaseCommandQueue(cl_queue q) {
    return destroy(q);
}

FAKE cl_memory clCreateBuffer(cl_context c, cl_bits b, size_t bytes, void *host, cl_int *code) {
    (void)c, (void)b, (void)host;
    return create(bytes, code);
}

FAKE cl_int clReleaseMemObject(cl_memory m) {
    return destroy(m);
}

FAKE cl_program clCreateProgramWithSource(cl_context c, cl_uint n, const char **text, const size_t *size,
                                          cl_int *code) {
    (void)c, (void)n, (void)text, (void)size;
    return create(1, code);
}

FAKE cl_int clBuildProgram(cl_program p, cl_uint n, const cl_device *d, const char *o, void (*f)(cl_program, void *),
                           void *u) {
    (void)p, (void)n, (void)d, (void)o, (void)f, (void)u;
    return answer(CL_BUILD_PROGRAM_FAILURE);
}

FAKE cl_int clGetProgramBuildInfo(cl_program p, cl_device d, cl_uint what, size_t room, void *out, size_t *size) {
    (void)p, (void)d, (void)what, (void)room, (void)size;
    strcpy(out, "some warnings\nerror: line 3\nis wrong");
    return CL_SUCCESS;
}

FAKE cl_int clReleaseProgram(cl_program p) {
    return destroy(p);
}

FAKE cl_kernel clCreateKernel(cl_program p, const char *name, cl_int *code) {
    (void)p, (void)name;
    return create(1, code);
}

FAKE cl_int clReleaseKernel(cl_kernel k) {
    return destroy(k);
}

FAKE cl_int clSetKernelArg(cl_kernel k, cl_uint i, size_t bytes, const void *value) {
    (void)k, (void)i, (void)bytes, (void)value;
    return answer(-49);
}

FAKE cl_int clEnqueueNDRangeKernel(cl_queue q, cl_kernel k, cl_uint n, const size_t *offset, const size_t *global,
                                   const size_t *local, cl_uint w, const cl_event *waits, cl_event *event) {
    (void)q, (void)k, (void)n, (void)offset, (void)w, (void)waits;
    if (fails())
        return -5;
    cl_int code = CL_SUCCESS;
    if (event && !(*event = create(1, &code)))
        return code;
    fake_groups += global[0] / local[0];
    return CL_SUCCESS;
}

FAKE cl_int clEnqueueWriteBuffer(cl_queue q, cl_memory m, cl_uint b, size_t at, size_t bytes, const void *data,
                                 cl_uint w, const cl_event *waits, cl_event *event) {
    (void)q, (void)b, (void)w, (void)waits, (void)event;
    memcpy((char *)m + at, data, bytes);
    return answer(-5);
}

FAKE cl_int clEnqueueReadBuffer(cl_queue q, cl_memory m, cl_uint b, size_t at, size_t bytes, void *data, cl_uint w,
                                const cl_event *waits, cl_event *event) {
    (void)q, (void)b, (void)w, (void)waits, (void)event;
    memcpy(data, (const char *)m + at, bytes);
    return answer(-5);
}

FAKE cl_int clEnqueueCopyBuffer(cl_queue q, cl_memory a, cl_memory b, size_t from, size_t to, size_t bytes, cl_uint w,
                                const cl_event *waits, cl_event *event) {
    (void)q, (void)w, (void)waits, (void)event;
    memcpy((char *)b + to, (const char *)a + from, bytes);
    return answer(-5);
}

FAKE cl_int clFinish(cl_queue q) {
    (void)q;
    return answer(-36);
}

FAKE cl_int clWaitForEvents(cl_uint n, const cl_event *events) {
    (void)n, (void)events;
    return answer(-5);
}

FAKE cl_int clGetEventProfilingInfo(cl_event e, cl_uint what, size_t room, void *out, size_t *size) {
    (void)e, (void)size;
    uint64_t time = what == CL_PROFILING_COMMAND_END ? 7 : 5;
    memcpy(out, &time, room);
    return answer(-7);
}

FAKE cl_int clReleaseEvent(cl_event e) {
    return destroy(e);
}
