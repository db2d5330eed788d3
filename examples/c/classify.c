/* classify.c: loads a compiled image classifier and says which class each image is of.
**
**     classify digits.hrm IMAGES.raw [THREADS]
**
** IMAGES.raw holds the images one after another, as the model takes them: its first dim is the number of images, the
** others are sizes.  Works with every model of one f32 input and one f32 output of [images, classes].
**
** To build it:   cc -std=c11 classify.c $(pkg-config --cflags --libs headrace) -o classify
** or with CMake: see CMakeLists.txt beside this file. */
#include <headrace.h>

#include <stdio.h>
#include <stdlib.h>

#define MAX_RANK 8

static int fail(const char *message) {
    fprintf(stderr, "classify: %s\n", message);
    return 2;
}

/* The whole file; its size in *bytes. */
static void *read_file(const char *path, size_t *bytes) {
    FILE *file = fopen(path, "rb");
    if (!file)
        return NULL;
    char *data = NULL;
    size_t used = 0, room = 0;
    for (size_t n = 1; n; used += n) {
        if (used == room) {
            room = room ? 2 * room : 4096;
            char *bigger = realloc(data, room);
            if (!bigger) {
                free(data);
                fclose(file);
                return NULL;
            }
            data = bigger;
        }
        n = fread(data + used, 1, room - used, file);
    }
    fclose(file);
    *bytes = used;
    return data;
}

/* The model's dims with the number of images in place of the first; 0 where it is not such a model. */
static int shape_of(const hr_model *model, size_t bytes, int64_t dims[MAX_RANK]) {
    const hr_port *x = hr_model_input(model, 0), *y = hr_model_output(model, 0);
    if (hr_model_inputs(model) != 1 || hr_model_outputs(model) != 1 || x->dtype != HR_F32 || y->dtype != HR_F32 ||
        x->rank < 1 || x->rank > MAX_RANK || y->rank != 2)
        return 0;
    size_t image = sizeof(float);
    for (uint32_t i = 1; i < x->rank; i++) {
        if (x->dims[i].size < 1)
            return 0;
        dims[i] = x->dims[i].size;
        image *= (size_t)x->dims[i].size;
    }
    dims[0] = (int64_t)(bytes / image);
    return bytes % image == 0 && (x->dims[0].size < 0 || x->dims[0].size == dims[0]);
}

int main(int count, char **arguments) {
    if (count < 3)
        return fail("usage: classify MODEL.hrm IMAGES.raw [THREADS]");
    hr_error error;
    hr_model *model = NULL;
    hr_session *session = NULL;
    hr_session_options options = {.size = sizeof options, .threads = count > 3 ? (uint32_t)atoi(arguments[3]) : 0};
    if (hr_model_open(arguments[1], NULL, &model, &error) || hr_session_open(model, &options, &session, &error))
        return fail(error.message);

    size_t bytes;
    int64_t dims[MAX_RANK];
    void *images = read_file(arguments[2], &bytes);
    if (!images)
        return fail("the images cannot be read");
    if (!shape_of(model, bytes, dims))
        return fail("the model takes no images of this size");

    uint32_t rank = hr_model_input(model, 0)->rank;
    hr_value x = {.kind = HR_TENSOR, .dtype = HR_F32, .rank = rank, .dims = dims, .data = images, .bytes = bytes};
    hr_value y = {0}; /* no memory given: the session lends some */
    if (hr_run(session, &x, &y, &error))
        return fail(error.message);

    const float *scores = y.data;
    for (int64_t i = 0; i < y.dims[0]; i++, scores += y.dims[1]) {
        int64_t best = 0;
        for (int64_t j = 1; j < y.dims[1]; j++)
            best = scores[j] > scores[best] ? j : best;
        printf("image %lld: class %lld\n", (long long)i, (long long)best);
    }
    free(images);
    hr_session_close(session);
    hr_model_close(model);
    return 0;
}
