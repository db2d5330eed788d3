/* debug.c: names for messages and profiles.  In: the debug section, checked at load.  Out: text. */
#include "variant.h"

#include <stdio.h>
#include <string.h>

static const char *string_at(hr_cursor cursor, uint32_t index) {
    uint32_t count = hr_read_u32(&cursor);
    const char *text = "";
    if (index < count)
        for (uint32_t i = 0; i <= index; i++)
            text = hr_read_string(&cursor);
    return text;
}

void hr_debug_fault(const hr_variant *variant, uint32_t step, uint32_t kernel, int32_t site, char *text,
                    size_t bytes) {
    hr_cursor cursor = variant->debug.sites[kernel];
    uint32_t count = hr_read_u32(&cursor), node = 0;
    const char *message = NULL;
    for (uint32_t i = 0; site > 0 && i < count && i < (uint32_t)site; i++) {
        node = hr_read_u32(&cursor);
        message = hr_read_string(&cursor);
    }
    const char *name = string_at(variant->debug.nodes[step], node);
    if (site < 1 || (uint32_t)site > count)
        snprintf(text, bytes, "kernel '%s' failed with %d", variant->kernels[kernel].name, site);
    else if (*name)
        snprintf(text, bytes, "node '%s': %s", name, message);
    else
        snprintf(text, bytes, "kernel '%s': %s", variant->kernels[kernel].name, message);
}

static size_t append(char *text, size_t used, const char *more) {
    size_t length = strlen(more);
    if (text)
        memcpy(text + used, more, length + 1);
    return used + length;
}

size_t hr_debug_nodes(const hr_variant *variant, uint32_t step, char *text) {
    hr_cursor cursor = variant->debug.nodes[step];
    size_t used = append(text, 0, "");
    for (uint32_t left = hr_read_u32(&cursor); left; left--) {
        used = append(text, used, used ? ", " : "");
        used = append(text, used, hr_read_string(&cursor));
    }
    return used + 1;
}
