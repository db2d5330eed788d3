/* container.h: the file as sections.  The format is drawn in docs/artefact.md. */
#ifndef HR_CONTAINER_H
#define HR_CONTAINER_H

#include "base.h"

#define HR_FORMAT 4u /* the newest; all before it are read too */
#define HR_HEADER_BYTES 64u
#define HR_ENTRY_BYTES 64u
#define HR_NO_TARGET 0xffffffffu

/* ORDER: docs/artefact.md, codegen/artefact/layout.py.  Also the order in the file: four for all targets, then five for
** each variant. */
typedef enum hr_section_type {
    HR_SECTION_CONSTANTS = 1,
    HR_SECTION_CONSTANT_TABLE,
    HR_SECTION_SIGNATURE,
    HR_SECTION_METADATA,
    HR_SECTION_VARIANT,
    HR_SECTION_PROGRAM,
    HR_SECTION_KERNELS,
    HR_SECTION_CODE,
    HR_SECTION_DEBUG
} hr_section_type;

#define HR_SHARED_SECTIONS 4u
#define HR_VARIANT_SECTIONS 5u

typedef struct hr_section {
    const uint8_t *data;
    uint64_t offset;
    uint64_t bytes;
    const uint8_t *digest;
} hr_section;

/* A whole file in memory, mapped or the caller's.  After hr_file_check its table is trusted, and so are the bytes of
** every section but the constants. */
typedef struct hr_file {
    const char *name; /* for messages */
    const uint8_t *data;
    size_t bytes;
    bool mapped;
    uint32_t format;
    uint32_t variants;
} hr_file;

/* Maps a regular file, read-only. */
hr_status hr_file_map(hr_file *file, const char *path, hr_error *error);
void hr_file_unmap(hr_file *file);

/* One pass over header, table, padding and hashes: afterwards every byte belongs to something. */
hr_status hr_file_check(hr_file *file, hr_error *error);

/* A section of all targets, or of variant `variant`. */
hr_section hr_file_section(const hr_file *file, hr_section_type type, uint32_t variant);

/* HR_DAMAGED unless the section's bytes have the digest that the table states. */
hr_status hr_file_check_hash(const hr_file *file, hr_section_type type, uint32_t variant, hr_error *error);

/* Reads a section from front to back.  After the first read past the end `bad` stays set and reads give zeros. */
typedef struct hr_cursor {
    const uint8_t *at;
    const uint8_t *end;
    bool bad;
} hr_cursor;

hr_cursor hr_cursor_over(hr_section section);
uint32_t hr_read_u32(hr_cursor *cursor);
int64_t hr_read_i64(hr_cursor *cursor);
const uint32_t *hr_read_words(hr_cursor *cursor, size_t count);
const uint8_t *hr_read_bytes(hr_cursor *cursor, size_t count);

/* UTF-8, ended by a zero in the file itself; "" when bad. */
const char *hr_read_string(hr_cursor *cursor);

/* A count of records of at least `record_bytes` each: bad where the section could not hold so many. */
uint32_t hr_read_count(hr_cursor *cursor, size_t record_bytes);

/* HR_DAMAGED, naming the section and where the cursor stands. */
hr_status hr_damaged(const hr_file *file, hr_section_type type, uint32_t variant, const hr_cursor *cursor,
                     hr_error *error);

#endif
