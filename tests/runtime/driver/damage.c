/* damage.c: files that are cut off, changed, or made wrong, read from blocks of their very size. */
#include "container.h"
#include "driver.h"

typedef struct bytes {
    unsigned char *data;
    size_t count;
} bytes;

static bytes slurp(const char *path) {
    FILE *file = fopen(path, "rb");
    EXPECT(file);
    fseek(file, 0, SEEK_END);
    bytes b = {NULL, (size_t)ftell(file)};
    rewind(file);
    b.data = aligned_alloc(64, (b.count + 63) / 64 * 64);
    EXPECT(fread(b.data, 1, b.count, file) == b.count);
    fclose(file);
    return b;
}

/* The first `count` bytes in a block of exactly that size, so that the sanitizer sees a read past the end. */
static unsigned char *exact_copy(const unsigned char *data, size_t count) {
    void *copy = NULL;
    EXPECT(!posix_memalign(&copy, 64, count ? count : 1));
    memcpy(copy, data, count);
    return copy;
}

static hr_status open_and_verify(const void *data, size_t count) {
    hr_model *model = NULL;
    error.message[0] = 0;
    hr_status status = hr_model_open_memory(data, count, NULL, &model, &error);
    if (!status)
        status = hr_model_verify(model, &error);
    hr_model_close(model);
    return status;
}

void truncate_everywhere(const char *path) {
    bytes b = slurp(path);
    for (size_t n = 0; n < b.count; n++) {
        unsigned char *copy = exact_copy(b.data, n);
        EXPECT(open_and_verify(copy, n) == HR_DAMAGED && !strchr(error.message, '\n') && error.message[0]);
        free(copy);
    }
    EXPECT(open_and_verify(b.data, b.count) == HR_OK);
    printf("%zu lengths\n", b.count);
    free(b.data);
}

void flip_everywhere(const char *path) {
    bytes b = slurp(path);
    for (size_t i = 0; i < b.count; i++)
        for (int bit = 0; bit < 8; bit += 7) {
            b.data[i] ^= (unsigned char)(1 << bit);
            hr_status status = open_and_verify(b.data, b.count);
            /* The bytes of the format's number, and none but these, look like another version: one that is read, or not. */
            uint32_t format;
            memcpy(&format, b.data + 8, sizeof format);
            EXPECT(status == (format < 1 || format > HR_FORMAT ? HR_VERSION : HR_DAMAGED));
            b.data[i] ^= (unsigned char)(1 << bit);
        }
    printf("%zu bytes\n", b.count);
    free(b.data);
}

/* Evaluates the plan of whatever opens: a program that was let through must not lead out of bounds. */
void open_and_plan(const char *path) {
    bytes b = slurp(path);
    hr_model *model = NULL;
    hr_session *session = NULL;
    if (!hr_model_open_memory(b.data, b.count, NULL, &model, &error)) {
        hr_model_verify(model, &error);
        EXPECT(!hr_session_open(model, NULL, &session, &error));
        int64_t dims[64];
        uint64_t needed;
        hr_value inputs[8] = {0};
        EXPECT(hr_model_inputs(model) <= 8);
        for (int i = 0; i < 64; i++)
            dims[i] = 3 + i;
        for (uint32_t i = 0; i < hr_model_inputs(model); i++) {
            const hr_port *port = hr_model_input(model, i);
            inputs[i] = tensor(dims, port->rank, NULL, 0);
            for (uint32_t j = 0; j < port->rank && j < 64; j++)
                dims[j] = port->dims[j].size >= 0 ? port->dims[j].size : dims[j];
        }
        hr_status status = hr_memory_needed(session, inputs, &needed, &error);
        printf("planned %d\n", status);
    } else {
        printf("refused %d\n", error.status);
    }
    hr_session_close(session);
    hr_model_close(model);
    free(b.data);
}
