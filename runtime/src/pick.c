/* pick.c: picks a variant.  In: the heads of all, the machine, what the caller wants.  Out: one with its drivers. */
#include "pick.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What stands before a colon is a driver's name, what stands behind it names one of its devices. */
static bool same_driver(const char *a, const char *b) {
    size_t length = strcspn(a, ":");
    return length == strcspn(b, ":") && !memcmp(a, b, length);
}

static const char *wanted_device(const hr_model_options *options) {
    const char *device = options->device ? options->device : getenv("HEADRACE_DEVICE");
    return device && *device ? device : NULL;
}

static const hr_driver *find_driver(const hr_model_options *options, const char *wanted) {
    for (uint32_t i = 0; i < options->driver_count; i++)
        if (same_driver(options->drivers[i]->name, wanted))
            return options->drivers[i];
    for (const hr_driver *const *d = hr_builtin_drivers; *d; d++)
        if (same_driver((*d)->name, wanted))
            return *d;
    return NULL;
}

/* Why a variant does not run here, or is not what is wanted; false where it is taken. */
static bool is_refused(hr_model *model, const hr_model_options *options, const hr_machine *machine, char *why,
                       size_t bytes) {
    const hr_variant *v = &model->variant;
    const char *wanted = wanted_device(options), *leading = v->images[hr_leading(v)].driver;
    if (v->machine != HR_ANY_MACHINE && v->machine != machine->kind) {
        snprintf(why, bytes, "%s is for %s", v->preset, hr_machine_name(v->machine));
        return true;
    }
    if (wanted && strcmp(wanted, v->preset) && !same_driver(wanted, leading)) {
        snprintf(why, bytes, "%s runs on %s", v->preset, leading);
        return true;
    }
    for (uint32_t i = 0; i < v->image_count; i++)
        if (!(model->devices[i].driver = find_driver(options, v->images[i].driver))) {
            snprintf(why, bytes, "%s needs the driver '%s'", v->preset, v->images[i].driver);
            return true;
        }
    hr_cursor cursor = v->features;
    for (uint32_t i = 0; i < v->feature_count; i++) {
        const char *feature = hr_read_string(&cursor);
        if (!hr_machine_has(machine, feature)) {
            snprintf(why, bytes, "%s needs %s", v->preset, feature);
            return true;
        }
    }
    return false;
}

/* The writer put those that need no other device first, of these the most demanding ones. */
hr_status hr_pick_variant(hr_model *model, const hr_model_options *options, hr_error *error) {
    hr_machine machine;
    hr_status status = hr_machine_detect(&machine, error);
    if (status)
        return status;
    char reasons[384] = "";
    size_t used = 0;
    for (uint32_t i = 0; i < model->file.variants; i++) {
        if ((status = hr_variant_parse_head(&model->file, i, &model->variant, error)))
            return status;
        char why[128];
        if (!is_refused(model, options, &machine, why, sizeof why)) {
            model->variant_index = i;
            return HR_OK;
        }
        int n = snprintf(reasons + used, sizeof reasons - used, "%s%s", used ? ", " : "", why);
        used += n < 0 ? 0 : (size_t)n;
        used = used < sizeof reasons ? used : sizeof reasons - 1;
    }
    const char *wanted = wanted_device(options);
    if (wanted)
        return hr_fail(error, HR_UNSUPPORTED, "%s: no target in it runs on the device '%s': %s", model->file.name, wanted,
                       reasons);
    return hr_fail(error, HR_UNSUPPORTED, "%s: no target in it runs on this machine: %s", model->file.name, reasons);
}

const char *hr_pick_which(const hr_model *model, const hr_model_options *options, uint32_t device) {
    const hr_variant *v = &model->variant;
    const char *wanted = wanted_device(options), *own = v->images[device].driver;
    bool asked = wanted && device == hr_leading(v) && strcmp(wanted, v->preset) && strchr(wanted, ':');
    const char *colon = strchr(asked ? wanted : own, ':');
    return colon ? colon + 1 : "";
}
