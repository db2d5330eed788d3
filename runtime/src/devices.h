/* devices.h: the machines that run a model: each with its driver, its code and the constants. */
#ifndef HR_DEVICES_H
#define HR_DEVICES_H

#include "container.h"
#include "headrace_driver.h"

#define HR_MAX_DEVICES 8u

typedef struct hr_device {
    const hr_driver *driver;
    void *opened;
    uint64_t module;
    uint64_t constants; /* the handle of the whole section */
    bool has_module, has_constants;
} hr_device;

/* Whether its kernels use the host's memory. */
static inline bool hr_device_is_host(const hr_device *device) {
    return device->driver->flags & HR_DRIVER_HOST_MEMORY;
}

/* `which` of its driver's devices; takes over `code` and `constants`.  What a failure leaves open, close gives back. */
hr_status hr_device_open(hr_device *device, const char *which, hr_section code, hr_section constants,
                         const hr_allocator *allocator, hr_error *error);

void hr_device_close(hr_device *device, hr_section constants);

#endif
