/* threads.c: several threads: equal bits, sessions side by side, the caller's own threads, quotas; and each thread's
** floating-point environment. */
#include "driver.h"
#include "threads.h"

#include <pthread.h>
#include <stdatomic.h>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

void same_bits(const char *path) {
    float *reference = NULL;
    for (uint32_t threads = 1; threads <= 4; threads++) {
        hr_session_options options = {.size = sizeof options, .threads = threads};
        float *y = malloc(1003 * sizeof *y);
        hr_session *session = open_session(path, NULL, &options);
        EXPECT(hr_session_threads(session) == threads);
        for (int i = 0; i < 20; i++)
            EXPECT(!run_batch(session, 1003, y, &error) && is_right(y, 1003));
        EXPECT(!reference || !memcmp(reference, y, 1003 * sizeof *y));
        hr_session_close(session);
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
void concurrent(const char *path) {
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
void own_threads(const char *path) {
    own o = {0};
    float y[5000];
    hr_session_options options = {.size = sizeof options, .threads = 7, .parallel = {run_backwards, &o}};
    hr_session *session = open_session(path, NULL, &options);
    EXPECT(!run_batch(session, 100, y, &error) && is_right(y, 100) && o.calls == 1 && o.parts[0] == 7);
    o.calls = 0;
    EXPECT(!run_batch(session, 3, y, &error) && is_right(y, 3) && o.calls == 1 && o.parts[0] == 3);
    o.calls = 0; /* 2 * 128000 / (9 * N) rows are worth two threads */
    EXPECT(!run_batch(session, 1000, y, &error) && is_right(y, 1000) && o.calls == 2 && o.parts[0] == 2);
    o.calls = 0;
    EXPECT(!run_batch(session, 5000, y, &error) && is_right(y, 5000) && o.calls == 2 && o.parts[0] == 7);
    hr_session_close(session);
}

void environment(const char *path) {
    hr_session_options two = {.size = sizeof two, .threads = 2};
    hr_session *session = open_session(path, NULL, &two);
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
}

void quota(const char *root, const char *wanted) {
    EXPECT(hr_default_threads(root) == (uint32_t)atoi(wanted));
}
