/* opencl.h: as much of OpenCL 1.2 as the driver needs, opened at run time.
**
** Types and numbers are those of the specification; nothing from outside is needed to build this. */
#ifndef HR_OPENCL_H
#define HR_OPENCL_H

#include "base.h"

typedef int32_t cl_int;
typedef uint32_t cl_uint;
typedef uint64_t cl_bits;
typedef struct cl_platform_s *cl_platform;
typedef struct cl_device_s *cl_device;
typedef struct cl_context_s *cl_context;
typedef struct cl_queue_s *cl_queue;
typedef struct cl_memory_s *cl_memory;
typedef struct cl_program_s *cl_program;
typedef struct cl_kernel_s *cl_kernel;
typedef struct cl_event_s *cl_event;

enum {
    CL_SUCCESS = 0,
    CL_MEM_OBJECT_ALLOCATION_FAILURE = -4,
    CL_OUT_OF_HOST_MEMORY = -6,
    CL_BUILD_PROGRAM_FAILURE = -11,
    CL_MEM_READ_WRITE = 1,
    CL_QUEUE_PROFILING_ENABLE = 2,
    CL_PLATFORM_NAME = 0x0902,
    CL_DEVICE_TYPE_CPU = 2,
    CL_DEVICE_TYPE = 0x1000,
    CL_DEVICE_MAX_WORK_GROUP_SIZE = 0x1004,
    CL_DEVICE_MAX_MEM_ALLOC_SIZE = 0x1010,
    CL_DEVICE_SINGLE_FP_CONFIG = 0x101b,
    CL_FP_CORRECTLY_ROUNDED_DIVIDE_SQRT = 1 << 7,
    CL_DEVICE_LOCAL_MEM_SIZE = 0x1023,
    CL_DEVICE_NAME = 0x102b,
    CL_DEVICE_EXTENSIONS = 0x1030,
    CL_PROGRAM_BUILD_LOG = 0x1183,
    CL_PROFILING_COMMAND_START = 0x1282,
    CL_PROFILING_COMMAND_END = 0x1283,
};
#define CL_DEVICE_TYPE_ALL UINT64_C(0xffffffff)

/* name, result, parameters: all functions that are looked up. */
#define HR_CL_FUNCTIONS(F)                                                                                             \
    F(clGetPlatformIDs, cl_int, (cl_uint, cl_platform *, cl_uint *))                                                   \
    F(clGetPlatformInfo, cl_int, (cl_platform, cl_uint, size_t, void *, size_t *))                                     \
    F(clGetDeviceIDs, cl_int, (cl_platform, cl_bits, cl_uint, cl_device *, cl_uint *))                                 \
    F(clGetDeviceInfo, cl_int, (cl_device, cl_uint, size_t, void *, size_t *))                                         \
    F(clCreateContext, cl_context,                                                                                     \
      (const intptr_t *, cl_uint, const cl_device *, void (*)(const char *, const void *, size_t, void *), void *,     \
       cl_int *))                                                                                                      \
    F(clReleaseContext, cl_int, (cl_context))                                                                          \
    F(clCreateCommandQueue, cl_queue, (cl_context, cl_device, cl_bits, cl_int *))                                      \
    F(clReleaseCommandQueue, cl_int, (cl_queue))                                                                       \
    F(clCreateBuffer, cl_memory, (cl_context, cl_bits, size_t, void *, cl_int *))                                      \
    F(clReleaseMemObject, cl_int, (cl_memory))                                                                         \
    F(clCreateProgramWithSource, cl_program, (cl_context, cl_uint, const char **, const size_t *, cl_int *))           \
    F(clBuildProgram, cl_int,                                                                                          \
      (cl_program, cl_uint, const cl_device *, const char *, void (*)(cl_program, void *), void *))                    \
    F(clGetProgramBuildInfo, cl_int, (cl_program, cl_device, cl_uint, size_t, void *, size_t *))                       \
    F(clReleaseProgram, cl_int, (cl_program))                                                                          \
    F(clCreateKernel, cl_kernel, (cl_program, const char *, cl_int *))                                                 \
    F(clReleaseKernel, cl_int, (cl_kernel))                                                                            \
    F(clSetKernelArg, cl_int, (cl_kernel, cl_uint, size_t, const void *))                                              \
    F(clEnqueueNDRangeKernel, cl_int,                                                                                  \
      (cl_queue, cl_kernel, cl_uint, const size_t *, const size_t *, const size_t *, cl_uint, const cl_event *,        \
       cl_event *))                                                                                                    \
    F(clEnqueueWriteBuffer, cl_int,                                                                                    \
      (cl_queue, cl_memory, cl_uint, size_t, size_t, const void *, cl_uint, const cl_event *, cl_event *))             \
    F(clEnqueueReadBuffer, cl_int,                                                                                     \
      (cl_queue, cl_memory, cl_uint, size_t, size_t, void *, cl_uint, const cl_event *, cl_event *))                   \
    F(clEnqueueCopyBuffer, cl_int,                                                                                     \
      (cl_queue, cl_memory, cl_memory, size_t, size_t, size_t, cl_uint, const cl_event *, cl_event *))                 \
    F(clFinish, cl_int, (cl_queue))                                                                                    \
    F(clWaitForEvents, cl_int, (cl_uint, const cl_event *))                                                            \
    F(clGetEventProfilingInfo, cl_int, (cl_event, cl_uint, size_t, void *, size_t *))                                  \
    F(clReleaseEvent, cl_int, (cl_event))

/* The library's functions, by name. */
typedef struct hr_cl {
#define HR_CL_MEMBER(name, result, parameters) result(*name) parameters;
    HR_CL_FUNCTIONS(HR_CL_MEMBER)
#undef HR_CL_MEMBER
    void *library;
} hr_cl;

/* Opens HEADRACE_OPENCL_LIBRARY, or libOpenCL.so.1; hr_cl_close also takes what was never opened. */
hr_status hr_cl_open(hr_cl *cl, hr_error *error);
void hr_cl_close(hr_cl *cl);

/* Fails in a process that was forked when OpenCL was open: it would wait for the library's threads, which are its
** parent's. */
hr_status hr_cl_check_process(hr_error *error);

/* One line for a call that did not give CL_SUCCESS. */
hr_status hr_cl_failed(hr_error *error, const char *what, cl_int code);

/* `wanted`: a number, or part of the name of a platform or device; "" is the first.  All devices count, those that are
** no CPU before those that are. */
hr_status hr_cl_find_device(const hr_cl *cl, const char *wanted, cl_device *device, hr_error *error);

/* Says which device has no such feature. */
hr_status hr_cl_lacks(const hr_cl *cl, cl_device device, const char *feature, hr_error *error);

/* A number that the device states; 0 where it does not. */
uint64_t hr_cl_fact(const hr_cl *cl, cl_device device, cl_uint name);

bool hr_cl_is_cpu(const hr_cl *cl, cl_device device);

/* Has it this extension? */
bool hr_cl_has(const hr_cl *cl, cl_device device, const char *extension);

#endif
