/* fuzz_artefacts.c: damages artefacts and sees what the runtime makes of them; compiled with sanitizers.
**
**     fuzz_artefacts damage|forge|table SEED FIRST COUNT FILE.hrm ...
**
** Number i of seed S is always the same file: `FIRST i COUNT 1` repeats it.
**
** What damaged_artefacts.c makes of them:
**
** damage: bits flipped, pieces cut out, doubled, or taken from another file, with the digests left as they are.
**         Opening refuses it, or verifying does; and it runs without harm where only verifying would have found it.
** forge:  sections changed word by word, code, kernel table and constants excepted, with the digests made right.
**         It is refused, or runs within its own memory.  A loop may have been given any number of turns: one that is
**         still under way after a second is stopped.
** table:  the same with the kernel table.  It is refused, or a plan is made for it; it does not run, as what the table
**         says of a kernel's buffers is trusted like the kernel itself.
**
** Every other time on the device of the null driver, which stands for the CPU and has memory of its own.
**
** Files are read from heap blocks of their very size.  All that a run uses lies between pages that cannot be touched,
** kernels being machine code that no sanitizer has seen.  Each number runs in a child process; one that dies is
** told, and the next child goes on behind it. */
#define _DEFAULT_SOURCE
#include "damaged_artefacts.h"
#include "guarded.h"
#include "headrace.h"
#include "model.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST_FILES 64
#define MOST_INPUTS 64
#define MOST_SECONDS 20                  /* for one number */
#define MOST_SECONDS_OF_LOOPS 1          /* whose number of turns may have been forged */
#define RUNS 3
#define STOPPED 77 /* exit status */

static const char *const kind_names[KINDS] = {"damage", "forge", "table"};

extern const hr_driver hr_driver_null;

/* ---- what is known of all children ---- */

typedef struct tally {
    uint64_t at, refused, unverified, failed, ran, stopped, accepted;
} tally;

static tally *told; /* shared between processes */

/* ---- files ---- */

static bytes files[MOST_FILES];
static size_t file_count;

static bytes read_file(const char *path) {
    FILE *f = fopen(path, "rb");
    bytes b = {0};
    if (!f || fseek(f, 0, SEEK_END)) {
        perror(path);
        exit(2);
    }
    b.size = (size_t)ftell(f);
    rewind(f);
    b.data = malloc(b.size);
    if (fread(b.data, 1, b.size, f) != b.size) {
        perror(path);
        exit(2);
    }
    fclose(f);
    return b;
}

/* ---- running ---- */

static int64_t dim_of(const hr_dim *dim) {
    static const int64_t sizes[] = {1, 2, 3, 5, 8, 17, 0, 4};
    uint64_t of_text = 0;
    if (dim->size >= 0 && below(50))
        return dim->size;
    for (const char *c = dim->text; *c; c++)
        of_text = of_text * 31 + (uint8_t)*c;
    return sizes[(of_text + taken_bytes + told->at) % 8];
}

static void fill(uint8_t *data, size_t size, uint32_t dtype) {
    for (size_t i = 0; i + 8 <= size; i += 8) {
        if (dtype == HR_F32) {
            float x[2] = {(float)below(64) / 16 - 2, (float)below(64) / 16 - 2};
            memcpy(data + i, x, 8);
        } else if (dtype == HR_I64) {
            int64_t x = (int64_t)below(12) - 3;
            memcpy(data + i, &x, 8);
        }
    }
    for (size_t i = 0; dtype == HR_BOOL && i < size; i++)
        data[i] = (uint8_t)below(2);
}

static void run(const hr_model *model, hr_session *session, kind how) {
    hr_value inputs[MOST_INPUTS] = {{0}}, outputs[MOST_INPUTS] = {{0}};
    uint32_t in = hr_model_inputs(model), out = hr_model_outputs(model), made = 0;
    int64_t dims[MOST_INPUTS][64];
    hr_error error;
    bool fits = in <= MOST_INPUTS && out <= MOST_INPUTS;
    for (; fits && made < in; made++) {
        const hr_port *port = hr_model_input(model, made);
        uint64_t size = hr_dtype_bytes(port->dtype);
        for (uint32_t d = 0; d < port->rank; d++) {
            dims[made][d] = dim_of(&port->dims[d]);
            if (__builtin_mul_overflow(size, (uint64_t)dims[made][d], &size) || size > MOST_BYTES)
                fits = false;
        }
        uint8_t *data = fits ? guarded_take(NULL, (size_t)size, 1) : NULL;
        if (!(fits = data))
            break;
        fill(data, (size_t)size, port->dtype);
        inputs[made] = (hr_value){.kind = HR_TENSOR, .dtype = port->dtype, .rank = port->rank, .dims = dims[made],
                                  .data = data, .bytes = size};
    }
    uint64_t needed;
    hr_status status = fits ? hr_memory_needed(session, inputs, &needed, &error) : HR_INVALID;
    if (fits && how != TABLE)
        status = hr_run(session, inputs, outputs, &error);
    if (status == HR_OK) {
        for (uint32_t i = 0; how != TABLE && i < out; i++) { /* what it says it wrote is there */
            volatile uint8_t last = outputs[i].bytes ? ((uint8_t *)outputs[i].data)[outputs[i].bytes - 1] : 0;
            (void)last;
        }
        told->ran++;
    } else {
        told->failed++;
    }
    while (made--)
        guarded_give(NULL, inputs[made].data, (size_t)inputs[made].bytes, 1);
}

