/* model.h: an open model, shared read-only by its sessions. */
#ifndef HR_MODEL_H
#define HR_MODEL_H

#include "devices.h"
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
    const char *device_name; /* of the leading one, for users */
    uint32_t device_count;   /* that are to be closed */
    hr_device devices[HR_MAX_DEVICES];
};

/* Ended by NULL; written by CMake from the files in drivers/. */
extern const hr_driver *const hr_builtin_drivers[];

/* Of the device where inputs and outputs lie. */
static inline bool hr_is_host(const hr_model *model) {
    return hr_device_is_host(&model->devices[0]);
}

/* A handle of host memory. */
static inline uint64_t hr_handle_of(const void *memory) {
    return (uint64_t)(uintptr_t)memory;
}

void hr_model_release(hr_model *model);

#endif
