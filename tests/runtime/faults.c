/* faults.c: fails each call of a driver once, in a model's whole life, for the tests; compiled with sanitizers.
**
**     faults FILE.hrm     the model is scale_squares, row_by_row or beside of conftest.py; examples/driver/null.c fails
**
** Whatever fails, the caller gets the device's text, nothing stays behind, and what comes later works. */
#include "counted.h"
#include "headrace_driver.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPECT(what)                                                                                                   \
    do {                                                                                                               \
        if (!(what)) {                                                                                                 \
            printf("%s:%d: not so with '%s': %s (%s)\n", __FILE__, __LINE__, device, #what, error.message);            \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

enum { WIDTH = 32, ROWS = 5 };

extern const hr_driver hr_driver_null;

static char device[64];
static hr_error error;

static hr_status run(hr_session *session) {
    float x[ROWS * WIDTH], y[ROWS] = {0};
    for (int i = 0; i < ROWS * WIDTH; i++)
        x[i] = (float)(i % 7);
    int64_t dims[2] = {ROWS, WIDTH};
    hr_value input = {.kind = HR_TENSOR, .dtype = HR_F32, .rank = 2, .dims = dims, .data = x, .bytes = sizeof x};
    hr_value output = {.data = y, .bytes = sizeof y};
    hr_status status = hr_run(session, &input, &output, &error);
    for (int i = 0; i < ROWS && !status; i++) {
        float sum = 0;
        for (int j = 0; j < WIDTH; j++)
            sum += x[i * WIDTH + j] * (float)j * x[i * WIDTH + j] * (float)j;
        EXPECT(y[i] == sum);
    }
    return status;
}

/* Opens, runs twice, closes; false where nothing failed.  What fails must say so in the device's words. */
static bool live(const char *path, hr_status wanted, const char *text) {
    const hr_driver *const drivers[] = {&hr_driver_null};
    hr_model_options options = {.size = sizeof options,
                                .driver_count = 1,
                                .drivers = drivers,
                                .allocator = counted.allocator,
                                .device = device};
    hr_model *model = NULL;
    hr_session *session = NULL;
    error = (hr_error){0};
    hr_status status = hr_model_open(path, &options, &model, &error);
    if (!status) {
        EXPECT(!strcmp(hr_model_driver(model), device));
        status = hr_session_open(model, NULL, &session, &error);
    }
    for (int i = 0; i < 2 && !status; i++)
        status = run(session);
    if (status) {
        EXPECT(status == wanted && error.status == wanted && strstr(error.message, text));
        /* A lost device stays lost; one without memory may find some later. */
        if (session)
            EXPECT(run(session) == (wanted == HR_NO_MEMORY ? HR_OK : wanted));
        else if (model)
            EXPECT(hr_session_open(model, NULL, &session, &error) == (wanted == HR_NO_MEMORY ? HR_OK : wanted));
    }
    hr_session_close(session);
    hr_model_close(model);
    EXPECT(balance == 0);
    return status != HR_OK;
}

/* Each call of a life is the one that fails, until none is left. */
static void sweep(const char *path, const char *kind, hr_status wanted, const char *text) {
    int number = 1;
    do
        snprintf(device, sizeof device, "null:%s@%d", kind, number++);
    while (live(path, wanted, text));
    printf("%s: %d calls\n", kind, number - 2);
}

int main(int count, char **arguments) {
    if (count != 2)
        return 1;
    strcpy(device, "null");
    EXPECT(!live(arguments[1], HR_OK, ""));
    sweep(arguments[1], "out-of-memory", HR_NO_MEMORY, "null: out of memory at ");
    sweep(arguments[1], "lost", HR_DEVICE, "null: the device is lost at ");
    strcpy(device, "null:bad-module");
    EXPECT(live(arguments[1], HR_DEVICE, "null: bad module at module_load 1"));
    strcpy(device, "null:lost@launch:2");
    EXPECT(live(arguments[1], HR_DEVICE, "null: the device is lost at launch 2"));
    strcpy(device, "null");
    EXPECT(!live(arguments[1], HR_OK, ""));
    return 0;
}
