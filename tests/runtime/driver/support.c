/* support.c: sessions, and runs of scale_squares. */
#include "driver.h"

hr_error error;

hr_session *open_session(const char *path, const hr_model_options *of_model, const hr_session_options *of_session) {
    hr_model *model;
    hr_session *session;
    EXPECT(!hr_model_open(path, of_model, &model, &error) && !hr_session_open(model, of_session, &session, &error));
    hr_model_close(model);
    return session;
}

void fill(float *x, int64_t batch) {
    for (int64_t i = 0; i < batch * N; i++)
        x[i] = (float)(i * 37 % 101) / 64 - 0.7f;
}

hr_value tensor(const int64_t *dims, uint32_t rank, void *data, uint64_t bytes) {
    return (hr_value){.kind = HR_TENSOR, .dtype = HR_F32, .rank = rank, .dims = dims, .data = data, .bytes = bytes};
}

hr_status run_batch(hr_session *session, int64_t batch, float *y, hr_error *e) {
    int64_t dims[2] = {batch, N};
    float *x = malloc((size_t)batch * N * sizeof *x + 1);
    fill(x, batch);
    hr_value input = tensor(dims, 2, x, (uint64_t)batch * N * sizeof *x);
    hr_value output = {.data = y, .bytes = (uint64_t)batch * sizeof *y};
    hr_status status = hr_run(session, &input, &output, e);
    free(x);
    return status;
}

static float expected(int64_t row) {
    float x[N], sum = 0;
    for (int64_t j = 0; j < N; j++)
        x[j] = (float)((row * N + j) * 37 % 101) / 64 - 0.7f;
    for (int64_t j = 0; j < N; j++)
        sum += x[j] * (float)j * (x[j] * (float)j);
    return sum;
}

bool is_right(const float *y, int64_t batch) {
    for (int64_t i = 0; i < batch; i++)
        if (y[i] < expected(i) * 0.9999f || y[i] > expected(i) * 1.0001f)
            return false;
    return true;
}
