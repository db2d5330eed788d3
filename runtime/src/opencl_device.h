/* opencl_device.h: an open OpenCL device with its memory, and its modules: tables of kernels and their text.
**
** A handle of memory is a cl_memory, that of a module an hr_cl_module. */
#ifndef HR_OPENCL_DEVICE_H
#define HR_OPENCL_DEVICE_H

#include "headrace_driver.h"
#include "opencl.h"

#include <pthread.h>

#define HR_CL_EXTENSIONS 2 /* that a kernel may need */

typedef struct hr_cl_device {
    hr_allocator allocator;
    hr_cl cl;
    cl_device id;
    cl_context context;
    pthread_mutex_t lock; /* guards the arguments of kernels, which queues share */
    uint64_t most_bytes;  /* in one buffer */
    bool has[HR_CL_EXTENSIONS];
    bool divides_exactly; /* knows the build option for it */
} hr_cl_device;

typedef struct hr_cl_kernel {
    uint32_t entry;
    uint32_t group_size;
    cl_kernel handle;
} hr_cl_kernel;

typedef struct hr_cl_module {
    hr_cl_device *device;
    cl_program program;
    uint32_t count;
    hr_cl_kernel kernels[]; /* in the order of their entries */
} hr_cl_module;

/* Members of the driver: see headrace_driver.h. */
hr_status hr_cl_device_open(const hr_device_options *options, void **device, hr_error *error);
void hr_cl_device_close(void *device);
hr_status hr_cl_device_supports(const hr_device_options *options, const char *feature, hr_error *error);
hr_status hr_cl_alloc(void *device, uint64_t bytes, uint64_t *handle, hr_error *error);
void hr_cl_release(void *device, uint64_t handle, uint64_t bytes);
hr_status hr_cl_module_load(void *device, const void *image, uint64_t bytes, uint64_t *module, hr_error *error);
void hr_cl_module_unload(void *device, uint64_t module);

/* The kernel whose row starts at this offset of the module; NULL where none does. */
const hr_cl_kernel *hr_cl_find_kernel(const hr_cl_module *module, uint32_t entry);

hr_status hr_cl_create_buffer(hr_cl_device *device, uint64_t bytes, cl_memory *memory, hr_error *error);

/* Memory of the host, zeros at first; NULL where there is none. */
void *hr_cl_take(const hr_cl_device *device, size_t bytes);
void hr_cl_give(const hr_cl_device *device, void *memory, size_t bytes);
hr_status hr_cl_no_memory(hr_error *error, const char *what);

#endif
