/* kernels.c: small kernels for the tests of the runtime, compiled and flattened to one blob of position-independent
** code.  No tables, no calls: the blob is the section .text as it is. */
#include <stdint.h>

#define KERNEL(name)                                                                                                   \
    int32_t name(void *const *buffers, const int64_t *scalars, void *scratch, int64_t begin, int64_t end)

/* y[i, j] = x[i, j] * w[j]; a task is a row; scalars n, rows. */
KERNEL(scale) {
    const float *x = buffers[0], *w = buffers[1];
    float *y = buffers[2];
    int64_t n = scalars[0];
    (void)scratch;
    for (int64_t i = begin; i < end; i++)
        for (int64_t j = 0; j < n; j++)
            y[i * n + j] = x[i * n + j] * w[j];
    return 0;
}

/* y[i] = sum over j of x[i, j]^2, by way of a row in scratch, which must be aligned to 64; scalars n, rows. */
KERNEL(squares) {
    const float *x = buffers[0];
    float *y = buffers[1], *row = scratch;
    int64_t n = scalars[0];
    if ((uintptr_t)scratch % 64)
        return 1;
    for (int64_t i = begin; i < end; i++) {
        for (int64_t j = 0; j < n; j++)
            row[j] = x[i * n + j] * x[i * n + j];
        float sum = 0;
        for (int64_t j = 0; j < n; j++)
            sum += row[j];
        y[i] = sum;
    }
    return 0;
}

/* y[i] = x[index[i]]; site 1 where an index is not in [0, n), with index and n in scratch; scalars n, count. */
KERNEL(gather) {
    const float *x = buffers[0];
    const int64_t *index = buffers[1];
    float *y = buffers[2];
    int64_t *told = scratch;
    for (int64_t i = begin; i < end; i++) {
        if (index[i] < 0 || index[i] >= scalars[0]) {
            told[0] = index[i], told[1] = scalars[0];
            return 1;
        }
        y[i] = x[index[i]];
    }
    return 0;
}

/* count[0] = how many of x are above 0; one task; scalar n. */
KERNEL(count) {
    const float *x = buffers[0];
    int64_t found = 0;
    (void)scratch, (void)begin, (void)end;
    for (int64_t i = 0; i < scalars[0]; i++)
        found += x[i] > 0;
    *(int64_t *)buffers[1] = found;
    return 0;
}

/* y = those of x that are above 0, in order; one task; scalars n, k. */
KERNEL(compact) {
    const float *x = buffers[0];
    float *y = buffers[1];
    int64_t found = 0;
    (void)scratch, (void)begin, (void)end;
    for (int64_t i = 0; i < scalars[0] && found < scalars[1]; i++)
        if (x[i] > 0)
            y[found++] = x[i];
    return 0;
}

/* y[i] = x[i] + 1; a task is an element; scalar n. */
KERNEL(increment) {
    const int32_t *x = buffers[0];
    int32_t *y = buffers[1];
    (void)scratch, (void)scalars;
    for (int64_t i = begin; i < end; i++)
        y[i] = x[i] + 1;
    return 0;
}
