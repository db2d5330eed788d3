/* signature.c: what all variants share: signature, constant table and metadata.  In: sections.  Out: arrays. */
#include "variant.h"

static const struct {
    const char *name;
    uint32_t bytes;
} dtypes[] = {
    [HR_F64] = {"f64", 8}, [HR_F32] = {"f32", 4}, [HR_F16] = {"f16", 2}, [HR_BF16] = {"bf16", 2}, [HR_I64] = {"i64", 8},
    [HR_I32] = {"i32", 4}, [HR_I16] = {"i16", 2}, [HR_I8] = {"i8", 1},   [HR_U64] = {"u64", 8},   [HR_U32] = {"u32", 4},
    [HR_U16] = {"u16", 2}, [HR_U8] = {"u8", 1},   [HR_BOOL] = {"bool", 1},
    [HR_F8E4M3FN] = {"f8e4m3fn", 1}, [HR_F8E4M3FNUZ] = {"f8e4m3fnuz", 1}, [HR_F8E5M2] = {"f8e5m2", 1},
    [HR_F8E5M2FNUZ] = {"f8e5m2fnuz", 1}, [HR_F8E8M0FNU] = {"f8e8m0fnu", 1}, [HR_F4E2M1FN] = {"f4e2m1fn", 1},
    [HR_I4] = {"i4", 1}, [HR_U4] = {"u4", 1}, [HR_I2] = {"i2", 1}, [HR_U2] = {"u2", 1},
};

size_t hr_dtype_bytes(uint32_t dtype) {
    return dtype <= HR_U2 ? dtypes[dtype].bytes : 0;
}

const char *hr_dtype_name(uint32_t dtype) {
    return dtype <= HR_U2 ? dtypes[dtype].name : NULL;
}

#define NO_MEMORY(file, error) hr_fail(error, HR_NO_MEMORY, "%s: no memory for its tables", (file)->name)
#define DAMAGED(type, cursor) hr_damaged(file, type, 0, cursor, error)

/* kind, dtype, rank and the dims of one port, of which each is 12 bytes or more. */
static hr_status parse_port(const hr_file *file, hr_cursor *cursor, hr_blocks *blocks, hr_port *port, hr_error *error) {
    port->name = hr_read_string(cursor);
    port->kind = hr_read_u32(cursor);
    port->dtype = hr_read_u32(cursor);
    port->rank = hr_read_count(cursor, 12);
    if (cursor->bad || port->kind < HR_TENSOR || port->kind > HR_OPTIONAL || !hr_dtype_bytes(port->dtype) ||
        port->rank > HR_MAX_RANK)
        return DAMAGED(HR_SECTION_SIGNATURE, cursor);
    hr_dim *dims = hr_blocks_take(blocks, port->rank, sizeof *dims);
    if (!dims)
        return NO_MEMORY(file, error);
    for (uint32_t i = 0; i < port->rank; i++) {
        dims[i].size = hr_read_i64(cursor);
        dims[i].text = hr_read_string(cursor);
        if (dims[i].size < -1)
            return DAMAGED(HR_SECTION_SIGNATURE, cursor);
    }
    port->dims = dims;
    return HR_OK;
}

hr_status hr_signature_parse(const hr_file *file, hr_blocks *blocks, hr_signature *signature, hr_error *error) {
    hr_cursor cursor = hr_cursor_over(hr_file_section(file, HR_SECTION_SIGNATURE, 0));
    signature->input_count = hr_read_count(&cursor, 20);
    signature->output_count = hr_read_count(&cursor, 20);
    signature->inputs = hr_blocks_take(blocks, signature->input_count, sizeof(hr_port));
    signature->outputs = hr_blocks_take(blocks, signature->output_count, sizeof(hr_port));
    if (!signature->inputs || !signature->outputs)
        return NO_MEMORY(file, error);
    hr_status status = HR_OK;
    for (uint32_t i = 0; i < signature->input_count && !status; i++)
        status = parse_port(file, &cursor, blocks, &signature->inputs[i], error);
    for (uint32_t i = 0; i < signature->output_count && !status; i++)
        status = parse_port(file, &cursor, blocks, &signature->outputs[i], error);
    if (!status && (cursor.bad || cursor.at != cursor.end))
        return DAMAGED(HR_SECTION_SIGNATURE, &cursor);
    return status;
}

hr_status hr_constants_parse(const hr_file *file, hr_blocks *blocks, hr_constants *constants, hr_error *error) {
    hr_cursor cursor = hr_cursor_over(hr_file_section(file, HR_SECTION_CONSTANT_TABLE, 0));
    uint64_t room = hr_file_section(file, HR_SECTION_CONSTANTS, 0).bytes, end = 0;
    constants->count = hr_read_count(&cursor, 56);
    constants->items = hr_blocks_take(blocks, constants->count, sizeof(hr_constant));
    if (!constants->items)
        return NO_MEMORY(file, error);
    for (uint32_t i = 0; i < constants->count; i++) {
        hr_constant *item = &constants->items[i];
        item->offset = (uint64_t)hr_read_i64(&cursor);
        item->bytes = (uint64_t)hr_read_i64(&cursor);
        item->digest = hr_read_bytes(&cursor, 32);
        item->label = hr_read_string(&cursor);
        if (cursor.bad || item->offset % HR_ALIGN || item->offset < end || item->offset - end >= HR_ALIGN ||
            item->offset > room || item->bytes > room - item->offset)
            return DAMAGED(HR_SECTION_CONSTANT_TABLE, &cursor);
        end = item->offset + item->bytes;
    }
    if (cursor.bad || cursor.at != cursor.end || end != room)
        return DAMAGED(HR_SECTION_CONSTANT_TABLE, &cursor);
    return HR_OK;
}

hr_status hr_metadata_check(const hr_file *file, hr_error *error) {
    hr_cursor cursor = hr_cursor_over(hr_file_section(file, HR_SECTION_METADATA, 0));
    for (uint32_t left = hr_read_count(&cursor, 16); left; left--) {
        hr_read_string(&cursor);
        hr_read_string(&cursor);
    }
    return cursor.bad || cursor.at != cursor.end ? DAMAGED(HR_SECTION_METADATA, &cursor) : HR_OK;
}
