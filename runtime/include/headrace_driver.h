/* headrace_driver.h: what a device must offer so that the runtime can use it.
**
** A driver is one constant struct of functions.  The runtime looks at `size`, `abi` and `name` first, which stay where
** they are for ever; it refuses a driver of another ABI.  Later versions append members: a driver whose size ends
** before one does not have it, as if it were 0.  Memory is (handle, byte offset): some devices
** have no pointers.  A device belongs to one model, a queue to one session; a queue is used by one thread at a
** time.  Functions return HR_OK, or another status after writing a message by `hr_error`. */
#ifndef HEADRACE_DRIVER_H
#define HEADRACE_DRIVER_H

#include "headrace.h"

#ifdef __cplusplus
extern "C" {
#endif

#define HR_DRIVER_ABI 1u

/* Kernels of this device read and write host memory: a handle is an address, and nothing is copied to or fro. */
#define HR_DRIVER_HOST_MEMORY 1u

/* Limits that the loader enforces on every kernel. */
#define HR_MAX_BUFFERS 128u
#define HR_MAX_SCALARS 1024u

typedef struct hr_slice {
    uint64_t handle;
    uint64_t offset;
} hr_slice;

/* All that it points to may be other things when `launch` has returned. */
typedef struct hr_launch {
    uint32_t size;  /* sizeof(hr_launch) */
    uint32_t index; /* names this launch in a fault */
    uint64_t module;
    const char *name;
    uint32_t entry; /* byte offset in the module's image */
    uint32_t buffer_count;
    uint32_t scalar_count;
    uint32_t scratch_alignment;
    const hr_slice *buffers;
    const int64_t *scalars;
    uint64_t scratch_bytes; /* for each thread */
    int64_t tasks;          /* > 0; the kernel runs on [0, tasks), each task once, split in any way */
    int64_t grain;          /* fewest tasks worth a thread of their own; steers cost only */
    hr_profile_part *parts; /* NULL unless a profile is wanted: room for as many parts as the queue has threads */
    uint32_t *part_count;   /* set to how many parts were filled in; 0, as it comes, where the device cannot tell */
    int64_t work;           /* arithmetic operations and bytes of all tasks, or -1; steers cost only */
} hr_launch;

/* What a kernel that fails leaves at the start of its scratch, where it has room for it: numbers for the message. */
#define HR_FAULT_VALUES 2u

/* A kernel's own report: site is 0 while there is none. */
typedef struct hr_fault {
    uint32_t index; /* of the launch */
    int32_t site;
    int64_t values[HR_FAULT_VALUES];
} hr_fault;

typedef struct hr_device_options {
    uint32_t size;
    const char *name; /* what follows the colon in "opencl:0", or "": refused where there is no such device */
    hr_allocator allocator;
} hr_device_options;

typedef struct hr_queue_options {
    uint32_t size;
    uint32_t threads;     /* how many the session may use; devices without host threads ignore it, and */
    hr_parallel parallel; /* the caller's threads, to use instead of own ones where `run` is not NULL */
} hr_queue_options;

typedef struct hr_driver {
    uint32_t size; /* sizeof(hr_driver) */
    uint32_t abi;  /* HR_DRIVER_ABI */
    const char *name;
    uint32_t flags;

    hr_status (*open)(const hr_device_options *options, void **device, hr_error *error);
    void (*close)(void *device);

    /* At least 64-byte aligned; `bytes` is above 0. */
    hr_status (*alloc)(void *device, uint64_t bytes, uint64_t *handle, hr_error *error);
    void (*release)(void *device, uint64_t handle, uint64_t bytes);

    /* Machine code or program text of one variant, as it lies in the file; it stays there until `module_unload`. */
    hr_status (*module_load)(void *device, const void *image, uint64_t bytes, uint64_t *module, hr_error *error);
    void (*module_unload)(void *device, uint64_t module);

    hr_status (*queue_open)(void *device, const hr_queue_options *options, void **queue, hr_error *error);
    void (*queue_close)(void *queue);

    /* Called when a plan is made, with the most scratch that any of its launches asks for in each thread. */
    hr_status (*reserve)(void *queue, uint64_t scratch_bytes, hr_error *error);

    /* Steps of one queue happen in order.  A run is what lies between `begin` and `finish`; `finish` waits for all of
    ** it, also after a failure, and reports the first fault that no `launch` has reported before.  `upload` has read its
    ** source, and `download` has written its target, when they return: the host goes on with them. */
    hr_status (*begin)(void *queue, hr_error *error);
    hr_status (*upload)(void *queue, hr_slice target, const void *source, uint64_t bytes, hr_error *error);
    hr_status (*download)(void *queue, void *target, hr_slice source, uint64_t bytes, hr_error *error);
    hr_status (*copy)(void *queue, hr_slice target, hr_slice source, uint64_t bytes, hr_error *error);
    hr_status (*launch)(void *queue, const hr_launch *launch, hr_fault *fault, hr_error *error);
    hr_status (*finish)(void *queue, hr_fault *fault, hr_error *error);

    /* The name of another driver whose images this one runs, too, where the caller asks for this one: for simulators
    ** and tests.  NULL for none. */
    const char *stands_for;

    /* HR_OK if the device has what some variants need of it: the part behind the colon of a feature such as
    ** "opencl:cpu", whose names are the driver's own.  Else another status, and the message says why not.  Asked before
    ** the device is opened.  NULL: no device has any. */
    hr_status (*supports)(const hr_device_options *device, const char *feature, hr_error *error);
} hr_driver;

/* What every driver has; a smaller one is refused. */
#define HR_DRIVER_LEAST_BYTES ((uint32_t)offsetof(hr_driver, stands_for))

/* A library with a driver exports this function, and lives as long as the process; `HR_API` is what it needs to be seen
** where all else is hidden.
**
**     HR_API const hr_driver *headrace_driver(void); */

#ifdef __cplusplus
}
#endif
#endif
