/* devices.c: opens and closes what a model needs of one device. */
#include "devices.h"
#include "plugin.h"

static hr_status upload(hr_device *d, hr_section constants, hr_error *error) {
    const hr_driver *driver = d->driver;
    hr_queue_options one = {.size = sizeof one, .threads = 1};
    hr_fault fault = {0};
    void *queue;
    hr_status status = driver->queue_open(d->opened, &one, &queue, error);
    if (status)
        return status;
    if (!(status = driver->begin(queue, error))) {
        status = driver->upload(queue, (hr_slice){d->constants, 0}, constants.data, constants.bytes, error);
        hr_status finished = driver->finish(queue, &fault, status ? NULL : error);
        status = status ? status : finished;
    }
    driver->queue_close(queue);
    return status;
}

static hr_status place_constants(hr_device *d, hr_section constants, hr_error *error) {
    if (hr_device_is_host(d)) {
        d->constants = (uint64_t)(uintptr_t)constants.data;
        return HR_OK;
    }
    if (constants.bytes == 0)
        return HR_OK;
    hr_status status = d->driver->alloc(d->opened, constants.bytes, &d->constants, error);
    if (status)
        return status;
    d->has_constants = true;
    return upload(d, constants, error);
}

hr_status hr_device_open(hr_device *d, const char *which, hr_section code, hr_section constants,
                         const hr_allocator *allocator, hr_error *error) {
    const hr_driver *driver = d->driver;
    hr_status status = hr_driver_check(driver, driver->name, error);
    if (status)
        return status;
    hr_device_options options = {sizeof options, which, *allocator};
    status = driver->open(&options, &d->opened, error);
    if (status)
        return status;
    if ((status = driver->module_load(d->opened, code.data, code.bytes, &d->module, error)))
        return status;
    d->has_module = true;
    return place_constants(d, constants, error);
}

void hr_device_close(hr_device *d, hr_section constants) {
    if (d->has_constants)
        d->driver->release(d->opened, d->constants, constants.bytes);
    if (d->has_module)
        d->driver->module_unload(d->opened, d->module);
    if (d->opened)
        d->driver->close(d->opened);
}
