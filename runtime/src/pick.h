/* pick.h: which of a file's variants runs here, and with which drivers. */
#ifndef HR_PICK_H
#define HR_PICK_H

#include "model.h"

/* The first that this machine can run and that the caller wants; finds its drivers. */
hr_status hr_pick_variant(hr_model *model, const hr_model_options *options, hr_error *error);

/* The device that gives a variant its name to users: the most preferred one beside the host, if there are any. */
static inline uint32_t hr_leading(const hr_variant *variant) {
    return variant->image_count > 1;
}

/* What the driver of a device is to be told: which of its devices; "" where nobody says. */
const char *hr_pick_which(const hr_model *model, const hr_model_options *options, uint32_t device);

/* Settles how the leading device is called, for users: as they asked for it, or else as the file names it. */
hr_status hr_pick_name(hr_model *model, const hr_model_options *options, hr_error *error);

#endif
