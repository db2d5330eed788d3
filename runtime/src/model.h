/* model.h: an open model, shared read-only by its sessions. */
#ifndef HR_MODEL_H
#define HR_MODEL_H

#include "headrace_driver.h"
#include "variant.h"

#include <stdatomic.h>

struct hr_model {
    atomic_uint references; /* the caller's and each session's */
    hr_blocks blocks;
    hr_file file;
    hr_signature signature;
    hr_constants constants;
    hr_variant variant;
    uint32_t variant_index;
    const hr_driver *driver;
    void *device;
    uint64_t module;
    uint64_t constants_handle; /* of the whole section, on the device */
    bool has_module, has_constants;
};

/* Ended by NULL; written by CMake from the files in drivers/. */
extern const hr_driver *const hr_builtin_drivers[];

static inline bool hr_is_host(const hr_model *model) {
    return model->driver->flags & HR_DRIVER_HOST_MEMORY;
}

/* A handle of host memory. */
static inline uint64_t hr_handle_of(const void *memory) {
    return (uint64_t)(uintptr_t)memory;
}

void hr_model_release(hr_model *model);

#endif
