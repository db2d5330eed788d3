/* npy.c: reads and writes .npy files.  In: a path, or a value.  Out: a value in malloc'd memory, or a file.
**
** A file is: "\x93NUMPY", version, length of the header, then the header, a Python dict such as
**     {'descr': '<f4', 'fortran_order': False, 'shape': (1, 784), }
** padded with blanks, then the bytes.  The types of ml_dtypes have no descr of their own:
** like ml_dtypes we read and write '<V2' for bf16 and '<V1' for what is narrow; its '<f1' for f8e5m2, which numpy does not
** read again, is only read. */
#include "npy.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
    uint32_t dtype;
    const char *descr;
} descrs[] = {
    {HR_F64, "<f8"}, {HR_F32, "<f4"}, {HR_F16, "<f2"}, {HR_I64, "<i8"},  {HR_I32, "<i4"},
    {HR_I16, "<i2"}, {HR_I8, "|i1"},  {HR_U64, "<u8"}, {HR_U32, "<u4"},  {HR_U16, "<u2"},
    {HR_U8, "|u1"},  {HR_BOOL, "|b1"}, {HR_BF16, "<V2"}, {HR_BF16, "|V2"}, /* written as the first of the two */
    {HR_F8E4M3FN, "<V1"}, {HR_F8E4M3FNUZ, "<V1"}, {HR_F8E5M2, "<V1"}, {HR_F8E5M2, "<f1"}, {HR_F8E5M2FNUZ, "<V1"},
    {HR_F8E8M0FNU, "<V1"}, {HR_F4E2M1FN, "<V1"}, {HR_I4, "<V1"}, {HR_U4, "<V1"}, {HR_I2, "<V1"}, {HR_U2, "<V1"},
};

__attribute__((format(printf, 3, 4))) static hr_status fail(hr_error *error, hr_status status, const char *format,
                                                            ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
    return error->status = status;
}

/* What follows 'name': in the header, blanks skipped; NULL where it is not there. */
static const char *field(const char *header, const char *name) {
    char quoted[32];
    snprintf(quoted, sizeof quoted, "'%s'", name);
    const char *at = strstr(header, quoted);
    if (!at)
        return NULL;
    at += strlen(quoted);
    at += strspn(at, " ");
    return *at == ':' ? at + 1 + strspn(at + 1, " ") : NULL;
}

static bool parse_dtype(const char *header, uint32_t wanted, uint32_t *dtype) {
    const char *at = field(header, "descr");
    for (size_t i = 0; at && i < sizeof descrs / sizeof *descrs; i++) {
        size_t n = strlen(descrs[i].descr);
        bool told = descrs[i].descr[1] != 'V' || descrs[i].dtype == wanted;
        if (told && at[0] == '\'' && !strncmp(at + 1, descrs[i].descr, n) && at[1 + n] == '\'') {
            *dtype = descrs[i].dtype;
            return true;
        }
    }
    return false;
}

static bool parse_shape(const char *header, npy_array *array) {
    const char *at = field(header, "shape");
    if (!at || *at++ != '(')
        return false;
    uint32_t rank = 0;
    for (at += strspn(at, " "); *at != ')';) {
        char *end;
        if (*at < '0' || *at > '9' || rank == NPY_MAX_RANK)
            return false;
        errno = 0;
        array->dims[rank++] = strtoll(at, &end, 10);
        if (errno)
            return false;
        at = end + strspn(end, " ,");
    }
    array->value.rank = rank;
    return true;
}

static bool count_bytes(npy_array *array) {
    uint64_t bytes = hr_dtype_bytes(array->value.dtype);
    for (uint32_t i = 0; i < array->value.rank; i++)
        if (__builtin_mul_overflow(bytes, (uint64_t)array->dims[i], &bytes))
            return false;
    array->value.bytes = bytes;
    return bytes < SIZE_MAX;
}

