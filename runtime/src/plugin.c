/* plugin.c: drivers from outside.  In: the path of a shared library, or a driver.  Out: a driver that is fit to be used.
**
** Of a driver only size, ABI and name are looked at before the ABI is known to be ours: these stay where they are. */
#include "plugin.h"
#include "model.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

enum { PATH_LENGTH = 4096 };

typedef const hr_driver *(*entry_fn)(void);

/* A function that every driver must have, and this one has not; NULL if there is none. */
static const char *lacking(const hr_driver *d) {
    const struct {
        const char *name;
        bool is_there;
    } functions[] = {
        {"open", d->open},
        {"close", d->close},
        {"alloc", d->alloc},
        {"release", d->release},
        {"module_load", d->module_load},
        {"module_unload", d->module_unload},
        {"queue_open", d->queue_open},
        {"queue_close", d->queue_close},
        {"reserve", d->reserve},
        {"begin", d->begin},
        {"upload", d->upload},
        {"download", d->download},
        {"copy", d->copy},
        {"launch", d->launch},
        {"finish", d->finish},
    };
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        if (!functions[i].is_there)
            return functions[i].name;
    return NULL;
}

hr_status hr_driver_check(const hr_driver *driver, const char *place, hr_error *error) {
    if (driver->abi != HR_DRIVER_ABI)
        return hr_fail(error, HR_VERSION,
                       "driver %s: is made for ABI %u, this library has ABI %u; build it with our header", place,
                       driver->abi, HR_DRIVER_ABI);
    if (driver->size < HR_DRIVER_LEAST_BYTES)
        return hr_fail(error, HR_VERSION, "driver %s: its struct has %u bytes, ABI %u has at least %u", place,
                       driver->size, HR_DRIVER_ABI, HR_DRIVER_LEAST_BYTES);
    if (!driver->name || !*driver->name || strchr(driver->name, ':'))
        return hr_fail(error, HR_VERSION, "driver %s: must have a name without a colon", place);
    const char *name = lacking(driver);
    if (name)
        return hr_fail(error, HR_VERSION, "driver %s: its function '%s' is NULL; those up to finish must be there",
                       place, name);
    return HR_OK;
}

/* Whether a driver is of this ABI and large enough for a member that later versions have appended. */
#define HAS_MEMBER(driver, member)                                                                                     \
    ((driver)->abi == HR_DRIVER_ABI && (driver)->size >= offsetof(hr_driver, member) + sizeof(driver)->member)

const char *hr_driver_stands_for(const hr_driver *driver) {
    return HAS_MEMBER(driver, stands_for) ? driver->stands_for : NULL;
}

hr_status hr_driver_supports(const hr_driver *driver, const hr_device_options *device, const char *feature,
                             hr_error *error) {
    if (!HAS_MEMBER(driver, supports) || !driver->supports)
        return hr_fail(error, HR_UNSUPPORTED, "%s: its devices have no '%s'", driver->name, feature);
    return driver->supports(device, feature, error);
}

const hr_driver *hr_driver_builtin(const char *name) {
    for (const hr_driver *const *d = hr_builtin_drivers; name && *d; d++)
        if (!strcmp((*d)->name, name))
            return *d;
    return NULL;
}

hr_status hr_driver_load(const char *path, const hr_driver **driver, hr_error *error) {
    if (!path || !driver)
        return hr_fail(error, HR_INVALID, "hr_driver_load: path or driver is NULL");
    /* A name without a slash would be searched for where the system keeps its libraries. */
    char here[PATH_LENGTH];
    bool fits = snprintf(here, sizeof here, "%s%s", strchr(path, '/') ? "" : "./", path) < PATH_LENGTH;
    void *library = fits ? dlopen(here, RTLD_NOW | RTLD_LOCAL) : NULL;
    if (!fits)
        return hr_fail(error, HR_IO, "driver: its path has more than %d bytes", PATH_LENGTH - 1);
    if (!library)
        return hr_fail(error, HR_IO, "driver %s: %s", path, dlerror());
    entry_fn entry;
    *(void **)&entry = dlsym(library, "headrace_driver");
    const hr_driver *found = entry ? entry() : NULL;
    hr_status status = found ? hr_driver_check(found, path, error)
                             : hr_fail(error, HR_DEVICE, "driver %s: exports no function 'headrace_driver' that gives one", path);
    if (status)
        dlclose(library);
    else
        *driver = found;
    return status;
}
