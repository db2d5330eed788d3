/* misuse.c: calls that are wrong, each refused with its reason. */
#include "driver.h"

void misuse(const char *path) {
    hr_model *model;
    hr_session *session;
    EXPECT(hr_model_open(NULL, NULL, &model, &error) == HR_INVALID);
    EXPECT(hr_model_open("/no/such.hrm", NULL, &model, &error) == HR_IO && strstr(error.message, "/no/such.hrm"));
    EXPECT(hr_model_open("/", NULL, &model, &error) == HR_IO);
    EXPECT(hr_model_open("/no/such.hrm", NULL, &model, NULL) == HR_IO);
    EXPECT(hr_model_open_memory((const char *)&model + 1, 64, NULL, &model, &error) == HR_INVALID);
    EXPECT(hr_session_open(NULL, NULL, &session, &error) == HR_INVALID);
    hr_model_close(NULL);
    hr_session_close(NULL);
    EXPECT(!hr_model_open(path, NULL, &model, &error) && !hr_model_input(model, 1) && !hr_model_output(model, 1));
    hr_session_options many = {.size = sizeof many, .threads = 100000};
    EXPECT(hr_session_open(model, &many, &session, &error) == HR_INVALID);
    EXPECT(!hr_session_open(model, NULL, &session, &error));

    float x[2 * N + 1] = {0}, y[2];
    int64_t dims[3] = {2, N, 1};
    hr_value input = tensor(dims, 2, x, 2 * N * sizeof *x), output = {.data = y, .bytes = sizeof y}, in, out;
#define REFUSED(status_, text_)                                                                                        \
    do {                                                                                                               \
        EXPECT(hr_run(session, &in, &out, &error) == (status_) && strstr(error.message, (text_)));                     \
        in = input, out = output;                                                                                      \
    } while (0)
    in = input, out = output;
    EXPECT(hr_run(session, NULL, &out, &error) == HR_INVALID);
    EXPECT(hr_run(NULL, &in, &out, &error) == HR_INVALID);
    EXPECT(hr_memory_needed(session, &in, NULL, &error) == HR_INVALID);
    in.rank = 3;
    REFUSED(HR_SHAPE, "input 'x': has 3 dims, expected 2");
    in.dims = NULL;
    REFUSED(HR_INVALID, "dims is NULL");
    in.dtype = HR_F64;
    REFUSED(HR_SHAPE, "input 'x': is f64, expected f32");
    in.kind = HR_SEQUENCE;
    REFUSED(HR_INVALID, "expected a tensor");
    in.bytes = 4;
    REFUSED(HR_INVALID, "has 4 bytes, its dims say 256");
    in.data = NULL;
    REFUSED(HR_INVALID, "data is NULL");
    in.data = (char *)x + 1;
    REFUSED(HR_INVALID, "not aligned");
    out.bytes = 7;
    REFUSED(HR_SHAPE, "output 'y': has room for 7 bytes, the result has 8");
    out.data = (char *)y + 1;
    REFUSED(HR_INVALID, "not aligned");
    out.data = x;
    REFUSED(HR_INVALID, "overlaps that of input 'x'");
    out.dims = dims + 1, out.rank = 1;
    REFUSED(HR_SHAPE, "output 'y': dim 0 is given as 32, the result has 2");
    int64_t wrong[2] = {2, 31};
    in.dims = wrong;
    REFUSED(HR_SHAPE, "input 'x': dim 1 is 31, expected 32");
    int64_t negative[2] = {-2, N};
    in.dims = negative;
    REFUSED(HR_INVALID, "dim 0 is -2");
    int64_t huge[2] = {INT64_MAX / 64, N};
    in.dims = huge;
    REFUSED(HR_SHAPE, "do not fit 64 bits");
    EXPECT(!hr_run(session, &in, &out, &error));
    hr_session_close(session);
    hr_model_close(model);
}
