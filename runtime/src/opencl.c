/* opencl.c: the OpenCL library and its devices.  In: an environment variable, a device's name.  Out: functions, a device.
**
** The library stays mapped once it has been opened: implementations leave threads of their own behind. */
#include "opencl.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_DEVICES 32u /* that names and numbers can choose among */
#define NAME_BYTES 128u

static const char *const default_names[] = {"libOpenCL.so.1", "libOpenCL.so"};

static const char *given_library(void) {
    const char *given = getenv("HEADRACE_OPENCL_LIBRARY");
    return given && *given ? given : NULL;
}

static void *open_library(hr_error *error) {
    const char *given = given_library();
    const char *const *names = given ? &given : default_names;
    size_t count = given ? 1 : sizeof default_names / sizeof *default_names;
    for (size_t i = 0; i < count; i++) {
        void *library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
        if (library)
            return library;
        const char *reason = dlerror();
        if (i == 0)
            hr_fail(error, HR_UNSUPPORTED, "opencl: %s; %s", reason ? reason : names[i],
                    given ? "HEADRACE_OPENCL_LIBRARY names it"
                          : "install an OpenCL loader (ocl-icd), or name a library in HEADRACE_OPENCL_LIBRARY");
    }
    return NULL;
}

hr_status hr_cl_check_process(hr_error *error) {
    /* Of a library that is the process's own, not a model's: whoever opens it first. */
    static _Atomic(pid_t) opener;
    pid_t first = 0, here = getpid();
    if (atomic_compare_exchange_strong(&opener, &first, here) || first == here)
        return HR_OK;
    return hr_fail(error, HR_DEVICE,
                   "opencl: process %ld opened OpenCL before this one was forked from it; fork before, or spawn the "
                   "process",
                   (long)first);
}

