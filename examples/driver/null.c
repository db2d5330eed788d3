/* null.c: a driver to copy: all that one must have, on a device that is a piece of this process.
**
** The device has memory of its own: what it hands out are numbers, not addresses, and only copies lead in and out.
** It runs the CPU's machine code on that memory (`stands_for`), one task after another, so that every model compiled
** for the CPU runs on it:
**
**     cc -std=c11 -O2 -shared -fPIC null.c $(pkg-config --cflags headrace) -o libnull.so
**     headrace run m.hrm --driver ./libnull.so --device null
**
** And it fails when told to, as devices do.  What follows the colon in its name is KIND, KIND@N, or KIND@CALL:N:
**
**     null:out-of-memory@alloc:2    the second `alloc` finds no memory; what follows works
**     null:lost@5                   the fifth call is the first of which the device is lost: all others fail, too
**     null:bad-module               the first `module_load` refuses its image
**
** Threads: one lock guards the table of memory and the counts, since queues of several threads share a device.  What a
** slice leads to is read and written without the lock: only its own queue uses it until it is released. */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include <headrace_driver.h>

#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define ALIGNMENT 64u

/* What is to be told of the struct: the tests build drivers that do not fit. */
#ifndef NULL_ABI
#define NULL_ABI HR_DRIVER_ABI
#endif
#ifndef NULL_BYTES
#define NULL_BYTES sizeof(hr_driver)
#endif

/* The calls that can fail.  ORDER: call_names. */
typedef enum call {
    ALLOC,
    MODULE_LOAD,
    QUEUE_OPEN,
    RESERVE,
    BEGIN,
    UPLOAD,
    DOWNLOAD,
    COPY,
    LAUNCH,
    FINISH,
    CALLS /* stands for any of them */
} call;
static const char *const call_names[] = {"alloc",  "module_load", "queue_open", "reserve", "begin",
                                         "upload", "download",    "copy",       "launch",  "finish"};

typedef enum kind { NO_FAULT, OUT_OF_MEMORY, LOST, BAD_MODULE } kind;
static const char *const kind_names[] = {"", "out-of-memory", "lost", "bad-module"};

/* Where a device is to fail. */
typedef struct plan {
    kind kind;
    call call;
    unsigned long number; /* of this call, from 1 */
} plan;

typedef struct memory {
    unsigned char *data; /* NULL: a free row */
    uint64_t bytes;
} memory;

typedef struct device {
    hr_allocator allocator;
    pthread_mutex_t lock;
    memory *table; /* a handle is a row's number + 1 */
    uint64_t rows;
    plan plan;
    unsigned long counts[CALLS + 1]; /* of each call, and of all */
    bool lost;
} device;

typedef struct module {
    void *code;
    uint64_t bytes;
} module;

typedef struct queue {
    device *device;
    void *scratch;
    uint64_t scratch_bytes;
    hr_fault fault; /* the first of this run, told by `finish` as devices do that run behind the host */
} queue;

typedef int32_t (*kernel_fn)(void *const *buffers, const int64_t *scalars, void *scratch, int64_t begin, int64_t end);

__attribute__((format(printf, 3, 4))) static hr_status fail(hr_error *error, hr_status status, const char *format,
                                                            ...) {
    if (!error)
        return status;
    va_list arguments;
    va_start(arguments, format);
    if (vsnprintf(error->message, sizeof error->message, format, arguments) < 0)
        error->message[0] = 0;
    va_end(arguments);
    return error->status = status;
}

static void *take(const device *d, uint64_t bytes) {
    return bytes > SIZE_MAX ? NULL : d->allocator.take(d->allocator.context, (size_t)bytes, ALIGNMENT);
}

static void give(const device *d, void *memory_, uint64_t bytes) {
    d->allocator.give(d->allocator.context, memory_, (size_t)bytes, ALIGNMENT);
}

/* ---- faults on demand ---- */

