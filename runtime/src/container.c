/* container.c: maps a file and checks that it is a .hrm whose every byte is accounted for.
**
** In: a path, or memory.  Out: sections.  Nothing of the file is believed before it has been compared with the file's
** size, and no sum or product of numbers from the file is formed where it could overflow. */
#include "container.h"
#include "sha256.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const char magic[8] = "\x89HRM\r\n\x1a\n"; /* no text file starts so, and newline conversion shows */

static const char *const section_names[] = {
    [HR_SECTION_CONSTANTS] = "constants", [HR_SECTION_CONSTANT_TABLE] = "constant table",
    [HR_SECTION_SIGNATURE] = "signature", [HR_SECTION_METADATA] = "metadata",
    [HR_SECTION_VARIANT] = "variant",     [HR_SECTION_PROGRAM] = "program",
    [HR_SECTION_KERNELS] = "kernels",     [HR_SECTION_CODE] = "code",
    [HR_SECTION_DEBUG] = "debug",
};

hr_status hr_file_map(hr_file *file, const char *path, hr_error *error) {
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0)
        return hr_fail(error, HR_IO, "%s: cannot be opened: %s", path, strerror(errno));
    struct stat facts;
    hr_status status = HR_OK;
    void *data = MAP_FAILED;
    if (fstat(descriptor, &facts))
        status = hr_fail(error, HR_IO, "%s: cannot be read: %s", path, strerror(errno));
    else if (!S_ISREG(facts.st_mode))
        status = hr_fail(error, HR_IO, "%s: is not a file", path);
    else if (facts.st_size < (off_t)HR_HEADER_BYTES)
        status = hr_fail(error, HR_DAMAGED, "%s: is no compiled model: %lld bytes are less than a header", path,
                         (long long)facts.st_size);
    else if ((data = mmap(NULL, (size_t)facts.st_size, PROT_READ, MAP_PRIVATE, descriptor, 0)) == MAP_FAILED)
        status = hr_fail(error, HR_IO, "%s: cannot be mapped: %s", path, strerror(errno));
    close(descriptor);
    if (status)
        return status;
    file->data = data;
    file->bytes = (size_t)facts.st_size;
    file->mapped = true;
    return HR_OK;
}

void hr_file_unmap(hr_file *file) {
    if (file->mapped)
        munmap((void *)(uintptr_t)file->data, file->bytes);
    file->mapped = false;
}

