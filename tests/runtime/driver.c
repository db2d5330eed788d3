/* driver.c: drives the whole runtime from C, for the tests; compiled with sanitizers.
**
**     driver COMMAND FILE.hrm ...     exits with 0 if all is as it should be, else says what is not
**
** The models are those of conftest.py. */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include "container.h"
#include "headrace_driver.h"
#include "threads.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#define EXPECT(what)                                                                                                   \
    do {                                                                                                               \
        if (!(what)) {                                                                                                 \
            printf("%s:%d: not so: %s (%s)\n", __FILE__, __LINE__, #what, error.message);                              \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

static hr_error error;

/* ---- an allocator that counts, and fails when told to ---- */

static long takes, balance, fail_at = -1;

static void *counted_take(void *context, size_t bytes, size_t alignment) {
    (void)context;
    if (takes++ == fail_at)
        return NULL;
    balance++;
    return aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
}

static void counted_give(void *context, void *memory, size_t bytes, size_t alignment) {
    (void)context, (void)bytes, (void)alignment;
    balance--;
    free(memory);
}

static hr_model_options counted(void) {
    return (hr_model_options){.size = sizeof(hr_model_options), .allocator = {counted_take, counted_give, NULL}};
}

/* ---- running the model scale_squares ---- */

#define N 32

static void fill(float *x, int64_t batch) {
    for (int64_t i = 0; i < batch * N; i++)
        x[i] = (float)(i * 37 % 101) / 64 - 0.7f;
}

static hr_value tensor(const int64_t *dims, uint32_t rank, void *data, uint64_t bytes) {
    return (hr_value){.kind = HR_TENSOR, .dtype = HR_F32, .rank = rank, .dims = dims, .data = data, .bytes = bytes};
}

static hr_status run_batch(hr_session *session, int64_t batch, float *y, hr_error *e) {
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

static bool is_right(const float *y, int64_t batch) {
    for (int64_t i = 0; i < batch; i++)
        if (y[i] < expected(i) * 0.9999f || y[i] > expected(i) * 1.0001f)
            return false;
    return true;
}

static void ignore_launch(void *context, const hr_profile_event *event) {
    (void)context, (void)event;
}

/* Opens, runs with new memory twice, closes: whatever allocates is in here. */
static hr_status whole_life(const char *path, const hr_model_options *options, bool lent) {
    hr_session_options two = {.size = sizeof two, .threads = 2, .profile = lent ? ignore_launch : NULL};
    hr_model *model = NULL;
    hr_session *session = NULL;
    hr_status status = hr_model_open(path, options, &model, &error);
    if (!status)
        status = hr_session_open(model, &two, &session, &error);
    float y[9];
    for (int64_t batch = 7; batch <= 9 && !status; batch += 2) {
        int64_t dims[2] = {batch, N};
        float x[9 * N];
        fill(x, batch);
        hr_value input = tensor(dims, 2, x, (uint64_t)batch * N * sizeof *x);
        hr_value output = {.data = lent ? NULL : y, .bytes = lent ? 0 : sizeof y};
        uint64_t bytes;
        status = hr_memory_needed(session, &input, &bytes, &error);
        if (!status || status == HR_DATA) /* a program with a loop does not know it beforehand */
            status = hr_run(session, &input, &output, &error);
        if (!status)
            EXPECT(is_right(output.data, batch) && output.rank == 1 && output.dims[0] == batch);
    }
    if (!status)
        status = hr_model_verify(model, &error);
    hr_session_close(session);
    hr_model_close(model);
    return status;
}

static void allocations(const char *path) {
    hr_model_options options = counted();
    for (int lent = 0; lent < 2; lent++) {
        fail_at = -1, takes = 0;
        EXPECT(whole_life(path, &options, lent) == HR_OK && balance == 0);
        long all = takes;
        for (fail_at = 0; fail_at < all; fail_at++) {
            takes = 0;
            EXPECT(whole_life(path, &options, lent) == HR_NO_MEMORY && balance == 0);
            EXPECT(strstr(error.message, "memory"));
        }
        printf("%ld allocations, each failed once\n", all);
    }
}

static void second_run(const char *path) {
    hr_model_options options = counted();
    hr_session_options two = {.size = sizeof two, .threads = 2};
    hr_model *model;
    hr_session *session;
    float y[1000];
    EXPECT(!hr_model_open(path, &options, &model, &error) && !hr_session_open(model, &two, &session, &error));
    long before = takes;
    EXPECT(!run_batch(session, 1000, y, &error) && takes > before);
    before = takes;
    for (int i = 0; i < 3; i++)
        EXPECT(!run_batch(session, 1000, y, &error) && takes == before && is_right(y, 1000));
    EXPECT(!run_batch(session, 10, y, &error) && takes == before); /* smaller fits too */
    hr_session_close(session);
    hr_model_close(model);
    EXPECT(balance == 0);
}

/* A session that ran out of memory runs again when there is some. */
static void recovery(const char *path) {
    hr_model_options options = counted();
    hr_session_options two = {.size = sizeof two, .threads = 2};
    hr_model *model;
    hr_session *session;
    float y[100];
    EXPECT(!hr_model_open(path, &options, &model, &error) && !hr_session_open(model, &two, &session, &error));
    fail_at = takes;
    EXPECT(run_batch(session, 100, y, &error) == HR_NO_MEMORY);
    fail_at = -1;
    EXPECT(!run_batch(session, 100, y, &error) && is_right(y, 100));
    hr_session_close(session);
    hr_model_close(model);
}

/* ---- threads ---- */

static void same_bits(const char *path) {
    float *reference = NULL;
    for (uint32_t threads = 1; threads <= 4; threads++) {
        hr_session_options options = {.size = sizeof options, .threads = threads};
        hr_model *model;
        hr_session *session;
        float *y = malloc(1003 * sizeof *y);
        EXPECT(!hr_model_open(path, NULL, &model, &error) && !hr_session_open(model, &options, &session, &error));
        EXPECT(hr_session_threads(session) == threads);
        for (int i = 0; i < 20; i++)
            EXPECT(!run_batch(session, 1003, y, &error) && is_right(y, 1003));
        EXPECT(!reference || !memcmp(reference, y, 1003 * sizeof *y));
        hr_session_close(session);
        hr_model_close(model);
        if (reference)
            free(y);
        else
            reference = y;
    }
    free(reference);
}

typedef struct thread_job {
    hr_model *model;
    hr_session *session;
    atomic_int *busy;
    bool right;
} thread_job;

static void *run_often(void *argument) {
    thread_job *job = argument;
    hr_session_options two = {.size = sizeof two, .threads = 2};
    hr_session *session = job->session;
    float y[64];
    job->right = session || !hr_session_open(job->model, &two, &session, NULL);
    for (int i = 0; i < 100 && job->right; i++) {
        hr_status status = run_batch(session, 1 + i % 64, y, NULL);
        if (status == HR_BUSY && job->busy)
            atomic_fetch_add(job->busy, 1);
        else
            job->right = status == HR_OK && is_right(y, 1 + i % 64);
    }
    if (!job->session)
        hr_session_close(session);
    return NULL;
}

/* Two sessions on one model, closed by their threads; then one session for two threads. */
static void concurrent(const char *path) {
    hr_model *model;
    hr_session *session;
    atomic_int busy = 0;
    pthread_t threads[2];
    EXPECT(!hr_model_open(path, NULL, &model, &error) && !hr_session_open(model, NULL, &session, &error));
    for (int shared = 0; shared < 2; shared++) {
        thread_job jobs[2];
        for (int i = 0; i < 2; i++) {
            jobs[i] = (thread_job){model, shared ? session : NULL, shared ? &busy : NULL, false};
            EXPECT(!pthread_create(&threads[i], NULL, run_often, &jobs[i]));
        }
        for (int i = 0; i < 2; i++) {
            pthread_join(threads[i], NULL);
            EXPECT(jobs[i].right);
        }
    }
    hr_model_close(model); /* before its session: the session keeps it */
    hr_session_close(session);
    printf("%d runs were refused as busy\n", atomic_load(&busy));
}

/* Threads of the caller's own: here the calling one, from the last part to the first. */
typedef struct own {
    int calls;
    uint32_t parts[2]; /* of the last calls */
} own;

static void run_backwards(void *context, uint32_t parts, hr_work_fn work, void *argument) {
    own *o = context;
    o->parts[o->calls++ % 2] = parts;
    for (uint32_t part = parts; part-- > 0;)
        work(argument, part, parts);
}

/* The first launch says how much work it is, for a row of N elements 9 * N; the second does not. */
static void own_threads(const char *path) {
    hr_model *model;
    hr_session *session;
    own o = {0};
    float y[5000];
    hr_session_options options = {.size = sizeof options, .threads = 7, .parallel = {run_backwards, &o}};
    EXPECT(!hr_model_open(path, NULL, &model, &error) && !hr_session_open(model, &options, &session, &error));
    EXPECT(!run_batch(session, 100, y, &error) && is_right(y, 100) && o.calls == 1 && o.parts[0] == 7);
    o.calls = 0;
    EXPECT(!run_batch(session, 3, y, &error) && is_right(y, 3) && o.calls == 1 && o.parts[0] == 3);
    o.calls = 0; /* 2 * 128000 / (9 * N) rows are worth two threads */
    EXPECT(!run_batch(session, 1000, y, &error) && is_right(y, 1000) && o.calls == 2 && o.parts[0] == 2);
    o.calls = 0;
    EXPECT(!run_batch(session, 5000, y, &error) && is_right(y, 5000) && o.calls == 2 && o.parts[0] == 7);
    hr_session_close(session);
    hr_model_close(model);
}

/* ---- the floating-point environment ---- */

static void environment(const char *path) {
    hr_model *model;
    hr_session *session;
    hr_session_options two = {.size = sizeof two, .threads = 2};
    EXPECT(!hr_model_open(path, NULL, &model, &error) && !hr_session_open(model, &two, &session, &error));
    float x[2 * N] = {0}, y[2], plain;
    int64_t dims[2] = {2, N};
    x[1] = x[N + 1] = 1e-22f; /* times w[1] = 1, squared: 1e-44, a denormal */
    hr_value input = tensor(dims, 2, x, sizeof x), output = {.data = y, .bytes = sizeof y};
#if defined(__x86_64__)
    _mm_setcsr(0x1f80 | 0x8040 | 0x6000); /* denormals are zero, rounding towards zero */
    unsigned before = _mm_getcsr() & ~0x3fu;
#endif
    EXPECT(!hr_run(session, &input, &output, &error));
#if defined(__x86_64__)
    EXPECT((_mm_getcsr() & ~0x3fu) == before);
    _mm_setcsr(0x1f80);
#endif
    plain = x[1] * x[1];
    EXPECT(plain != 0 && y[0] == plain && y[1] == plain);
    hr_session_close(session);
    hr_model_close(model);
}

/* ---- profile ---- */

typedef struct watch {
    int calls;
    uint32_t threads;
    const char *nodes[2]; /* as the first run told them */
} watch;

static void count_launch(void *context, const hr_profile_event *event) {
    watch *w = context;
    bool second = w->calls % 2;
    EXPECT(event->end_ns >= event->begin_ns && event->tasks == 5);
    EXPECT(!strcmp(event->kernel, second ? "squares" : "scale"));
    EXPECT(!strcmp(event->nodes, second ? "Mul_1, ReduceSum_2" : "Mul_0"));
    EXPECT(event->kernel_index == second && event->launch_index == second);
    EXPECT(event->flops == (second ? -1 : 5 * N) && event->bytes == (second ? -1 : 5 * N * 8 + N * 4));
    /* The first is too small to be shared; of the second others take a part if they come in time. */
    EXPECT(event->part_count >= 1 && event->part_count <= (second ? w->threads : 1) && event->parts[0].thread == 0);
    for (uint32_t i = 0; i < event->part_count; i++) {
        const hr_profile_part *part = &event->parts[i];
        EXPECT((i == 0 || part->thread > part[-1].thread) && part->thread < w->threads && event->begin_ns <= part->begin_ns && part->begin_ns <= part->end_ns &&
               part->end_ns <= event->end_ns);
    }
    EXPECT(w->calls < 2 || w->nodes[second] == event->nodes);
    w->nodes[second] = event->nodes;
    w->calls++;
}

static void profile(const char *path) {
    for (uint32_t threads = 1; threads <= 3; threads++) {
        hr_model_options counting = counted();
        hr_model *model;
        hr_session *session;
        watch w = {.threads = threads};
        float y[5];
        hr_session_options options = {
            .size = sizeof options, .threads = threads, .profile = count_launch, .profile_context = &w};
        EXPECT(!hr_model_open(path, &counting, &model, &error) && !hr_session_open(model, &options, &session, &error));
        EXPECT(!run_batch(session, 5, y, &error));
        long before = takes;
        EXPECT(!run_batch(session, 5, y, &error) && w.calls == 4 && takes == before);
        hr_session_close(session);
        hr_model_close(model);
    }
}

/* ---- damage ---- */

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

static void truncate_everywhere(const char *path) {
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

static void flip_everywhere(const char *path) {
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
static void open_and_plan(const char *path) {
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

/* ---- a device whose memory is not the host's ---- */

/* Blocks are numbered from 1; a handle is no address.  Kernels run on the blocks. */
#define BLOCKS 64
static struct {
    void *memory;
    uint64_t bytes;
} blocks[BLOCKS];
static int uploads, downloads;

static hr_status far_open(const hr_device_options *options, void **device, hr_error *e) {
    (void)e;
    EXPECT(!strcmp(options->name, "7"));
    *device = blocks;
    return HR_OK;
}
static void far_close(void *device) {
    (void)device;
}
static hr_status far_alloc(void *device, uint64_t size, uint64_t *handle, hr_error *e) {
    (void)device, (void)e;
    uint64_t i = 1;
    while (blocks[i].memory)
        i++;
    EXPECT(i < BLOCKS);
    blocks[i].memory = aligned_alloc(64, (size_t)(size + 63) / 64 * 64);
    blocks[i].bytes = size;
    *handle = i;
    return HR_OK;
}
static void far_release(void *device, uint64_t handle, uint64_t size) {
    (void)device;
    EXPECT(blocks[handle].bytes == size);
    free(blocks[handle].memory);
    blocks[handle].memory = NULL;
}
static hr_status far_load(void *device, const void *image, uint64_t size, uint64_t *module, hr_error *e) {
    (void)device, (void)e;
    void *code = mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(code != MAP_FAILED && size <= 1 << 16);
    memcpy(code, image, (size_t)size);
    EXPECT(!mprotect(code, 1 << 16, PROT_READ | PROT_EXEC));
    *module = (uint64_t)(uintptr_t)code;
    return HR_OK;
}
static void far_unload(void *device, uint64_t module) {
    (void)device;
    munmap((void *)(uintptr_t)module, 1 << 16);
}
static hr_status far_queue(void *device, const hr_queue_options *options, void **queue, hr_error *e) {
    (void)options, (void)e;
    *queue = device;
    return HR_OK;
}
static hr_status far_reserve(void *queue, uint64_t scratch, hr_error *e) {
    (void)queue, (void)scratch, (void)e;
    return HR_OK;
}
static hr_status far_begin(void *queue, hr_error *e) {
    (void)queue, (void)e;
    return HR_OK;
}
static void *at(hr_slice slice, uint64_t size) {
    EXPECT(slice.handle < BLOCKS && slice.offset + size <= blocks[slice.handle].bytes);
    return (char *)blocks[slice.handle].memory + slice.offset;
}
static hr_status far_upload(void *queue, hr_slice target, const void *source, uint64_t size, hr_error *e) {
    (void)queue, (void)e;
    uploads++;
    memcpy(at(target, size), source, (size_t)size);
    return HR_OK;
}
static hr_status far_download(void *queue, void *target, hr_slice source, uint64_t size, hr_error *e) {
    (void)queue, (void)e;
    downloads++;
    memcpy(target, at(source, size), (size_t)size);
    return HR_OK;
}
static hr_status far_copy(void *queue, hr_slice target, hr_slice source, uint64_t size, hr_error *e) {
    (void)queue, (void)e;
    memcpy(at(target, size), at(source, size), (size_t)size);
    return HR_OK;
}
static hr_fault late;
static hr_status far_launch(void *queue, const hr_launch *launch, hr_fault *fault, hr_error *e) {
    (void)queue, (void)fault, (void)e;
    typedef int32_t (*kernel)(void *const *, const int64_t *, void *, int64_t, int64_t);
    void *buffers[HR_MAX_BUFFERS], *scratch = aligned_alloc(4096, (size_t)(launch->scratch_bytes + 4096) / 4096 * 4096);
    for (uint32_t i = 0; i < launch->buffer_count; i++)
        buffers[i] = at(launch->buffers[i], 0);
    kernel run = (kernel)(uintptr_t)(launch->module + launch->entry);
    int32_t site = run(buffers, launch->scalars, scratch, 0, launch->tasks);
    if (site && !late.site) { /* told when the queue is waited for, as a device does that runs on its own */
        late = (hr_fault){.index = launch->index, .site = site};
        memcpy(late.values, scratch, sizeof late.values);
    }
    free(scratch);
    return HR_OK;
}
static hr_status far_finish(void *queue, hr_fault *fault, hr_error *e) {
    (void)queue, (void)e;
    *fault = late;
    late.site = 0;
    return HR_OK;
}

static const hr_driver far_driver = {
    .size = sizeof(hr_driver),
    .abi = HR_DRIVER_ABI,
    .name = "far",
    .open = far_open,
    .close = far_close,
    .alloc = far_alloc,
    .release = far_release,
    .module_load = far_load,
    .module_unload = far_unload,
    .queue_open = far_queue,
    .queue_close = far_close,
    .reserve = far_reserve,
    .begin = far_begin,
    .upload = far_upload,
    .download = far_download,
    .copy = far_copy,
    .launch = far_launch,
    .finish = far_finish,
};

static void device(const char *path, const char *gather_path) {
    const hr_driver *const drivers[] = {&far_driver};
    hr_model_options options = {.size = sizeof options, .driver_count = 1, .drivers = drivers};
    hr_model *model;
    hr_session *session;
    float y[40];
    EXPECT(hr_model_open(path, NULL, &model, &error) == HR_UNSUPPORTED && strstr(error.message, "driver 'far:7'"));
    EXPECT(!hr_model_open(path, &options, &model, &error) && !strcmp(hr_model_driver(model), "far:7"));
    EXPECT(!hr_session_open(model, NULL, &session, &error) && uploads == 1);
    EXPECT(!run_batch(session, 40, y, &error) && is_right(y, 40) && uploads == 2 && downloads == 1);
    EXPECT(!run_batch(session, 3, y, &error) && is_right(y, 3) && downloads == 2);
    hr_session_close(session);
    hr_model_close(model);

    EXPECT(!hr_model_open(gather_path, &options, &model, &error) && !hr_session_open(model, NULL, &session, &error));
    int64_t four = 4, two = 2, index[2] = {1, 4};
    float x[4] = {1, 2, 3, 4};
    hr_value inputs[2] = {tensor(&four, 1, x, sizeof x), tensor(&two, 1, index, sizeof index)};
    inputs[1].dtype = HR_I64;
    hr_value output = {.data = y, .bytes = sizeof y};
    EXPECT(hr_run(session, inputs, &output, &error) == HR_DATA);
    EXPECT(!strcmp(error.message, "node 'Gather_3': index 4 is out of range for 4 {2} elements {"));
    hr_session_close(session);
    hr_model_close(model);
    for (int i = 0; i < BLOCKS; i++)
        EXPECT(!blocks[i].memory);

    hr_driver old = far_driver;
    const hr_driver *const olds[] = {&old};
    old.abi = 99;
    options.drivers = olds;
    EXPECT(hr_model_open(path, &options, &model, &error) == HR_VERSION && strstr(error.message, "99"));
}

/* ---- wrong calls ---- */

static void misuse(const char *path) {
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

/* ---- quotas ---- */

static void quota(const char *root, const char *wanted) {
    EXPECT(hr_default_threads(root) == (uint32_t)atoi(wanted));
}

int main(int count, char **arguments) {
    static const struct {
        const char *name;
        void (*call)(const char *path);
    } commands[] = {
        {"allocations", allocations},
        {"second-run", second_run},
        {"recovery", recovery},
        {"same-bits", same_bits},
        {"concurrent", concurrent},
        {"own-threads", own_threads},
        {"environment", environment},
        {"profile", profile},
        {"misuse", misuse},
        {"truncate", truncate_everywhere},
        {"flip", flip_everywhere},
        {"plan", open_and_plan},
    };
    for (size_t i = 0; count == 3 && i < sizeof commands / sizeof *commands; i++)
        if (!strcmp(arguments[1], commands[i].name)) {
            commands[i].call(arguments[2]);
            return 0;
        }
    if (count > 3 && !strcmp(arguments[1], "plan"))
        for (int i = 2; i < count; i++)
            open_and_plan(arguments[i]);
    else if (count == 4 && !strcmp(arguments[1], "device"))
        device(arguments[2], arguments[3]);
    else if (count == 4 && !strcmp(arguments[1], "quota"))
        quota(arguments[2], arguments[3]);
    else
        return printf("unknown command\n"), 1;
    return 0;
}