/* KIND, KIND@N or KIND@CALL:N; false for anything else. */
static bool read_plan(const char *text, plan *out) {
    *out = (plan){NO_FAULT, CALLS, 1};
    size_t length = strcspn(text, "@");
    for (kind k = OUT_OF_MEMORY; k <= BAD_MODULE; k++)
        if (strlen(kind_names[k]) == length && !memcmp(kind_names[k], text, length))
            out->kind = k;
    if (out->kind == BAD_MODULE)
        out->call = MODULE_LOAD;
    if (!text[length])
        return out->kind != NO_FAULT || length == 0;
    const char *at = text + length + 1, *colon = strchr(at, ':');
    for (call c = ALLOC; colon && c < CALLS; c++)
        if (strlen(call_names[c]) == (size_t)(colon - at) && !memcmp(call_names[c], at, (size_t)(colon - at)))
            out->call = c;
    char end;
    bool is_named = colon ? out->call != CALLS : true;
    return out->kind != NO_FAULT && is_named && sscanf(colon ? colon + 1 : at, "%lu%c", &out->number, &end) == 1;
}

/* Every call that can fail begins with this. */
static hr_status enter(device *d, call c, hr_error *error) {
    static const char *const texts[] = {"", "out of memory", "the device is lost", "bad module"};
    pthread_mutex_lock(&d->lock);
    unsigned long own = ++d->counts[c], all = ++d->counts[CALLS];
    const plan *p = &d->plan;
    bool hit = p->kind && (p->call == CALLS ? all == p->number : p->call == c && own == p->number);
    bool was_lost = d->lost;
    d->lost = d->lost || (hit && p->kind == LOST);
    pthread_mutex_unlock(&d->lock);
    if (!hit && !was_lost)
        return HR_OK;
    kind k = was_lost ? LOST : p->kind;
    return fail(error, k == OUT_OF_MEMORY ? HR_NO_MEMORY : HR_DEVICE, "null: %s at %s %lu", texts[k], call_names[c],
                own);
}

/* ---- device ---- */

static hr_status null_open(const hr_device_options *options, void **out, hr_error *error) {
    plan p;
    if (!read_plan(options->name, &p))
        return fail(error, HR_INVALID,
                    "null: there is no device '%s'; expected '', or out-of-memory, lost or bad-module, perhaps with "
                    "@N or @CALL:N",
                    options->name);
    device *d = options->allocator.take(options->allocator.context, sizeof *d, ALIGNMENT);
    if (!d)
        return fail(error, HR_NO_MEMORY, "null: no memory for the device");
    *d = (device){.allocator = options->allocator, .plan = p};
    if (pthread_mutex_init(&d->lock, NULL)) {
        give(d, d, sizeof *d);
        return fail(error, HR_NO_MEMORY, "null: no memory for a lock");
    }
    *out = d;
    return HR_OK;
}

static void null_close(void *opened) {
    device *d = opened;
    if (d->table)
        give(d, d->table, d->rows * sizeof *d->table);
    pthread_mutex_destroy(&d->lock);
    give(d, d, sizeof *d);
}

/* A free row of the table, which grows when there is none; the lock is held.  NULL where there is no memory. */
static memory *free_row(device *d) {
    for (uint64_t i = 0; i < d->rows; i++)
        if (!d->table[i].data)
            return &d->table[i];
    uint64_t rows = d->rows ? 2 * d->rows : 16;
    memory *table = take(d, rows * sizeof *table);
    if (!table)
        return NULL;
    memset(table, 0, rows * sizeof *table);
    if (d->table) {
        memcpy(table, d->table, d->rows * sizeof *table);
        give(d, d->table, d->rows * sizeof *table);
    }
    memory *row = &table[d->rows];
    d->table = table, d->rows = rows;
    return row;
}

static hr_status null_alloc(void *opened, uint64_t bytes, uint64_t *handle, hr_error *error) {
    device *d = opened;
    hr_status status = enter(d, ALLOC, error);
    if (status)
        return status;
    pthread_mutex_lock(&d->lock);
    memory *row = free_row(d);
    if (row && (row->data = take(d, bytes))) {
        row->bytes = bytes;
        *handle = (uint64_t)(row - d->table) + 1;
    } else {
        status = fail(error, HR_NO_MEMORY, "null: no memory for %llu bytes", (unsigned long long)bytes);
    }
    pthread_mutex_unlock(&d->lock);
    return status;
}

