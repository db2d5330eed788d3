/* opencl_faults.c: the OpenCL driver on a library whose calls fail one after the other.
**
**     opencl_faults LIBRARY
**
** Prints the message of each failure once, in order; whatever fails, nothing is left, and the next try works. */
#include "opencl.h"
#include "headrace_driver.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern const hr_driver hr_driver_opencl;
static const hr_driver *const d = &hr_driver_opencl;

static void expect(int holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "%s\n", what);
        exit(1);
    }
}

/* One row: name, work-items, local memory, extensions; then the program. */
static const uint32_t image[] = {1, 1, 'k', 8, 16, 1, 4, 0x74786574, 0};

static hr_status launch_twice(void *queue, uint64_t module, hr_error *error) {
    hr_slice buffers[] = {{0, 0}, {0, 0}};
    int64_t scalar = 5;
    hr_profile_part part;
    uint32_t parts = 0;
    hr_launch launch = {.size = sizeof launch, .index = 3, .module = module, .name = "k", .entry = 4,
                        .buffer_count = 2, .scalar_count = 1, .scratch_alignment = 64, .buffers = buffers,
                        .scalars = &scalar, .scratch_bytes = 20 << 20, .tasks = 7};
    hr_fault fault = {0};
    hr_status status = d->launch(queue, &launch, &fault, error);
    launch.parts = &part, launch.part_count = &parts;
    if (!status)
        status = d->launch(queue, &launch, &fault, error);
    expect(status || (parts == 1 && part.end_ns >= part.begin_ns), "a launch was not timed");
    return status;
}

static hr_status run(void *device, void *queue, uint64_t module, hr_error *error) {
    char data[16] = "as it was", back[16] = "";
    uint64_t handle;
    hr_status status = d->alloc(device, 32, &handle, error);
    if (status)
        return status;
    hr_slice first = {handle, 0}, second = {handle, 16};
    hr_fault fault = {0};
    if (!(status = d->begin(queue, error))) {
        status = d->upload(queue, first, data, sizeof data, error);
        if (!status)
            status = d->copy(queue, second, first, sizeof data, error);
        if (!status)
            status = launch_twice(queue, module, error);
        if (!status)
            status = d->download(queue, back, second, sizeof back, error);
        expect(status || !memcmp(data, back, sizeof data), "bytes were lost");
        hr_status finished = d->finish(queue, &fault, status ? NULL : error);
        status = status ? status : finished;
    }
    d->release(device, handle, 32);
    return status;
}

static hr_status whole(hr_error *error) {
    hr_device_options options = {sizeof options, "fake", hr_allocator_or_default(&(hr_allocator){0})};
    hr_queue_options one = {.size = sizeof one, .threads = 1};
    void *device, *queue;
    uint64_t module;
    hr_status status = d->open(&options, &device, error);
    if (status)
        return status;
    if (!(status = d->module_load(device, image, sizeof image, &module, error))) {
        if (!(status = d->queue_open(device, &one, &queue, error))) {
            status = run(device, queue, module, error);
            d->queue_close(queue);
        }
        d->module_unload(device, module);
    }
    d->close(device);
    return status;
}

/* What a file may say, and what a device may lack. */
static void refuse_images(void) {
    static const uint32_t images[][9] = {
        {1, 1, 'k', 65, 16, 1, 4, 0x74786574, 0},       /* too many work-items */
        {1, 1, 'k', 8, 65, 1, 4, 0x74786574, 0},        /* too much local memory */
        {1, 1, 'k', 8, 16, 2, 4, 0x74786574, 0},        /* an extension that is not there */
        {1, 1, 'k', 8, 16, 1, 9, 0x74786574, 0},        /* a text that ends behind the section */
        {1, 1, 'k', 8, 16, 1, 0, 0, 0},                 /* a section that ends behind the text */
        {0xffffffff, 1, 'k', 8, 16, 1, 4, 0x74786574, 0} /* more rows than bytes */
    };
    hr_device_options options = {sizeof options, "0", hr_allocator_or_default(&(hr_allocator){0})};
    hr_error error;
    void *device;
    uint64_t module;
    expect(!d->open(&options, &device, &error), "cannot be opened");
    for (size_t i = 0; i < sizeof images / sizeof *images; i++) {
        expect(d->module_load(device, images[i], sizeof images[i], &module, &error), "an image was taken");
        puts(error.message);
    }
    uint64_t handle;
    expect(d->alloc(device, UINT64_C(1) << 31, &handle, &error) == HR_NO_MEMORY, "too much memory");
    puts(error.message);
    d->close(device);
}

static void refuse_features(void) {
    hr_device_options options = {sizeof options, "fake", hr_allocator_or_default(&(hr_allocator){0})};
    hr_error error;
    expect(!d->supports(&options, "cl_khr_fp64", &error), "an extension that is there");
    static const char *const features[] = {"cpu", "cl_khr_fp16"};
    for (size_t i = 0; i < sizeof features / sizeof *features; i++) {
        expect(d->supports(&options, features[i], &error) == HR_UNSUPPORTED, "a feature that is not there");
        puts(error.message);
    }
}

int main(int count, char **arguments) {
    expect(count == 2, "expected a library");
    void *library = dlopen(arguments[1], RTLD_NOW);
    expect(library && !setenv("HEADRACE_OPENCL_LIBRARY", arguments[1], 1), "no library");
    int *fail_at = dlsym(library, "fake_fail_at"), *live = dlsym(library, "fake_live");
    uint64_t *groups = dlsym(library, "fake_groups");
    char last[sizeof((hr_error *)0)->message] = "";
    refuse_images();
    refuse_features();
    for (int n = 0;; n++) {
        hr_error error = {0};
        *fail_at = n;
        hr_status status = whole(&error);
        expect(*live == 0, "something is left");
        if (*fail_at >= 0)
            break; /* fewer calls than that */
        *fail_at = -1;
        /* Some calls do not matter: those at the very end. */
        if (status && strcmp(last, error.message))
            puts(strcpy(last, error.message));
    }
    *groups = 0, *fail_at = -1;
    expect(!whole(&(hr_error){0}) && *groups == 14, "a later run does not work");
    dlclose(library);
    return 0;
}
