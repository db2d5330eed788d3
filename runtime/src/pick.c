/* pick.c: picks a variant.  In: the heads of all, the machine, what the caller wants.  Out: one with its drivers. */
#include "pick.h"
#include "plugin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LONGEST_NAME = 64, REASON = 256, REASONS = 384 };

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

/* The driver for an image: the one that the caller wants where it stands for the image's own. */
static const hr_driver *driver_for(const hr_model_options *options, const char *wanted, const char *image) {
    const hr_driver *asked = wanted ? find_driver(options, wanted) : NULL;
    const char *stands_for = asked ? hr_driver_stands_for(asked) : NULL;
    return stands_for && same_driver(stands_for, image) ? asked : find_driver(options, image);
}

/* A feature with a colon is that of a device: the driver's name, then what it is asked for. */
static bool lacks(const hr_model *model, const hr_model_options *options, const hr_machine *machine,
                  const char *feature, char *why, size_t bytes) {
    const hr_variant *v = &model->variant;
    const char *colon = strchr(feature, ':');
    if (!colon) {
        snprintf(why, bytes, "%s needs %s", v->preset, feature);
        return !hr_machine_has(machine, feature);
    }
    for (uint32_t i = 0; i < v->image_count; i++) {
        if (!same_driver(v->images[i].driver, feature))
            continue;
        hr_device_options device = {sizeof device, hr_pick_which(model, options, i),
                                    hr_allocator_or_default(&options->allocator)};
        hr_error error = {0};
        hr_status status = hr_driver_supports(model->devices[i].driver, &device, colon + 1, &error);
        snprintf(why, bytes, "%s needs %s (%.160s)", v->preset, feature, error.message);
        return status;
    }
    snprintf(why, bytes, "%s needs %s, and has no such device", v->preset, feature);
    return true;
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
    for (uint32_t i = 0; i < v->image_count; i++) {
        const char *asked = i == hr_leading(v) ? wanted : NULL;
        if (!(model->devices[i].driver = driver_for(options, asked, v->images[i].driver))) {
            snprintf(why, bytes, "%s needs the driver '%s'", v->preset, v->images[i].driver);
            return true;
        }
    }
    if (wanted && strcmp(wanted, v->preset) && !same_driver(wanted, model->devices[hr_leading(v)].driver->name)) {
        snprintf(why, bytes, "%s runs on %s", v->preset, leading);
        return true;
    }
    hr_cursor cursor = v->features;
    for (uint32_t i = 0; i < v->feature_count; i++)
        if (lacks(model, options, machine, hr_read_string(&cursor), why, bytes))
            return true;
    return false;
}

/* How many letters must be put in, taken out or changed; names beyond LONGEST_NAME are far from all others. */
static size_t distance(const char *a, const char *b) {
    size_t length = strcspn(b, ":"), row[LONGEST_NAME + 1];
    if (length > LONGEST_NAME)
        return SIZE_MAX;
    for (size_t j = 0; j <= length; j++)
        row[j] = j;
    for (size_t i = 0; a[i] && a[i] != ':'; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < length; j++) {
            size_t changed = diagonal + (a[i] != b[j]), least = row[j] < row[j + 1] ? row[j] + 1 : row[j + 1] + 1;
            diagonal = row[j + 1];
            row[j + 1] = changed < least ? changed : least;
        }
    }
    return row[length];
}

/* What might be meant: a name that is wrong in one letter of three at most, and the least wrong one. */
typedef struct guess {
    const char *wanted;
    size_t least;
    char name[LONGEST_NAME + 1];
} guess;

static void consider(guess *g, const char *name) {
    size_t off = g->wanted ? distance(g->wanted, name) : 0;
    if (off && off < g->least && off <= strcspn(name, ":") / 3) {
        g->least = off;
        snprintf(g->name, sizeof g->name, "%.*s", (int)strcspn(name, ":"), name);
    }
}

static hr_status none_runs(const hr_model *model, const hr_model_options *options, const guess *g, const char *reasons,
                           hr_error *error) {
    if (!g->wanted)
        return hr_fail(error, HR_UNSUPPORTED, "%s: no target in it runs on this machine: %s", model->file.name, reasons);
    return hr_fail(error, HR_UNSUPPORTED, "%s: no target in it runs on the device '%s'%s: %s%s%s%s", model->file.name,
                   g->wanted, options->device ? "" : ", which HEADRACE_DEVICE names", reasons,
                   *g->name ? "; did you mean '" : "", g->name, *g->name ? "'?" : "");
}

/* The writer put those that need no other device first, of these the most demanding ones. */
hr_status hr_pick_variant(hr_model *model, const hr_model_options *options, hr_error *error) {
    hr_machine machine;
    hr_status status = hr_machine_detect(&machine, error);
    guess near = {.wanted = wanted_device(options), .least = SIZE_MAX};
    const hr_driver *asked = near.wanted ? find_driver(options, near.wanted) : NULL;
    if (!status && asked)
        status = hr_driver_check(asked, asked->name, error);
    if (status)
        return status;
    char reasons[REASONS] = "";
    size_t used = 0;
    for (uint32_t i = 0; i < model->file.variants; i++) {
        if ((status = hr_variant_parse_head(&model->file, i, &model->variant, error)))
            return status;
        char why[REASON];
        if (!is_refused(model, options, &machine, why, sizeof why)) {
            model->variant_index = i;
            return HR_OK;
        }
        consider(&near, model->variant.preset);
        consider(&near, model->variant.images[hr_leading(&model->variant)].driver);
        int n = snprintf(reasons + used, sizeof reasons - used, "%s%s", used ? ", " : "", why);
        used += n < 0 ? 0 : (size_t)n;
        used = used < sizeof reasons ? used : sizeof reasons - 1;
    }
    for (uint32_t i = 0; i < options->driver_count; i++)
        consider(&near, options->drivers[i]->name);
    return none_runs(model, options, &near, reasons, error);
}

/* What the caller asks for names a device, and this is the one. */
static const char *asked_for(const hr_model *model, const hr_model_options *options, uint32_t device) {
    const char *wanted = wanted_device(options);
    return wanted && device == hr_leading(&model->variant) && strcmp(wanted, model->variant.preset) ? wanted : NULL;
}

const char *hr_pick_which(const hr_model *model, const hr_model_options *options, uint32_t device) {
    const char *asked = asked_for(model, options, device);
    const char *colon = strchr(asked && strchr(asked, ':') ? asked : model->variant.images[device].driver, ':');
    return colon ? colon + 1 : "";
}

hr_status hr_pick_name(hr_model *model, const hr_model_options *options, hr_error *error) {
    const char *asked = asked_for(model, options, hr_leading(&model->variant));
    const char *own = model->variant.images[hr_leading(&model->variant)].driver;
    model->device_name = own;
    if (!asked || (same_driver(asked, own) && !strchr(asked, ':')))
        return HR_OK;
    char *name = hr_blocks_take(&model->blocks, strlen(asked) + 1, 1);
    if (!name)
        return hr_fail(error, HR_NO_MEMORY, "%s: no memory to open it", model->file.name);
    model->device_name = memcpy(name, asked, strlen(asked));
    return HR_OK;
}