/* The header as a string in malloc'd memory; NULL where the file is no .npy. */
static char *read_header(FILE *file) {
    unsigned char head[12];
    if (fread(head, 1, 10, file) != 10 || memcmp(head, "\x93NUMPY", 6) || head[6] < 1 || head[6] > 2)
        return NULL;
    size_t length = (size_t)head[8] | (size_t)head[9] << 8;
    if (head[6] == 2) {
        if (fread(head + 10, 1, 2, file) != 2)
            return NULL;
        length |= (size_t)head[10] << 16 | (size_t)head[11] << 24;
    }
    if (length > 1 << 20)
        return NULL;
    char *header = malloc(length + 1);
    if (!header || fread(header, 1, length, file) != length) {
        free(header);
        return NULL;
    }
    header[length] = 0;
    return header;
}

static hr_status read_open(FILE *file, const char *path, uint32_t wanted, npy_array *array, hr_error *error) {
    char *header = read_header(file);
    if (!header)
        return fail(error, HR_INVALID, "%s: is no .npy file of version 1 or 2", path);
    const char *order = field(header, "fortran_order");
    bool row_major = order && !strncmp(order, "False", 5);
    bool known = parse_dtype(header, wanted, &array->value.dtype);
    bool shaped = parse_shape(header, array) && known && count_bytes(array);
    const char *dtype = field(header, "descr");
    if (!known)
        fail(error, HR_INVALID, "%s: its dtype %.*s is none that models take", path,
             dtype ? (int)strcspn(dtype, ",}\n") : 0, dtype ? dtype : "");
    free(header);
    if (!known)
        return HR_INVALID;
    if (!shaped || !row_major)
        return fail(error, HR_INVALID, "%s: %s", path, shaped ? "is not in row-major order" : "its shape is damaged");
    array->memory = malloc((size_t)array->value.bytes + 1);
    if (!array->memory)
        return fail(error, HR_NO_MEMORY, "%s: no memory for %" PRIu64 " bytes", path, array->value.bytes);
    if (fread(array->memory, 1, (size_t)array->value.bytes, file) != array->value.bytes || fgetc(file) != EOF)
        return fail(error, HR_INVALID, "%s: does not hold the %" PRIu64 " bytes that its shape says", path,
                    array->value.bytes);
    array->value.kind = HR_TENSOR;
    array->value.dims = array->dims;
    array->value.data = array->memory;
    return HR_OK;
}

hr_status npy_read(const char *path, uint32_t wanted, npy_array *array, hr_error *error) {
    memset(array, 0, sizeof *array);
    FILE *file = fopen(path, "rb");
    if (!file)
        return fail(error, HR_IO, "%s: cannot be opened: %s", path, strerror(errno));
    hr_status status = read_open(file, path, wanted, array, error);
    fclose(file);
    return status;
}

void npy_free(npy_array *array) {
    free(array->memory);
    array->memory = NULL;
}

static bool write_open(FILE *file, const hr_value *value) {
    const char *descr = "";
    for (size_t i = sizeof descrs / sizeof *descrs; i-- > 0;)
        descr = descrs[i].dtype == value->dtype ? descrs[i].descr : descr;
    char header[1024];
    int n = snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr);
    for (uint32_t i = 0; i < value->rank && (size_t)n < sizeof header; i++)
        n += snprintf(header + n, sizeof header - (size_t)n, "%s%" PRId64 "%s", i ? " " : "", value->dims[i],
                      i + 1 < value->rank || value->rank == 1 ? "," : "");
    if ((size_t)n < sizeof header)
        n += snprintf(header + n, sizeof header - (size_t)n, "), }");
    if ((size_t)n >= sizeof header - 64)
        return false;
    while ((10 + n + 1) % 64)
        header[n++] = ' ';
    header[n++] = '\n';
    unsigned char head[10] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (unsigned char)(n & 255), (unsigned char)(n >> 8)};
    return fwrite(head, 1, 10, file) == 10 && fwrite(header, 1, (size_t)n, file) == (size_t)n &&
           fwrite(value->data, 1, (size_t)value->bytes, file) == value->bytes;
}

hr_status npy_write(const char *path, const char *called, const hr_value *value, hr_error *error) {
    FILE *file = fopen(path, "wb");
    if (!file)
        return fail(error, HR_IO, "%s: cannot be written: %s", called, strerror(errno));
    bool ok = write_open(file, value);
    int reason = errno;
    if (fclose(file) && ok)
        ok = false, reason = errno;
    if (ok)
        return HR_OK;
    unlink(path);
    return fail(error, HR_IO, "%s: cannot be written: %s", called, strerror(reason));
}
