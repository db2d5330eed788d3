/* driver.h: what the parts of this program share.  Each command takes a file of a model of conftest.py, unless it says
** otherwise, and ends the process where something is not as it should be. */
#ifndef DRIVER_H
#define DRIVER_H

#include "counted.h"
#include "headrace.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern hr_error error;

#define EXPECT(what)                                                                                                   \
    do {                                                                                                               \
        if (!(what)) {                                                                                                 \
            printf("%s:%d: not so: %s (%s)\n", __FILE__, __LINE__, #what, error.message);                              \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

/* ---- support.c ---- */

/* A session, which keeps its model: that is closed. */
hr_session *open_session(const char *path, const hr_model_options *of_model, const hr_session_options *of_session);

#define N 32 /* numbers in a row of scale_squares */

void fill(float *x, int64_t batch);
hr_value tensor(const int64_t *dims, uint32_t rank, void *data, uint64_t bytes);
hr_status run_batch(hr_session *session, int64_t batch, float *y, hr_error *e);
bool is_right(const float *y, int64_t batch);

/* ---- commands ---- */

void allocations(const char *path); /* lives.c */
void second_run(const char *path);
void recovery(const char *path);
void profile(const char *path);
void same_bits(const char *path); /* threads.c */
void concurrent(const char *path);
void own_threads(const char *path);
void environment(const char *path);
void quota(const char *root, const char *wanted); /* a folder of cgroups */
void truncate_everywhere(const char *path);       /* damage.c */
void flip_everywhere(const char *path);
void open_and_plan(const char *path);
void device(const char *path, const char *gather_path); /* far.c */
void misuse(const char *path);                          /* misuse.c */

#endif