static void null_release(void *opened, uint64_t handle, uint64_t bytes) {
    device *d = opened;
    pthread_mutex_lock(&d->lock);
    give(d, d->table[handle - 1].data, bytes);
    d->table[handle - 1] = (memory){NULL, 0};
    pthread_mutex_unlock(&d->lock);
}

/* What a slice leads to, where so many bytes of it are there.  A buffer of no bytes may be in no memory. */
static hr_status find(device *d, hr_slice slice, uint64_t bytes, unsigned char **out, hr_error *error) {
    pthread_mutex_lock(&d->lock);
    memory m = {NULL, 0};
    if (slice.handle && slice.handle <= d->rows)
        m = d->table[slice.handle - 1];
    pthread_mutex_unlock(&d->lock);
    *out = m.data;
    if (slice.handle == 0 && bytes == 0)
        return HR_OK;
    if (!m.data || slice.offset > m.bytes || bytes > m.bytes - slice.offset)
        return fail(error, HR_DEVICE, "null: %llu bytes at %llu of memory %llu are out of its %llu bytes",
                    (unsigned long long)bytes, (unsigned long long)slice.offset, (unsigned long long)slice.handle,
                    (unsigned long long)m.bytes);
    *out = m.data + slice.offset;
    return HR_OK;
}

/* ---- module ---- */

