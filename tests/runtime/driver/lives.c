/* lives.c: a model from opening to closing: every allocation fails once, second runs take none, profiles add up. */
#include "driver.h"
static void ignore_launch(void *context, const hr_profile_event *event) {
    (void)context, (void)event;
}

/* Opens, runs with new memory twice, closes: whatever allocates is in here. */
static hr_status whole_life(const char *path, bool lent) {
    hr_session_options two = {.size = sizeof two, .threads = 2, .profile = lent ? ignore_launch : NULL};
    hr_model *model = NULL;
    hr_session *session = NULL;
    hr_status status = hr_model_open(path, &counted, &model, &error);
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

void allocations(const char *path) {
    for (int lent = 0; lent < 2; lent++) {
        fail_at = -1, takes = 0;
        EXPECT(whole_life(path, lent) == HR_OK && balance == 0);
        long all = takes;
        for (fail_at = 0; fail_at < all; fail_at++) {
            takes = 0;
            EXPECT(whole_life(path, lent) == HR_NO_MEMORY && balance == 0);
            EXPECT(strstr(error.message, "memory"));
        }
        printf("%ld allocations, each failed once\n", all);
    }
}

void second_run(const char *path) {
    hr_session_options two = {.size = sizeof two, .threads = 2};
    hr_session *session = open_session(path, &counted, &two);
    float y[1000];
    long before = takes;
    EXPECT(!run_batch(session, 1000, y, &error) && takes > before);
    before = takes;
    for (int i = 0; i < 3; i++)
        EXPECT(!run_batch(session, 1000, y, &error) && takes == before && is_right(y, 1000));
    EXPECT(!run_batch(session, 10, y, &error) && takes == before); /* smaller fits too */
    hr_session_close(session);
    EXPECT(balance == 0);
}

/* A session that ran out of memory runs again when there is some. */
void recovery(const char *path) {
    hr_session_options two = {.size = sizeof two, .threads = 2};
    hr_session *session = open_session(path, &counted, &two);
    float y[100];
    fail_at = takes;
    EXPECT(run_batch(session, 100, y, &error) == HR_NO_MEMORY);
    fail_at = -1;
    EXPECT(!run_batch(session, 100, y, &error) && is_right(y, 100));
    hr_session_close(session);
}

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
        EXPECT((i == 0 || part->thread > part[-1].thread) && part->thread < w->threads);
        EXPECT(event->begin_ns <= part->begin_ns && part->begin_ns <= part->end_ns && part->end_ns <= event->end_ns);
    }
    EXPECT(w->calls < 2 || w->nodes[second] == event->nodes);
    w->nodes[second] = event->nodes;
    w->calls++;
}

void profile(const char *path) {
    for (uint32_t threads = 1; threads <= 3; threads++) {
        watch w = {.threads = threads};
        float y[5];
        hr_session_options options = {
            .size = sizeof options, .threads = threads, .profile = count_launch, .profile_context = &w};
        hr_session *session = open_session(path, &counted, &options);
        EXPECT(!run_batch(session, 5, y, &error));
        long before = takes;
        EXPECT(!run_batch(session, 5, y, &error) && w.calls == 4 && takes == before);
        hr_session_close(session);
    }
}
