/* far.c: a device whose memory is not the host's: what is copied, and when. */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include "driver.h"
#include "headrace_driver.h"

#include <sys/mman.h>

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

void device(const char *path, const char *gather_path) {
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
