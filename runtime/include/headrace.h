/* headrace.h: load a compiled model (.hrm) and run it.
**
**     hr_error error;
**     hr_model *model;
**     hr_session *session;
**     if (hr_model_open("m.hrm", NULL, &model, &error)) return fail(error.message);
**     if (hr_session_open(model, NULL, &session, &error)) return fail(error.message);
**     int64_t dims[2] = {1, 784};
**     hr_value x = {.kind = HR_TENSOR, .dtype = HR_F32, .rank = 2, .dims = dims, .data = pixels, .bytes = 3136};
**     hr_value y = {.data = scores, .bytes = sizeof scores};
**     if (hr_run(session, &x, &y, &error)) return fail(error.message);
**     hr_session_close(session);
**     hr_model_close(model);
**
** A model is immutable once open and may serve any number of sessions and threads.  A session does one run at a
** time; a second one that comes in meanwhile gets HR_BUSY.  Nothing here exits, aborts, prints, or keeps global or
** thread-local state.  Every pointer is the caller's unless its comment says otherwise.
**
** Trust: a .hrm holds machine code.  Treat it like a shared library.
**
** This interface only ever grows: structs that a caller fills start with their own size. */
#ifndef HEADRACE_H
#define HEADRACE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HR_API __attribute__((visibility("default")))

/* What happened, and what the caller should do next. */
typedef enum hr_status {
    HR_OK = 0,
    HR_INVALID = 1,     /* a wrong argument: correct the call */
    HR_IO = 2,          /* the file cannot be opened or read: look at the path */
    HR_DAMAGED = 3,     /* not a .hrm, or bytes were lost or changed: fetch or compile the file again */
    HR_VERSION = 4,     /* a format that this library does not read: update the library, or compile again */
    HR_UNSUPPORTED = 5, /* nothing in the file runs on this machine, or the model needs what this version lacks:
                           compile for this machine, or update the library */
    HR_NO_MEMORY = 6,   /* free some and try again; the session is as before */
    HR_SHAPE = 7,       /* a dtype or shape that the model does not take: correct the input */
    HR_BUSY = 8,        /* the session is running: wait, or open another session on the same model */
    HR_DATA = 9,        /* the values of an input lead outside what the model allows: correct the input */
    HR_DEVICE = 10      /* the device failed: see the message; close the session */
} hr_status;

/* Filled whenever a function returns anything but HR_OK; may be NULL.  One line, no full stop. */
typedef struct hr_error {
    hr_status status;
    char message[508];
} hr_error;

typedef enum hr_kind { HR_TENSOR = 1, HR_STRINGS = 2, HR_SEQUENCE = 3, HR_OPTIONAL = 4 } hr_kind;

typedef enum hr_dtype {
    HR_F64 = 1,
    HR_F32 = 2,
    HR_F16 = 3,
    HR_BF16 = 4,
    HR_I64 = 5,
    HR_I32 = 6,
    HR_I16 = 7,
    HR_I8 = 8,
    HR_U64 = 9,
    HR_U32 = 10,
    HR_U16 = 11,
    HR_U8 = 12,
    HR_BOOL = 13,
    /* A byte each, as ml_dtypes has them: the bits are the lowest, the others 0. */
    HR_F8E4M3FN = 14,
    HR_F8E4M3FNUZ = 15,
    HR_F8E5M2 = 16,
    HR_F8E5M2FNUZ = 17,
    HR_F8E8M0FNU = 18,
    HR_F4E2M1FN = 19,
    HR_I4 = 20,
    HR_U4 = 21,
    HR_I2 = 22,
    HR_U2 = 23
} hr_dtype;

/* A value of the model.  A tensor is dense and row-major; element alignment suffices. */
typedef struct hr_value {
    uint32_t kind;  /* hr_kind; this version runs HR_TENSOR */
    uint32_t dtype; /* hr_dtype */
    uint32_t rank;
    uint32_t reserved; /* 0 */
    const int64_t *dims;
    void *data; /* of an input it is only read */
    uint64_t bytes;
} hr_value;

/* One dim of an input or output: its size, or -1 and a text such as "batch" or "seq*2". */
typedef struct hr_dim {
    int64_t size;
    const char *text;
} hr_dim;

/* One input or output; the memory is the model's. */
typedef struct hr_port {
    const char *name;
    uint32_t kind;
    uint32_t dtype;
    uint32_t rank;
    uint32_t reserved;
    const hr_dim *dims;
} hr_port;

typedef struct hr_model hr_model;
typedef struct hr_session hr_session;
struct hr_driver; /* headrace_driver.h */

/* Where memory comes from.  `take` returns NULL when there is none; alignment is a power of two.  Both may be
** called from any thread that calls this library, never from the threads that a session starts. */
typedef struct hr_allocator {
    void *(*take)(void *context, size_t bytes, size_t alignment);
    void (*give)(void *context, void *memory, size_t bytes, size_t alignment);
    void *context;
} hr_allocator;

/* Set `size` to sizeof(hr_model_options); zero stands for the default of everything else. */
typedef struct hr_model_options {
    uint32_t size;
    uint32_t driver_count;
    const struct hr_driver *const *drivers; /* looked at before those built in; must outlive the model */
    hr_allocator allocator;                 /* of the model and its sessions; default: aligned_alloc and free */
    const char *device; /* "opencl", "opencl:WHICH", "cpu", or a target's name: only what leads there is taken; NULL:
                        ** what HEADRACE_DEVICE says, or else the first target in the file that runs here */
} hr_model_options;