static bool has_loop(const hr_model *model) {
    const hr_program *program = &model->variant.program;
    bool found = false;
    for (uint32_t s = 0; s < program->segment_count; s++)
        found = found || program->segments[s].loop;
    return found;
}

static void stop(int signal) {
    (void)signal;
    _exit(STOPPED);
}

static void try_one(const bytes *b, kind how) {
    const hr_driver *const drivers[] = {&hr_driver_null};
    hr_model_options options = {.size = sizeof options, .driver_count = 1, .drivers = drivers, .allocator = guarded,
                                .device = below(2) ? "null" : NULL};
    hr_session_options alone = {.size = sizeof alone, .threads = 1};
    hr_model *model;
    hr_session *session;
    hr_error error;
    void *exact;
    if (posix_memalign(&exact, 64, b->size ? b->size : 1))
        exit(2);
    memcpy(exact, b->data, b->size);
    if (hr_model_open_memory(exact, b->size, &options, &model, &error)) {
        told->refused++;
    } else {
        bool verified = !hr_model_verify(model, &error);
        told->unverified += !verified;
        if (verified && how == DAMAGE) {
            told->accepted++;
            printf("%llu: accepted although damaged\n", (unsigned long long)told->at);
        }
        if (has_loop(model)) {
            signal(SIGALRM, stop);
            alarm(MOST_SECONDS_OF_LOOPS);
        }
        if (!hr_session_open(model, &alone, &session, &error)) {
            for (int i = 0; i < RUNS; i++)
                run(model, session, how);
            hr_session_close(session);
        }
        hr_model_close(model);
        signal(SIGALRM, SIG_DFL);
    }
    free(exact);
}

static void try_number(kind how, uint64_t seed, uint64_t number) {
    draw_from(seed, number);
    const bytes *original = &files[below(file_count)];
    bytes b = {malloc(original->size + 1), original->size};
    memcpy(b.data, original->data, b.size);
    if (how == DAMAGE)
        damage(&b, files, file_count);
    else
        forge(&b, how);
    bool differs = b.size != original->size || memcmp(b.data, original->data, b.size);
    if (differs && b.size)
        try_one(&b, how);
    free(b.data);
}

static void run_child(kind how, uint64_t seed, uint64_t end) {
    for (; told->at < end; told->at++) {
        alarm(MOST_SECONDS);
        try_number(how, seed, told->at);
    }
    exit(0);
}

int main(int argc, char **argv) {
    int how = 0;
    while (argc > 1 && how < KINDS && strcmp(argv[1], kind_names[how]))
        how++;
    if (argc < 6 || argc - 5 > MOST_FILES || how == KINDS) {
        fprintf(stderr, "fuzz_artefacts damage|forge|table SEED FIRST COUNT FILE.hrm ...\n");
        return 2;
    }
    uint64_t seed = strtoull(argv[2], NULL, 10), first = strtoull(argv[3], NULL, 10);
    uint64_t end = first + strtoull(argv[4], NULL, 10), died = 0;
    for (int i = 5; i < argc; i++)
        files[file_count++] = read_file(argv[i]);
    told = mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    told->at = first;
    setvbuf(stdout, NULL, _IOLBF, 0);
    while (told->at < end) {
        pid_t child = fork();
        if (child == 0)
            run_child((kind)how, seed, end);
        int status;
        waitpid(child, &status, 0);
        if (told->at == end)
            break;
        if (WIFEXITED(status) && WEXITSTATUS(status) == STOPPED) {
            told->stopped++;
            told->at++;
            continue;
        }
        died++;
        printf("%llu: %s %d\n", (unsigned long long)told->at, WIFSIGNALED(status) ? "killed by signal" : "exit status",
               WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        told->at++;
    }
    printf("%llu files: %llu refused when opened, %llu by verify; runs: %llu, failed: %llu, stopped: %llu; "
           "accepted: %llu, died: %llu\n",
           (unsigned long long)(end - first), (unsigned long long)told->refused, (unsigned long long)told->unverified,
           (unsigned long long)told->ran, (unsigned long long)told->failed, (unsigned long long)told->stopped,
           (unsigned long long)told->accepted, (unsigned long long)died);
    return died || told->accepted;
}
