/* opencl_device.c: OpenCL devices and modules.  In: a device's name, a code section.  Out: memory and kernels on it.
**
** docs/artefact.md draws the module. */
#include "opencl_device.h"
#include "container.h"

#include <stdio.h>
#include <string.h>

#define LOG_BYTES 65536u

/* Extensions that a kernel may need.  ORDER: docs/artefact.md, targets/opencl/image.py */
static const char *const extensions[HR_CL_EXTENSIONS] = {"cl_khr_fp64", "cl_khr_fp16"};

void *hr_cl_take(const hr_cl_device *d, size_t bytes) {
    void *memory = d->allocator.take(d->allocator.context, bytes, HR_ALIGN);
    return memory ? memset(memory, 0, bytes) : NULL;
}

void hr_cl_give(const hr_cl_device *d, void *memory, size_t bytes) {
    d->allocator.give(d->allocator.context, memory, bytes, HR_ALIGN);
}

hr_status hr_cl_no_memory(hr_error *error, const char *what) {
    return hr_fail(error, HR_NO_MEMORY, "opencl: no memory for %s", what);
}

/* ---- device ---- */

void hr_cl_device_close(void *opened) {
    hr_cl_device *d = opened;
    hr_allocator allocator = d->allocator;
    if (d->context)
        d->cl.clReleaseContext(d->context);
    hr_cl_close(&d->cl);
    pthread_mutex_destroy(&d->lock);
    allocator.give(allocator.context, d, sizeof *d, HR_ALIGN);
}

static hr_status open_context(hr_cl_device *d, const char *name, hr_error *error) {
    hr_status status = hr_cl_open(&d->cl, error);
    if (!status)
        status = hr_cl_find_device(&d->cl, name, &d->id, error);
    if (status)
        return status;
    d->most_bytes = hr_cl_fact(&d->cl, d->id, CL_DEVICE_MAX_MEM_ALLOC_SIZE);
    d->divides_exactly =
        hr_cl_fact(&d->cl, d->id, CL_DEVICE_SINGLE_FP_CONFIG) & CL_FP_CORRECTLY_ROUNDED_DIVIDE_SQRT;
    for (size_t i = 0; i < HR_CL_EXTENSIONS; i++)
        d->has[i] = hr_cl_has(&d->cl, d->id, extensions[i]);
    cl_int code;
    d->context = d->cl.clCreateContext(NULL, 1, &d->id, NULL, NULL, &code);
    return d->context ? HR_OK : hr_cl_failed(error, "clCreateContext", code);
}

hr_status hr_cl_device_open(const hr_device_options *options, void **out, hr_error *error) {
    hr_cl_device *d = options->allocator.take(options->allocator.context, sizeof *d, HR_ALIGN);
    if (!d)
        return hr_cl_no_memory(error, "the device");
    *d = (hr_cl_device){.allocator = options->allocator};
    if (pthread_mutex_init(&d->lock, NULL)) {
        hr_cl_give(d, d, sizeof *d);
        return hr_cl_no_memory(error, "a lock");
    }
    hr_status status = open_context(d, options->name, error);
    if (status)
        hr_cl_device_close(d);
    else
        *out = d;
    return status;
}

hr_status hr_cl_device_supports(const hr_device_options *options, const char *feature, hr_error *error) {
    hr_cl cl;
    cl_device id;
    hr_status status = hr_cl_open(&cl, error);
    if (!status)
        status = hr_cl_find_device(&cl, options->name, &id, error);
    if (!status && !(strcmp(feature, "cpu") ? hr_cl_has(&cl, id, feature) : hr_cl_is_cpu(&cl, id)))
        status = hr_cl_lacks(&cl, id, feature, error);
    hr_cl_close(&cl);
    return status;
}

hr_status hr_cl_create_buffer(hr_cl_device *d, uint64_t bytes, cl_memory *out, hr_error *error) {
    cl_int code;
    hr_status status = hr_cl_check_process(error);
    if (status)
        return status;
    if (bytes > d->most_bytes || bytes > SIZE_MAX)
        return hr_fail(error, HR_NO_MEMORY, "opencl: a buffer of %llu bytes; this device has at most %llu in one",
                       (unsigned long long)bytes, (unsigned long long)d->most_bytes);
    *out = d->cl.clCreateBuffer(d->context, CL_MEM_READ_WRITE, (size_t)bytes, NULL, &code);
    return *out ? HR_OK : hr_cl_failed(error, "clCreateBuffer", code);
}

hr_status hr_cl_alloc(void *opened, uint64_t bytes, uint64_t *handle, hr_error *error) {
    cl_memory memory;
    hr_status status = hr_cl_create_buffer(opened, bytes, &memory, error);
    if (!status)
        *handle = (uint64_t)(uintptr_t)memory;
    return status;
}

void hr_cl_release(void *opened, uint64_t handle, uint64_t bytes) {
    (void)bytes;
    ((hr_cl_device *)opened)->cl.clReleaseMemObject((cl_memory)(uintptr_t)handle);
}

/* ---- module ---- */

static size_t module_bytes(uint32_t count) {
    return sizeof(hr_cl_module) + count * sizeof(hr_cl_kernel);
}

void hr_cl_module_unload(void *opened, uint64_t handle) {
    hr_cl_device *d = opened;
    hr_cl_module *m = (hr_cl_module *)(uintptr_t)handle;
    for (uint32_t i = 0; i < m->count; i++)
        if (m->kernels[i].handle)
            d->cl.clReleaseKernel(m->kernels[i].handle);
    if (m->program)
        d->cl.clReleaseProgram(m->program);
    hr_cl_give(d, m, module_bytes(m->count));
}

