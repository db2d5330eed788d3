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

/* The message with `{0}` and `{1}` replaced by the fault's numbers, cut to fit. */
static void fill_in(const char *message, const hr_fault *fault, char *text, size_t bytes) {
    size_t used = 0;
    text[0] = 0;
    while (*message && used + 1 < bytes) {
        uint32_t number = message[0] == '{' ? (uint32_t)(message[1] - '0') : HR_FAULT_VALUES;
        bool is_value = number < HR_FAULT_VALUES && message[2] == '}';
        int n = is_value ? snprintf(text + used, bytes - used, "%lld", (long long)fault->values[number])
                         : snprintf(text + used, bytes - used, "%c", *message);
        used += n < 0 ? 0 : (size_t)n;
        message += is_value ? 3 : 1;
    }
}

void hr_debug_fault(const hr_variant *variant, uint32_t kernel, const hr_fault *fault, char *text, size_t bytes) {
    hr_cursor cursor = variant->debug.sites[kernel];
    uint32_t count = hr_read_u32(&cursor), node = 0;
    int32_t site = fault->site;
    const char *message = NULL;
    for (uint32_t i = 0; site > 0 && i < count && i < (uint32_t)site; i++) {
        node = hr_read_u32(&cursor);
        message = hr_read_string(&cursor);
    }
    const char *name = string_at(variant->debug.nodes[fault->index], node);
    char filled[256];
    if (site < 1 || (uint32_t)site > count) {
        snprintf(text, bytes, "kernel '%s' failed with %d", variant->kernels[kernel].name, site);
        return;
    }
    fill_in(message, fault, filled, sizeof filled);
    if (*name)
        snprintf(text, bytes, "node '%s': %s", name, filled);
    else
        snprintf(text, bytes, "kernel '%s': %s", variant->kernels[kernel].name, filled);
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
