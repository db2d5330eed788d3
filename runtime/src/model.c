/* model.c: opens a file, picks a variant, answers questions about it.
**
** A model is built in one call, never changes afterwards, and counts its users: so sessions on any threads read it
** without a lock.  All its memory is in one list of blocks, besides what its driver holds. */
#include "model.h"
#include "pick.h"
#include "sha256.h"

#include <stdio.h>
#include <string.h>

#ifndef HR_VERSION_TEXT
#error "the build passes the version"
#endif

const char *hr_version(void) {
    return HR_VERSION_TEXT;
}

static hr_status refuse_other_kinds(const hr_model *model, hr_error *error) {
    static const char *const names[] = {"tensor", "string tensor", "sequence", "optional"};
    const hr_signature *s = &model->signature;
    for (uint32_t i = 0; i < s->input_count + s->output_count; i++) {
        bool is_input = i < s->input_count;
        const hr_port *port = is_input ? &s->inputs[i] : &s->outputs[i - s->input_count];
        if (port->kind != HR_TENSOR)
            return hr_fail(error, HR_UNSUPPORTED, "%s: %s '%s' is a %s; this version of the runtime runs tensors only",
                           model->file.name, is_input ? "input" : "output", port->name, names[port->kind - 1]);
    }
    return HR_OK;
}

static hr_status open_devices(hr_model *model, const hr_model_options *options, hr_error *error) {
    const hr_allocator allocator = hr_allocator_or_default(&options->allocator);
    hr_section code = hr_file_section(&model->file, HR_SECTION_CODE, model->variant_index);
    hr_section constants = hr_file_section(&model->file, HR_SECTION_CONSTANTS, 0);
    hr_status status = HR_OK;
    for (uint32_t i = 0; i < model->variant.image_count && !status; i++) {
        const hr_image *image = &model->variant.images[i];
        hr_section own = {.data = code.data + image->offset, .bytes = image->bytes};
        model->device_count = i + 1;
        status = hr_device_open(&model->devices[i], hr_pick_which(model, options, i), own, constants, &allocator, error);
    }
    if (!status && model->device_count > 1 && !hr_is_host(model))
        return hr_fail(error, HR_UNSUPPORTED, "%s: %s uses several devices, but '%s' does not use the host's memory",
                       model->file.name, model->variant.preset, model->variant.images[0].driver);
    return status;
}

static hr_status open_file(hr_model *model, const hr_model_options *options, hr_error *error) {
    hr_status status = hr_file_check(&model->file, error);
    if (!status)
        status = hr_signature_parse(&model->file, &model->blocks, &model->signature, error);
    if (!status)
        status = hr_constants_parse(&model->file, &model->blocks, &model->constants, error);
    if (!status)
        status = hr_metadata_check(&model->file, error);
    if (!status)
        status = hr_pick_variant(model, options, error);
    if (!status)
        status = hr_variant_parse(&model->file, model->variant_index, &model->signature, &model->constants,
                                  &model->blocks, &model->variant, error);
    if (!status)
        status = refuse_other_kinds(model, error);
    if (!status)
        status = hr_pick_name(model, options, error);
    return status ? status : open_devices(model, options, error);
}

/* Takes over `file`, which it unmaps if anything fails. */
static hr_status open_model(hr_file *file, const hr_model_options *given, hr_model **out, hr_error *error) {
    hr_model_options options = {0};
    if (given)
        memcpy(&options, given, given->size < sizeof options ? given->size : sizeof options);
    hr_blocks blocks = {hr_allocator_or_default(&options.allocator), NULL};
    hr_model *model = hr_blocks_take(&blocks, 1, sizeof *model);
    char *name = hr_blocks_take(&blocks, strlen(file->name) + 1, 1);
    if (!model || !name) {
        hr_blocks_give(&blocks);
        hr_file_unmap(file);
        return hr_fail(error, HR_NO_MEMORY, "%s: no memory to open it", file->name);
    }
    memcpy(name, file->name, strlen(file->name));
    atomic_init(&model->references, 1);
    model->blocks = blocks;
    model->file = *file;
    model->file.name = name;
    hr_status status = open_file(model, &options, error);
    if (status)
        hr_model_release(model);
    else
        *out = model;
    return status;
}

hr_status hr_model_open(const char *path, const hr_model_options *options, hr_model **model, hr_error *error) {
    if (!path || !model)
        return hr_fail(error, HR_INVALID, "hr_model_open: path or model is NULL");
    hr_file file = {.name = path};
    hr_status status = hr_file_map(&file, path, error);
    return status ? status : open_model(&file, options, model, error);
}

hr_status hr_model_open_memory(const void *data, size_t bytes, const hr_model_options *options, hr_model **model,
                               hr_error *error) {
    if (!data || !model)
        return hr_fail(error, HR_INVALID, "hr_model_open_memory: data or model is NULL");
    if ((uintptr_t)data % HR_ALIGN)
        return hr_fail(error, HR_INVALID, "hr_model_open_memory: data must be aligned to %u bytes", HR_ALIGN);
    hr_file file = {.name = "(memory)", .data = data, .bytes = bytes};
    return open_model(&file, options, model, error);
}

void hr_model_release(hr_model *model) {
    if (atomic_fetch_sub_explicit(&model->references, 1, memory_order_acq_rel) != 1)
        return;
    for (uint32_t i = 0; i < model->device_count; i++)
        hr_device_close(&model->devices[i], hr_file_section(&model->file, HR_SECTION_CONSTANTS, 0));
    hr_file_unmap(&model->file);
    hr_blocks blocks = model->blocks; /* the model lies in the first of them */
    hr_blocks_give(&blocks);
}

void hr_model_close(hr_model *model) {
    if (model)
        hr_model_release(model);
}

const char *hr_model_target(const hr_model *model) {
    return model->variant.preset;
}

const char *hr_model_driver(const hr_model *model) {
    return model->device_name;
}

uint32_t hr_model_inputs(const hr_model *model) {
    return model->signature.input_count;
}

uint32_t hr_model_outputs(const hr_model *model) {
    return model->signature.output_count;
}

const hr_port *hr_model_input(const hr_model *model, uint32_t index) {
    return index < model->signature.input_count ? &model->signature.inputs[index] : NULL;
}

const hr_port *hr_model_output(const hr_model *model, uint32_t index) {
    return index < model->signature.output_count ? &model->signature.outputs[index] : NULL;
}

/* Each constant's own digest first: its name says more than the section's. */
static hr_status verify_constants(const hr_model *model, hr_error *error) {
    const uint8_t *data = hr_file_section(&model->file, HR_SECTION_CONSTANTS, 0).data;
    for (uint32_t i = 0; i < model->constants.count; i++) {
        const hr_constant *item = &model->constants.items[i];
        uint8_t digest[32];
        hr_sha256(data + item->offset, (size_t)item->bytes, digest);
        if (memcmp(digest, item->digest, sizeof digest))
            return hr_fail(error, HR_DAMAGED, "%s: constant %u (%s) has changed: its hash is not the one stated",
                           model->file.name, i, item->label);
    }
    return hr_file_check_hash(&model->file, HR_SECTION_CONSTANTS, 0, error);
}

hr_status hr_model_verify(const hr_model *model, hr_error *error) {
    hr_status status = verify_constants(model, error);
    for (uint32_t i = 0; i < model->file.variants && !status; i++) {
        hr_blocks blocks = {model->blocks.allocator, NULL};
        hr_variant variant = {0};
        status = hr_variant_parse(&model->file, i, &model->signature, &model->constants, &blocks, &variant, error);
        hr_blocks_give(&blocks);
    }
    return status;
}