hr_status hr_cl_open(hr_cl *cl, hr_error *error) {
    memset(cl, 0, sizeof *cl);
    if (!(cl->library = open_library(error)))
        return HR_UNSUPPORTED;
    const char *missing = NULL;
    void *found;
    /* ISO C has no cast from what dlsym gives; POSIX promises that the bits are the same. */
#define LOOK_UP(name, result, parameters)                                                                              \
    found = dlsym(cl->library, #name);                                                                                 \
    missing = found || missing ? missing : #name;                                                                      \
    memcpy(&cl->name, &found, sizeof found);
    HR_CL_FUNCTIONS(LOOK_UP)
#undef LOOK_UP
    if (!missing)
        return hr_cl_check_process(error);
    const char *given = given_library();
    return hr_fail(error, HR_UNSUPPORTED, "opencl: %s is no OpenCL 1.2: it has no %s", given ? given : *default_names,
                   missing);
}

void hr_cl_close(hr_cl *cl) {
    if (cl->library)
        dlclose(cl->library);
    cl->library = NULL;
}

hr_status hr_cl_failed(hr_error *error, const char *what, cl_int code) {
    static const struct {
        cl_int code;
        const char *text;
    } texts[] = {
        {CL_MEM_OBJECT_ALLOCATION_FAILURE, "no memory for a buffer"},
        {-5, "out of resources"},
        {CL_OUT_OF_HOST_MEMORY, "out of host memory"},
        {-2, "the device is not available"},
        {-36, "the command queue is lost"},
        {-54, "the workgroup is too large"},
        {-61, "the buffer is too large"},
    };
    const char *text = "see the OpenCL specification";
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        text = texts[i].code == code ? texts[i].text : text;
    bool memory = code == CL_MEM_OBJECT_ALLOCATION_FAILURE || code == CL_OUT_OF_HOST_MEMORY;
    return hr_fail(error, memory ? HR_NO_MEMORY : HR_DEVICE, "opencl: %s gave %d: %s", what, (int)code, text);
}

/* ---- devices ---- */

typedef struct found_device {
    cl_device device;
    char platform[NAME_BYTES], name[NAME_BYTES];
} found_device;

static void read_name(cl_int code, char *name) {
    if (code)
        strcpy(name, "(its name is too long)");
    name[NAME_BYTES - 1] = 0;
}

/* How many platforms, of which at most MAX_DEVICES are written. */
static cl_uint list_platforms(const hr_cl *cl, cl_platform *platforms) {
    cl_uint count = 0;
    if (cl->clGetPlatformIDs(MAX_DEVICES, platforms, &count))
        return 0;
    return count < MAX_DEVICES ? count : MAX_DEVICES;
}

/* Devices of all platforms: those that are CPUs, or those that are not. */
static size_t list_devices(const hr_cl *cl, bool cpus, found_device *found, size_t count) {
    cl_platform platforms[MAX_DEVICES];
    cl_uint platform_count = list_platforms(cl, platforms);
    for (cl_uint p = 0; p < platform_count; p++) {
        cl_device devices[MAX_DEVICES];
        cl_uint device_count = 0;
        if (cl->clGetDeviceIDs(platforms[p], CL_DEVICE_TYPE_ALL, MAX_DEVICES, devices, &device_count))
            device_count = 0;
        for (cl_uint d = 0; d < device_count && d < MAX_DEVICES && count < MAX_DEVICES; d++) {
            if (hr_cl_is_cpu(cl, devices[d]) != cpus)
                continue;
            found_device *f = &found[count++];
            f->device = devices[d];
            read_name(cl->clGetPlatformInfo(platforms[p], CL_PLATFORM_NAME, NAME_BYTES, f->platform, NULL),
                      f->platform);
            read_name(cl->clGetDeviceInfo(devices[d], CL_DEVICE_NAME, NAME_BYTES, f->name, NULL), f->name);
        }
    }
    return count;
}

static bool is_wanted(const found_device *f, size_t number, const char *wanted) {
    char *end;
    unsigned long n = strtoul(wanted, &end, 10);
    if (!*wanted || (*wanted >= '0' && *wanted <= '9' && !*end))
        return n == number; /* of "" it is 0 */
    return strstr(f->platform, wanted) || strstr(f->name, wanted);
}

/* Appends to what a message lists, as far as there is room. */
static void append(char *names, size_t room, const char *text) {
    size_t used = strlen(names);
    snprintf(names + used, room - used, "%s%s", used ? ", " : "", text);
}

static hr_status no_device(const hr_cl *cl, hr_error *error) {
    cl_platform platforms[MAX_DEVICES];
    cl_uint count = list_platforms(cl, platforms);
    if (!count)
        return hr_fail(error, HR_UNSUPPORTED,
                       "opencl: no platform; install the driver (ICD) of a device, such as PoCL for CPUs");
    char names[384] = "", name[NAME_BYTES];
    for (cl_uint p = 0; p < count; p++) {
        read_name(cl->clGetPlatformInfo(platforms[p], CL_PLATFORM_NAME, NAME_BYTES, name, NULL), name);
        append(names, sizeof names, name);
    }
    return hr_fail(error, HR_UNSUPPORTED, "opencl: no device on the platforms there are: %s", names);
}

hr_status hr_cl_find_device(const hr_cl *cl, const char *wanted, cl_device *device, hr_error *error) {
    found_device found[MAX_DEVICES];
    size_t count = list_devices(cl, false, found, 0);
    count = list_devices(cl, true, found, count);
    if (!count)
        return no_device(cl, error);
    char names[384] = "", line[2 * NAME_BYTES + 32];
    for (size_t i = 0; i < count; i++) {
        if (is_wanted(&found[i], i, wanted)) {
            *device = found[i].device;
            return HR_OK;
        }
        snprintf(line, sizeof line, "%zu: %s (%s)", i, found[i].name, found[i].platform);
        append(names, sizeof names, line);
    }
    return hr_fail(error, HR_UNSUPPORTED, "opencl: no device '%s'; there are %s", wanted, names);
}

hr_status hr_cl_lacks(const hr_cl *cl, cl_device device, const char *feature, hr_error *error) {
    char name[NAME_BYTES];
    read_name(cl->clGetDeviceInfo(device, CL_DEVICE_NAME, NAME_BYTES, name, NULL), name);
    return hr_fail(error, HR_UNSUPPORTED, "opencl: %s has no '%s'", name, feature);
}

uint64_t hr_cl_fact(const hr_cl *cl, cl_device device, cl_uint name) {
    uint64_t value = 0; /* bit fields and sizes have 64 bits, or 32 where the host has no more */
    return cl->clGetDeviceInfo(device, name, sizeof value, &value, NULL) ? 0 : value;
}

bool hr_cl_is_cpu(const hr_cl *cl, cl_device device) {
    return hr_cl_fact(cl, device, CL_DEVICE_TYPE) & CL_DEVICE_TYPE_CPU;
}

bool hr_cl_has(const hr_cl *cl, cl_device device, const char *extension) {
    char text[4096] = "";
    if (cl->clGetDeviceInfo(device, CL_DEVICE_EXTENSIONS, sizeof text - 1, text, NULL))
        return false;
    size_t length = strlen(extension);
    for (const char *at = text; (at = strstr(at, extension)); at += length)
        if ((at == text || at[-1] == ' ') && (at[length] == ' ' || at[length] == 0))
            return true;
    return false;
}
