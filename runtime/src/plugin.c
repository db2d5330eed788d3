/* plugin.c: drivers from outside.  In: the path of a shared library.  Out: its driver, looked at as far as any version
** of the interface has it: size, ABI, name. */
#include "base.h"
#include "headrace_driver.h"

#include <dlfcn.h>

typedef const hr_driver *(*entry_fn)(void);

hr_status hr_driver_load(const char *path, const hr_driver **driver, hr_error *error) {
    if (!path || !driver)
        return hr_fail(error, HR_INVALID, "hr_driver_load: path or driver is NULL");
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return hr_fail(error, HR_IO, "driver %s: %s", path, dlerror());
    entry_fn entry;
    *(void **)&entry = dlsym(library, "headrace_driver");
    const hr_driver *found = entry ? entry() : NULL;
    hr_status status = HR_OK;
    if (!found)
        status = hr_fail(error, HR_DEVICE, "driver %s: gives no driver by 'headrace_driver'", path);
    else if (found->abi != HR_DRIVER_ABI)
        status = hr_fail(error, HR_VERSION, "driver %s: is made for ABI %u, this library has ABI %u", path, found->abi,
                         HR_DRIVER_ABI);
    if (status)
        dlclose(library);
    else
        *driver = found;
    return status;
}