/* What one thread did of a launch. */
typedef struct hr_profile_part {
    uint32_t thread; /* 0 is the one that called hr_run; with threads of the caller's, the number of the part */
    uint32_t reserved;
    uint64_t begin_ns; /* of a monotonic clock */
    uint64_t end_ns;
} hr_profile_part;

/* One launch, as a profile sees it.  The texts live as long as the session. */
typedef struct hr_profile_event {
    const char *kernel;
    const char *nodes; /* the ONNX nodes that it computes, separated by ", " */
    int64_t tasks;
    uint64_t begin_ns;
    uint64_t end_ns;
    uint32_t kernel_index; /* in the file's table of kernels */
    uint32_t launch_index; /* among the launches and copies of the program, in order */
    int64_t flops;         /* arithmetic operations, a multiply-add being two, as the compiler has counted; or -1 */
    int64_t bytes;         /* of its buffers that it needs to touch, each byte once; or -1 */
    const hr_profile_part *parts; /* one for each thread that took part; valid during the call */
    uint32_t part_count;
} hr_profile_event;

typedef void (*hr_profile_fn)(void *context, const hr_profile_event *event);

/* Threads of the caller's own, which any number of sessions may share.  `run` calls work(argument, part, parts) once
** for each part in [0, parts), on whatever threads and in whatever order, and returns when all calls have returned. */
typedef void (*hr_work_fn)(void *argument, uint32_t part, uint32_t parts);
typedef struct hr_parallel {
    void (*run)(void *context, uint32_t parts, hr_work_fn work, void *argument);
    void *context;
} hr_parallel;

/* Set `size` to sizeof(hr_session_options). */
typedef struct hr_session_options {
    uint32_t size;
    uint32_t threads;      /* 0: as many as affinity mask and cgroup quota allow; else how many parts at most */
    hr_profile_fn profile; /* called after each launch from the thread that called hr_run; NULL for none */
    void *profile_context;
    hr_parallel parallel; /* used instead of threads that the session starts, where `run` is not NULL */
} hr_session_options;

/* "0.1.0".  Static. */
HR_API const char *hr_version(void);

/* A dtype's bytes for each element, and its name ("f32"); 0 and NULL for none. */
HR_API size_t hr_dtype_bytes(uint32_t dtype);
HR_API const char *hr_dtype_name(uint32_t dtype);

/* Maps a file, checks all of it but the constants' hash, and picks the best of its variants for this machine.
** HEADRACE_CPU (x86-64, x86-64-v2, x86-64-v3, x86-64-v4, aarch64) limits what is believed of the CPU. */
HR_API hr_status hr_model_open(const char *path, const hr_model_options *options, hr_model **model, hr_error *error);

/* The same from memory, 64-byte aligned, that must stay as it is until the model is closed. */
HR_API hr_status hr_model_open_memory(const void *data, size_t bytes, const hr_model_options *options, hr_model **model,
                                      hr_error *error);

/* The model goes when its last session has gone.  NULL is allowed. */
HR_API void hr_model_close(hr_model *model);

/* The driver of a shared library, which exports it as `const hr_driver *headrace_driver(void)`, for
** hr_model_options.drivers.  The library stays loaded until the process ends.  Code runs: trust it like the process. */
HR_API hr_status hr_driver_load(const char *path, const struct hr_driver **driver, hr_error *error);

/* One of the drivers that are built in, by its name ("cpu"); NULL where there is none. */
HR_API const struct hr_driver *hr_driver_builtin(const char *name);

/* What was picked: the target's name, and the device that leads there, by its driver's name and, where one was asked
** for, which of its devices: "opencl", "opencl:1".  The strings are the model's. */
HR_API const char *hr_model_target(const hr_model *model);
HR_API const char *hr_model_driver(const hr_model *model);

HR_API uint32_t hr_model_inputs(const hr_model *model);
HR_API uint32_t hr_model_outputs(const hr_model *model);

/* Descriptions, NULL where there is no such input or output; the memory is the model's. */
HR_API const hr_port *hr_model_input(const hr_model *model, uint32_t index);
HR_API const hr_port *hr_model_output(const hr_model *model, uint32_t index);

/* Checks everything that opening leaves out: the constants' hashes, and the variants for other machines. */
HR_API hr_status hr_model_verify(const hr_model *model, hr_error *error);

HR_API hr_status hr_session_open(hr_model *model, const hr_session_options *options, hr_session **session,
                                 hr_error *error);

/* NULL is allowed; the session must not be running. */
HR_API void hr_session_close(hr_session *session);

HR_API uint32_t hr_session_threads(const hr_session *session);

/* Bytes that the session will hold to run inputs of these shapes (of `inputs` only dims and rank are looked at):
** arenas, scratch of all threads, and copies on the device where its memory is not the host's.  Outputs that the
** session lends come on top.  HR_DATA where sizes depend on the values of inputs. */
HR_API hr_status hr_memory_needed(hr_session *session, const hr_value *inputs, uint64_t *bytes, hr_error *error);

/* Runs the model: one value for each input and each output, in the signature's order.
** Of each output the caller sets either `data` and `bytes` (at least what is needed), or leaves both 0: then the
** session lends memory, valid until its next run (set both to 0 again for that one).  Where `dims` is set, the result
** must have exactly these dims.
** On HR_OK each output holds the result's kind, dtype, rank, dims and bytes; dims that the caller did not set are
** the session's, valid until the next run.  On any other status the outputs' memory is undefined.
** The second run with the same shapes allocates nothing. */
HR_API hr_status hr_run(hr_session *session, const hr_value *inputs, hr_value *outputs, hr_error *error);

#ifdef __cplusplus
}
#endif
#endif