/* The compiler's first error and what follows, as far as one message goes. */
static hr_status build_failed(hr_cl_device *d, cl_program program, cl_int code, hr_error *error) {
    char *log = code == CL_BUILD_PROGRAM_FAILURE ? hr_cl_take(d, LOG_BYTES) : NULL;
    if (!log)
        return hr_cl_failed(error, "clBuildProgram", code);
    d->cl.clGetProgramBuildInfo(program, d->id, CL_PROGRAM_BUILD_LOG, LOG_BYTES - 1, log, NULL);
    for (char *c = log; (c = strchr(c, '\n'));)
        *c = ' ';
    const char *first = strstr(log, "error");
    hr_status status = hr_fail(error, HR_DEVICE, "opencl: the program does not build: %s", first ? first : log);
    hr_cl_give(d, log, LOG_BYTES);
    return status;
}

static hr_status build(hr_cl_module *m, const char *text, hr_error *error) {
    hr_cl_device *d = m->device;
    cl_int code;
    m->program = d->cl.clCreateProgramWithSource(d->context, 1, &text, NULL, &code);
    if (!m->program)
        return hr_cl_failed(error, "clCreateProgramWithSource", code);
    const char *options =
        d->divides_exactly ? "-cl-std=CL1.2 -cl-fp32-correctly-rounded-divide-sqrt" : "-cl-std=CL1.2";
    code = d->cl.clBuildProgram(m->program, 1, &d->id, options, NULL, NULL);
    return code ? build_failed(d, m->program, code, error) : HR_OK;
}

/* What a row of a module's table says of a kernel. */
typedef struct row {
    const char *name;
    uint32_t group_size, local_bytes, needs;
} row;

static row read_row(hr_cursor *cursor) {
    row r = {.name = hr_read_string(cursor)};
    r.group_size = hr_read_u32(cursor), r.local_bytes = hr_read_u32(cursor), r.needs = hr_read_u32(cursor);
    return r;
}

static hr_status check_kernel(const hr_cl_device *d, const row *r, hr_error *error) {
    for (uint32_t i = 0; i < HR_CL_EXTENSIONS; i++)
        if (r->needs >> i & 1 && !d->has[i])
            return hr_fail(error, HR_UNSUPPORTED, "opencl: kernel '%s' needs %s, which this device has not", r->name,
                           extensions[i]);
    uint64_t most = hr_cl_fact(&d->cl, d->id, CL_DEVICE_MAX_WORK_GROUP_SIZE);
    if (r->group_size == 0 || r->group_size > most)
        return hr_fail(error, HR_UNSUPPORTED, "opencl: kernel '%s' has workgroups of %u; this device takes at most %llu",
                       r->name, r->group_size, (unsigned long long)most);
    uint64_t local = hr_cl_fact(&d->cl, d->id, CL_DEVICE_LOCAL_MEM_SIZE);
    if (r->local_bytes > local)
        return hr_fail(error, HR_UNSUPPORTED,
                       "opencl: kernel '%s' needs %u bytes of local memory; this device has %llu", r->name,
                       r->local_bytes, (unsigned long long)local);
    return HR_OK;
}

static hr_status load_kernels(hr_cl_module *m, hr_cursor rows, const uint8_t *start, hr_error *error) {
    hr_cl_device *d = m->device;
    for (uint32_t i = 0; i < m->count; i++) {
        hr_cl_kernel *k = &m->kernels[i];
        k->entry = (uint32_t)(rows.at - start);
        row r = read_row(&rows);
        cl_int code;
        k->group_size = r.group_size;
        k->handle = d->cl.clCreateKernel(m->program, r.name, &code);
        if (!k->handle)
            return hr_cl_failed(error, r.name, code);
    }
    return HR_OK;
}

hr_status hr_cl_module_load(void *opened, const void *image, uint64_t bytes, uint64_t *out, hr_error *error) {
    hr_cl_device *d = opened;
    hr_cursor cursor = hr_cursor_over((hr_section){.data = image, .bytes = bytes});
    uint32_t count = hr_read_count(&cursor, 20);
    hr_cursor rows = cursor;
    hr_status status = HR_OK;
    for (uint32_t i = 0; i < count && !status && !cursor.bad; i++) {
        row r = read_row(&cursor);
        if (!cursor.bad)
            status = check_kernel(d, &r, error);
    }
    const char *text = hr_read_string(&cursor);
    if (status)
        return status;
    if (cursor.bad || cursor.at != cursor.end)
        return hr_fail(error, HR_DAMAGED, "opencl: the table of kernels does not end where it should");
    hr_cl_module *m = hr_cl_take(d, module_bytes(count));
    if (!m)
        return hr_cl_no_memory(error, "a module");
    m->device = d, m->count = count;
    status = build(m, text, error);
    if (!status)
        status = load_kernels(m, rows, image, error);
    if (status)
        hr_cl_module_unload(d, (uint64_t)(uintptr_t)m);
    else
        *out = (uint64_t)(uintptr_t)m;
    return status;
}

/* Rows stand in the order of their entries; NULL where none starts there. */
const hr_cl_kernel *hr_cl_find_kernel(const hr_cl_module *m, uint32_t entry) {
    uint32_t low = 0, high = m->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (m->kernels[middle].entry < entry)
            low = middle + 1;
        else
            high = middle;
    }
    return low < m->count && m->kernels[low].entry == entry ? &m->kernels[low] : NULL;
}
