/* damaged_artefacts.c: pieces of a file changed anywhere, or words of one section, with the digests made right. */
#include "damaged_artefacts.h"
#include "container.h"
#include "sha256.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define MOST_SECTIONS 64

/* ---- draws: splitmix64, whose constants are Steele, Lea and Flood's ---- */

static uint64_t state;

static uint64_t draw(void) {
    uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

void draw_from(uint64_t seed, uint64_t number) {
    state = seed * UINT64_C(0x100000001b3) + number * UINT64_C(0x9e3779b97f4a7c15);
    draw();
}

size_t below(size_t n) {
    return n ? (size_t)(draw() % n) : 0;
}

static uint32_t u32(const uint8_t *p) {
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static uint64_t u64(const uint8_t *p) {
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* ---- damage ---- */

static void replace(bytes *b, size_t at, size_t out, const uint8_t *in, size_t in_size) {
    uint8_t *to = malloc(b->size - out + in_size + 1);
    memcpy(to, b->data, at);
    if (in_size)
        memcpy(to + at, in, in_size);
    memcpy(to + at + in_size, b->data + at + out, b->size - at - out);
    free(b->data);
    *b = (bytes){to, b->size - out + in_size};
}

void damage(bytes *b, const bytes *files, size_t count) {
    for (size_t times = 1 + below(3); times; times--) {
        size_t at = below(b->size), most = b->size - at, size = 1 + below(most < 4096 ? most : 4096);
        const bytes *other = &files[below(count)];
        size_t from = below(other->size), some = other->size - from < size ? other->size - from : size;
        switch (below(6)) {
        case 0:
            replace(b, at, most, NULL, 0); /* cut off */
            break;
        case 1:
            replace(b, at, size, NULL, 0); /* cut out */
            break;
        case 2:
            replace(b, at, 0, other->data + from, some); /* put in */
            break;
        case 3:
            if (b->size - at >= some)
                memcpy(b->data + at, other->data + from, some); /* put over */
            break;
        default:
            b->data[at] ^= (uint8_t)(1 << below(8));
            break;
        }
        if (b->size == 0)
            return;
    }
}

/* ---- forging ---- */

static uint32_t odd_word(const bytes *section, uint32_t old) {
    static const uint32_t odd[] = {0, 1, 2, 3, 4, 8, 63, 64, 65, 4095, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff};
    switch (below(5)) {
    case 0:
        return old + (uint32_t)below(7) - 3;
    case 1:
        return old ^ UINT32_C(1) << below(32);
    case 2:
        return section->size >= 4 ? u32(section->data + below(section->size / 4) * 4) : 0;
    case 3:
        return (uint32_t)draw() >> below(32);
    default:
        return odd[below(sizeof odd / sizeof *odd)];
    }
}

static void change_words(bytes *section) {
    for (size_t times = 1 + below(2); times; times--) {
        size_t words = section->size / 4, at = below(words) * 4, some = 4 * (1 + below(4));
        some = some < section->size - at ? some : 4;
        if (!words)
            return;
        uint32_t word = odd_word(section, u32(section->data + at));
        uint8_t taken[16];
        size_t from = below(words) * 4;
        from = from + some <= section->size ? from : 0;
        memcpy(taken, section->data + from, some);
        switch (below(12)) {
        case 0:
            replace(section, at, some, NULL, 0);
            break;
        case 1:
            replace(section, at, 0, taken, some);
            break;
        case 2:
            memcpy(section->data + at, taken, some);
            break;
        default:
            memcpy(section->data + at, &word, sizeof word);
            break;
        }
    }
}

static uint32_t type_of(const bytes *b, uint32_t section) {
    return u32(b->data + HR_HEADER_BYTES + section * HR_ENTRY_BYTES);
}

/* Of the header, every other time the program, of which most can go wrong, and the rest. */
static bool is_changed(const bytes *b, uint32_t section, uint32_t sections, kind how) {
    uint32_t type = section < sections ? type_of(b, section) : 0;
    if (how == TABLE)
        return type == HR_SECTION_KERNELS;
    if (type == HR_SECTION_CONSTANTS || type == HR_SECTION_KERNELS || type == HR_SECTION_CODE)
        return false;
    return section == sections || type == HR_SECTION_PROGRAM || !below(8);
}

/* Sections laid out anew, digests and all. */
static bytes laid_out(const bytes *old, bytes *sections, uint32_t count) {
    size_t size = HR_HEADER_BYTES + (size_t)count * HR_ENTRY_BYTES, at[MOST_SECTIONS];
    for (uint32_t i = 0; i < count; i++) {
        size_t alignment = u32(old->data + HR_HEADER_BYTES + i * HR_ENTRY_BYTES + 24);
        size = (size + alignment - 1) / alignment * alignment;
        at[i] = size;
        size += sections[i].size;
    }
    bytes b = {calloc(1, size), size};
    memcpy(b.data, old->data, HR_HEADER_BYTES + (size_t)count * HR_ENTRY_BYTES);
    uint64_t whole = size;
    memcpy(b.data + 16, &whole, sizeof whole);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t place[2] = {at[i], sections[i].size};
        memcpy(b.data + at[i], sections[i].data, sections[i].size);
        memcpy(b.data + HR_HEADER_BYTES + i * HR_ENTRY_BYTES + 8, place, sizeof place);
        hr_sha256(sections[i].data, sections[i].size, b.data + HR_HEADER_BYTES + i * HR_ENTRY_BYTES + 32);
    }
    return b;
}

static void sign(bytes *b, uint32_t sections) {
    hr_sha256_of_two(b->data, 32, b->data + HR_HEADER_BYTES, (size_t)sections * HR_ENTRY_BYTES, b->data + 32);
}

void forge(bytes *b, kind how) {
    uint32_t count = u32(b->data + 12);
    bytes sections[MOST_SECTIONS];
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *row = b->data + HR_HEADER_BYTES + i * HR_ENTRY_BYTES;
        sections[i] = (bytes){malloc((size_t)u64(row + 16) + 1), (size_t)u64(row + 16)};
        memcpy(sections[i].data, b->data + u64(row + 8), sections[i].size);
    }
    uint32_t of;
    do
        of = (uint32_t)below(count + 1);
    while (!is_changed(b, of, count, how));
    if (of < count)
        change_words(&sections[of]);
    bytes anew = laid_out(b, sections, count);
    if (of == count) { /* the header and the table */
        size_t at = below(8) ? HR_HEADER_BYTES + below(count * HR_ENTRY_BYTES / 4) * 4 : below(8) * 4;
        uint32_t word = odd_word(&anew, u32(anew.data + at));
        memcpy(anew.data + at, &word, sizeof word);
    }
    sign(&anew, count);
    for (uint32_t i = 0; i < count; i++)
        free(sections[i].data);
    free(b->data);
    *b = anew;
}
