/* hostile.c: runs one session on one set of inputs after the other, and says what becomes of each.
**
**     hostile FILE.hrm CASES
**
** CASES: int64 count; then for each case and input int64 rank, dims, bytes, and the bytes.  A line for each case: `0`, or
** the status and the message.  All that a run uses lies between pages that cannot be touched. */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include "guarded.h"

#include <stdio.h>
#include <stdlib.h>

#define MOST_INPUTS 8
#define MOST_RANK 8

static void must(int holds, const char *what) {
    if (holds)
        return;
    printf("%s\n", what);
    exit(1);
}

static void read_all(FILE *file, void *to, size_t bytes) {
    must(fread(to, 1, bytes, file) == bytes, "the cases end early");
}

static int64_t read_number(FILE *file) {
    int64_t number;
    read_all(file, &number, sizeof number);
    return number;
}

static void run(hr_session *session, const hr_model *model, FILE *file) {
    hr_value inputs[MOST_INPUTS] = {{0}}, outputs[MOST_INPUTS] = {{0}};
    int64_t dims[MOST_INPUTS][MOST_RANK];
    uint32_t count = hr_model_inputs(model);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t rank = (uint32_t)read_number(file);
        must(rank <= MOST_RANK, "too many dims");
        read_all(file, dims[i], rank * sizeof(int64_t));
        uint64_t bytes = (uint64_t)read_number(file);
        void *data = guarded_take(NULL, (size_t)bytes, 1);
        must(data != NULL, "no memory for an input");
        read_all(file, data, (size_t)bytes);
        inputs[i] = (hr_value){.kind = HR_TENSOR,
                               .dtype = hr_model_input(model, i)->dtype,
                               .rank = rank,
                               .dims = dims[i],
                               .data = data,
                               .bytes = bytes};
    }
    hr_error error = {.message = ""};
    hr_status status = hr_run(session, inputs, outputs, &error);
    if (status)
        printf("%d %s\n", (int)status, error.message);
    else
        printf("0\n");
    for (uint32_t i = 0; i < count; i++)
        guarded_give(NULL, inputs[i].data, (size_t)inputs[i].bytes, 1);
}

int main(int count, char **arguments) {
    must(count == 3, "hostile FILE.hrm CASES");
    hr_model_options options = {.size = sizeof options, .allocator = guarded};
    hr_session_options two = {.size = sizeof two, .threads = 2};
    hr_model *model;
    hr_session *session;
    hr_error error;
    must(!hr_model_open(arguments[1], &options, &model, &error), error.message);
    must(hr_model_inputs(model) <= MOST_INPUTS && hr_model_outputs(model) <= MOST_INPUTS, "too many inputs or outputs");
    must(!hr_session_open(model, &two, &session, &error), error.message);
    FILE *file = fopen(arguments[2], "rb");
    must(file != NULL, "no such cases");
    for (int64_t left = read_number(file); left > 0; left--)
        run(session, model, file);
    fclose(file);
    hr_session_close(session);
    hr_model_close(model);
    must(taken_bytes == 0, "memory was not given back");
    return 0;
}
