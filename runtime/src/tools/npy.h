/* npy.h: arrays in .npy files, versions 1.0 and 2.0, row-major. */
#ifndef HR_NPY_H
#define HR_NPY_H

#include "headrace.h"

#define NPY_MAX_RANK 32

/* An array in memory of its own; `npy_free` gives it back. */
typedef struct npy_array {
    hr_value value; /* dims and data point into this struct and to malloc'd memory */
    int64_t dims[NPY_MAX_RANK];
    char *memory;
} npy_array;

/* `wanted` says what a void is, since numpy has no bf16 and nothing narrow: that dtype, or any other for none. */
hr_status npy_read(const char *path, uint32_t wanted, npy_array *array, hr_error *error);
void npy_free(npy_array *array);

/* Writes a file that was not there or replaces it; on failure what was begun is removed.  `called`: in messages. */
hr_status npy_write(const char *path, const char *called, const hr_value *value, hr_error *error);

#endif