/* A device with an assembler, a loader or a compiler of its own calls it here. */
static hr_status null_module_load(void *opened, const void *image, uint64_t bytes, uint64_t *out, hr_error *error) {
    device *d = opened;
    hr_status status = enter(d, MODULE_LOAD, error);
    if (status)
        return status;
    module *m = take(d, sizeof *m);
    if (!m)
        return fail(error, HR_NO_MEMORY, "null: no memory for a module");
    *m = (module){NULL, bytes};
    void *code = mmap(NULL, bytes ? bytes : 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (code == MAP_FAILED) {
        give(d, m, sizeof *m);
        return fail(error, HR_NO_MEMORY, "null: no memory for %llu bytes of code", (unsigned long long)bytes);
    }
    memcpy(code, image, (size_t)bytes);
    m->code = code;
    if (mprotect(code, bytes ? bytes : 1, PROT_READ | PROT_EXEC)) {
        munmap(code, bytes ? bytes : 1);
        give(d, m, sizeof *m);
        return fail(error, HR_DEVICE, "null: code cannot be made executable");
    }
    __builtin___clear_cache((char *)code, (char *)code + bytes);
    *out = (uint64_t)(uintptr_t)m;
    return HR_OK;
}

static void null_module_unload(void *opened, uint64_t handle) {
    module *m = (module *)(uintptr_t)handle;
    munmap(m->code, m->bytes ? m->bytes : 1);
    give(opened, m, sizeof *m);
}

/* ---- queue ---- */

static hr_status null_queue_open(void *opened, const hr_queue_options *options, void **out, hr_error *error) {
    (void)options;
    device *d = opened;
    hr_status status = enter(d, QUEUE_OPEN, error);
    queue *q = status ? NULL : take(d, sizeof *q);
    if (!q)
        return status ? status : fail(error, HR_NO_MEMORY, "null: no memory for a queue");
    *q = (queue){.device = d};
    *out = q;
    return HR_OK;
}

static void null_queue_close(void *opened) {
    queue *q = opened;
    if (q->scratch)
        give(q->device, q->scratch, q->scratch_bytes);
    give(q->device, q, sizeof *q);
}

/* At least a page: kernels ask for no alignment beyond. */
static hr_status null_reserve(void *opened, uint64_t bytes, hr_error *error) {
    queue *q = opened;
    hr_status status = enter(q->device, RESERVE, error);
    if (status || bytes <= q->scratch_bytes)
        return status;
    if (q->scratch)
        give(q->device, q->scratch, q->scratch_bytes);
    const hr_allocator *a = &q->device->allocator;
    q->scratch = bytes > SIZE_MAX ? NULL : a->take(a->context, (size_t)bytes, 4096);
    q->scratch_bytes = q->scratch ? bytes : 0;
    return q->scratch ? HR_OK
                      : fail(error, HR_NO_MEMORY, "null: no memory for %llu bytes of scratch",
                             (unsigned long long)bytes);
}

static hr_status null_begin(void *opened, hr_error *error) {
    queue *q = opened;
    q->fault = (hr_fault){0};
    return enter(q->device, BEGIN, error);
}

static hr_status null_finish(void *opened, hr_fault *fault, hr_error *error) {
    queue *q = opened;
    *fault = q->fault;
    return enter(q->device, FINISH, error);
}

static hr_status null_upload(void *opened, hr_slice target, const void *source, uint64_t bytes, hr_error *error) {
    device *d = ((queue *)opened)->device;
    unsigned char *to = NULL;
    hr_status status = enter(d, UPLOAD, error);
    if (!status)
        status = find(d, target, bytes, &to, error);
    if (!status && bytes)
        memcpy(to, source, (size_t)bytes);
    return status;
}

static hr_status null_download(void *opened, void *target, hr_slice source, uint64_t bytes, hr_error *error) {
    device *d = ((queue *)opened)->device;
    unsigned char *from = NULL;
    hr_status status = enter(d, DOWNLOAD, error);
    if (!status)
        status = find(d, source, bytes, &from, error);
    if (!status && bytes)
        memcpy(target, from, (size_t)bytes);
    return status;
}

static hr_status null_copy(void *opened, hr_slice target, hr_slice source, uint64_t bytes, hr_error *error) {
    device *d = ((queue *)opened)->device;
    unsigned char *to = NULL, *from = NULL;
    hr_status status = enter(d, COPY, error);
    if (!status)
        status = find(d, target, bytes, &to, error);
    if (!status)
        status = find(d, source, bytes, &from, error);
    if (!status && bytes)
        memcpy(to, from, (size_t)bytes);
    return status;
}

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Runs all tasks, and notes the first kernel that finds something wrong: the rest of such a run does nothing. */
static hr_status null_launch(void *opened, const hr_launch *launch, hr_fault *fault, hr_error *error) {
    queue *q = opened;
    const module *m = (const module *)(uintptr_t)launch->module;
    unsigned char *found[HR_MAX_BUFFERS];
    void *buffers[HR_MAX_BUFFERS];
    (void)fault;
    hr_status status = enter(q->device, LAUNCH, error);
    for (uint32_t i = 0; i < launch->buffer_count && !status; i++) {
        status = find(q->device, launch->buffers[i], 0, &found[i], error);
        buffers[i] = found[i];
    }
    if (!status && (launch->entry >= m->bytes || launch->scratch_bytes > q->scratch_bytes))
        status = fail(error, HR_DEVICE, "null: kernel '%s' does not lie in its module, or its scratch was not reserved",
                      launch->name);
    if (status || q->fault.site)
        return status;
    uint64_t begin = now_ns();
    kernel_fn kernel = (kernel_fn)((uintptr_t)m->code + launch->entry);
    int32_t site = kernel(buffers, launch->scalars, q->scratch, 0, launch->tasks);
    if (site) {
        q->fault = (hr_fault){.index = launch->index, .site = site};
        if (launch->scratch_bytes >= sizeof q->fault.values)
            memcpy(q->fault.values, q->scratch, sizeof q->fault.values);
    }
    if (launch->parts) {
        launch->parts[0] = (hr_profile_part){0, 0, begin, now_ns()};
        *launch->part_count = 1;
    }
    return HR_OK;
}

extern const hr_driver hr_driver_null;
const hr_driver hr_driver_null = {
    .size = NULL_BYTES,
    .abi = NULL_ABI,
    .name = "null",
    .open = null_open,
    .close = null_close,
    .alloc = null_alloc,
    .release = null_release,
    .module_load = null_module_load,
    .module_unload = null_module_unload,
    .queue_open = null_queue_open,
    .queue_close = null_queue_close,
    .reserve = null_reserve,
    .begin = null_begin,
    .upload = null_upload,
    .download = null_download,
    .copy = null_copy,
    .launch = null_launch,
    .finish = null_finish,
    .stands_for = "cpu",
};

/* What hr_driver_load, --driver and HEADRACE_DRIVERS look for. */
HR_API const hr_driver *headrace_driver(void);
const hr_driver *headrace_driver(void) {
    return &hr_driver_null;
}