static uint32_t u32_at(const uint8_t *at) {
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static uint64_t u64_at(const uint8_t *at) {
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static const uint8_t *entry_at(const hr_file *file, uint32_t index) {
    return file->data + HR_HEADER_BYTES + (size_t)HR_ENTRY_BYTES * index;
}

static hr_section section_at(const hr_file *file, uint32_t index) {
    const uint8_t *entry = entry_at(file, index);
    uint64_t offset = u64_at(entry + 8);
    return (hr_section){file->data + offset, offset, u64_at(entry + 16), entry + 32};
}

static uint32_t index_of(hr_section_type type, uint32_t variant) {
    if (type < HR_SECTION_VARIANT)
        return (uint32_t)type - 1;
    return HR_SHARED_SECTIONS + variant * HR_VARIANT_SECTIONS + ((uint32_t)type - HR_SECTION_VARIANT);
}

hr_section hr_file_section(const hr_file *file, hr_section_type type, uint32_t variant) {
    return section_at(file, index_of(type, variant));
}

hr_status hr_file_check_hash(const hr_file *file, hr_section_type type, uint32_t variant, hr_error *error) {
    hr_section section = hr_file_section(file, type, variant);
    uint8_t digest[32];
    hr_sha256(section.data, (size_t)section.bytes, digest);
    if (memcmp(digest, section.digest, sizeof digest))
        return hr_fail(error, HR_DAMAGED, "%s: the %s at offset %llu has changed: its hash is not the one stated",
                       file->name, section_names[type], (unsigned long long)section.offset);
    return HR_OK;
}

static hr_status check_header(hr_file *file, hr_error *error) {
    const uint8_t *head = file->data;
    if (file->bytes < HR_HEADER_BYTES)
        return hr_fail(error, HR_DAMAGED, "%s: is no compiled model: %zu bytes are less than a header", file->name,
                       file->bytes);
    if (memcmp(head, magic, sizeof magic))
        return hr_fail(error, HR_DAMAGED, "%s: is no compiled model: it does not start like one", file->name);
    uint32_t version = u32_at(head + 8), sections = u32_at(head + 12);
    if (version < 1 || version > HR_FORMAT)
        return hr_fail(error, HR_VERSION, "%s: is of format %u, this library (%s) reads formats 1 to %u", file->name,
                       version, hr_version(), HR_FORMAT);
    file->format = version;
    if (u64_at(head + 16) != file->bytes)
        return hr_fail(error, HR_DAMAGED, "%s: has %zu bytes, its header says %llu: the file is cut off or damaged",
                       file->name, file->bytes, (unsigned long long)u64_at(head + 16));
    if ((file->bytes - HR_HEADER_BYTES) / HR_ENTRY_BYTES < sections)
        return hr_fail(error, HR_DAMAGED, "%s: the header is damaged: %u sections do not fit the file", file->name,
                       sections);
    uint8_t digest[32];
    hr_sha256_of_two(head, 32, head + HR_HEADER_BYTES, (size_t)HR_ENTRY_BYTES * sections, digest);
    if (memcmp(digest, head + 32, sizeof digest))
        return hr_fail(error, HR_DAMAGED, "%s: the header is damaged: its hash is not the one stated", file->name);
    if (u64_at(head + 24) || sections <= HR_SHARED_SECTIONS ||
        (sections - HR_SHARED_SECTIONS) % HR_VARIANT_SECTIONS)
        return hr_fail(error, HR_DAMAGED, "%s: the header is damaged: %u sections", file->name, sections);
    file->variants = (sections - HR_SHARED_SECTIONS) / HR_VARIANT_SECTIONS;
    return HR_OK;
}

/* Is entry `index` the section that the format has there, right behind `*end`, with zeros up to it?  Moves `*end`. */
static bool check_entry(const hr_file *file, uint32_t index, uint64_t *end) {
    const uint8_t *entry = entry_at(file, index);
    uint32_t inner = index - HR_SHARED_SECTIONS; /* meaningful for sections of variants */
    bool shared = index < HR_SHARED_SECTIONS;
    uint32_t type = shared ? index + 1 : HR_SECTION_VARIANT + inner % HR_VARIANT_SECTIONS;
    uint32_t target = shared ? HR_NO_TARGET : inner / HR_VARIANT_SECTIONS;
    uint64_t offset = u64_at(entry + 8), bytes = u64_at(entry + 16);
    uint32_t alignment = u32_at(entry + 24);
    if (u32_at(entry) != type || u32_at(entry + 4) != target || u32_at(entry + 28) != 0)
        return false;
    if (alignment < HR_ALIGN || alignment > 4096 || (alignment & (alignment - 1)))
        return false;
    if (offset > file->bytes || bytes > file->bytes - offset || offset % alignment)
        return false;
    if (offset < *end || offset - *end >= alignment)
        return false;
    for (uint64_t i = *end; i < offset; i++)
        if (file->data[i])
            return false;
    *end = offset + bytes;
    return true;
}

hr_status hr_file_check(hr_file *file, hr_error *error) {
    hr_status status = check_header(file, error);
    if (status)
        return status;
    uint32_t sections = HR_SHARED_SECTIONS + file->variants * HR_VARIANT_SECTIONS;
    uint64_t end = HR_HEADER_BYTES + (uint64_t)HR_ENTRY_BYTES * sections;
    for (uint32_t i = 0; i < sections; i++)
        if (!check_entry(file, i, &end))
            return hr_fail(error, HR_DAMAGED,
                           "%s: section %u is not where format %u has it, or the padding is not zero", file->name, i,
                           file->format);
    if (end != file->bytes)
        return hr_fail(error, HR_DAMAGED, "%s: has bytes that belong to no section", file->name);
    for (uint32_t type = HR_SECTION_CONSTANT_TABLE; type < HR_SECTION_VARIANT; type++)
        if ((status = hr_file_check_hash(file, type, 0, error)))
            return status;
    for (uint32_t v = 0; v < file->variants; v++)
        for (uint32_t type = HR_SECTION_VARIANT; type <= HR_SECTION_DEBUG; type++)
            if ((status = hr_file_check_hash(file, type, v, error)))
                return status;
    return HR_OK;
}

hr_cursor hr_cursor_over(hr_section section) {
    return (hr_cursor){section.data, section.data + section.bytes, false};
}

const uint8_t *hr_read_bytes(hr_cursor *cursor, size_t count) {
    if (cursor->bad || count > (size_t)(cursor->end - cursor->at)) {
        cursor->bad = true;
        return NULL;
    }
    const uint8_t *at = cursor->at;
    cursor->at += count;
    return at;
}

const uint32_t *hr_read_words(hr_cursor *cursor, size_t count) {
    if (count > SIZE_MAX / 4)
        cursor->bad = true;
    /* Sections start 64-byte aligned and all that lies in them is a multiple of four long. */
    return (const uint32_t *)(const void *)hr_read_bytes(cursor, count * 4);
}

uint32_t hr_read_u32(hr_cursor *cursor) {
    const uint8_t *at = hr_read_bytes(cursor, 4);
    return at ? u32_at(at) : 0;
}

int64_t hr_read_i64(hr_cursor *cursor) {
    const uint8_t *at = hr_read_bytes(cursor, 8);
    return at ? (int64_t)u64_at(at) : 0;
}

const char *hr_read_string(hr_cursor *cursor) {
    uint32_t length = hr_read_u32(cursor);
    size_t stored = ((size_t)length / 4 + 1) * 4; /* at least one zero at the end */
    const uint8_t *at = hr_read_bytes(cursor, stored);
    if (!at)
        return "";
    for (size_t i = 0; i < stored; i++)
        if ((at[i] == 0) != (i >= length)) {
            cursor->bad = true;
            return "";
        }
    return (const char *)at;
}

uint32_t hr_read_count(hr_cursor *cursor, size_t record_bytes) {
    uint32_t count = hr_read_u32(cursor);
    if (count > (size_t)(cursor->end - cursor->at) / record_bytes)
        cursor->bad = true;
    return cursor->bad ? 0 : count;
}

hr_status hr_damaged(const hr_file *file, hr_section_type type, uint32_t variant, const hr_cursor *cursor,
                     hr_error *error) {
    hr_section section = hr_file_section(file, type, variant);
    return hr_fail(error, HR_DAMAGED, "%s: the %s is damaged at offset %llu", file->name, section_names[type],
                   (unsigned long long)(section.offset + (uint64_t)(cursor->at - section.data)));
}
