/* variant.h: the tables of a file, parsed and checked: signature, constants, and a variant's program and kernels. */
#ifndef HR_VARIANT_H
#define HR_VARIANT_H

#include "container.h"
#include "devices.h"
#include "formula.h"
#include "headrace_driver.h"
#include "machine.h"

#define HR_MAX_RANK 64u
#define HR_NO_SLOT 0xffffffffu

typedef struct hr_signature {
    uint32_t input_count, output_count;
    hr_port *inputs, *outputs;
} hr_signature;

typedef struct hr_constant {
    uint64_t offset; /* in the section of constants */
    uint64_t bytes;
    const uint8_t *digest;
    const char *label;
} hr_constant;

typedef struct hr_constants {
    uint32_t count;
    hr_constant *items;
} hr_constants;

typedef struct hr_kernel_buffer {
    uint32_t written; /* 0 or 1 */
    uint32_t bytes_slot;
} hr_kernel_buffer;

typedef struct hr_kernel {
    const char *name;
    uint32_t entry;
    uint32_t scalar_count;
    uint32_t buffer_count;
    uint32_t scratch_alignment;
    uint32_t scratch_slot;
    hr_code code; /* over the scalars, slots from 0 */
    const hr_kernel_buffer *buffers;
    uint32_t tasks_slot; /* HR_NO_SLOT before format 3: any number */
    uint32_t required_count;
    const uint32_t *required; /* slots of what must be at least 0 */
    uint32_t device;          /* whose image it is in */
} hr_kernel;

/* ORDER: docs/artefact.md, codegen/artefact/layout.py */
typedef enum hr_base { HR_BASE_INPUT = 1, HR_BASE_OUTPUT, HR_BASE_CONSTANT, HR_BASE_ARENA, HR_BASE_STATE } hr_base;

/* As in the file. */
typedef struct hr_buffer {
    uint32_t base;
    uint32_t index;
    uint32_t offset_slot;
    uint32_t bytes_slot;
} hr_buffer;

/* ORDER: docs/artefact.md, codegen/artefact/layout.py.  6 to 63 are kept for sequences.  Those from READ on end a
** segment, and have no number as launches and copies do. */
typedef enum hr_step_op { HR_STEP_LAUNCH = 1, HR_STEP_COPY, HR_STEP_READ, HR_STEP_SET, HR_STEP_LOOP } hr_step_op;

/* The words of a step, the first of which is op | words << 16. */
enum { HR_LAUNCH_KERNEL = 1, HR_LAUNCH_TASKS, HR_LAUNCH_GRAIN, HR_LAUNCH_WHEN, HR_LAUNCH_LISTS };
enum { HR_COPY_SOURCE = 1, HR_COPY_TARGET, HR_COPY_WHEN, HR_COPY_WORDS };
enum { HR_READ_BUFFER = 1, HR_READ_ELEMENT, HR_READ_DTYPE, HR_READ_LOW, HR_READ_HIGH, HR_READ_MESSAGE, HR_READ_WORDS };
enum { HR_SET_READ = 1, HR_SET_VALUE, HR_SET_WORDS };
enum { HR_LOOP_LIMIT = 1, HR_LOOP_CONDITION, HR_LOOP_SEGMENTS, HR_LOOP_WORDS };

typedef struct hr_segment {
    hr_code code;
    uint32_t arena_slot;
    uint32_t device; /* that runs its launches, and has its arena and the constants among its buffers */
    uint32_t first_buffer, buffer_count;
    uint32_t first_step, first_read, first_scalar;
    uint32_t word_count;
    const uint32_t *words;
    const uint32_t *loop; /* its LOOP step, if it has one; then it has no other */
} hr_segment;

typedef struct hr_output {
    uint32_t segment;      /* after whose plan its dims are known */
    const uint32_t *slots; /* of its dims */
} hr_output;

typedef struct hr_program {
    uint32_t slot_count, buffer_count, step_count, read_count, scalar_count, message_count, segment_count, state_count;
    const char **messages;
    const hr_buffer **buffers;
    uint8_t *devices; /* of each buffer */
    hr_segment *segments;
    hr_output *outputs;
} hr_program;

/* How much a launch of a kernel computes and touches: formulas over its scalars; no code where nothing is known. */
typedef struct hr_work {
    hr_code code;
    uint32_t flops_slot;
    uint32_t bytes_slot;
} hr_work;

/* Where the debug section has what belongs to a kernel or a step; checked, so that reading needs no more checks. */
typedef struct hr_debug {
    hr_cursor *sites; /* of each kernel */
    hr_work *work;    /* of each kernel */
    hr_cursor *nodes; /* of each step */
} hr_debug;

/* The code of one device, within the section. */
typedef struct hr_image {
    const char *driver;
    uint64_t offset;
    uint64_t bytes;
} hr_image;

typedef struct hr_variant {
    const char *preset;
    uint32_t image_count;
    hr_image images[HR_MAX_DEVICES]; /* of each device */
    uint32_t machine;
    uint32_t feature_count;
    hr_cursor features;
    uint32_t kernel_count;
    hr_kernel *kernels;
    hr_program program;
    hr_debug debug;
} hr_variant;

hr_status hr_signature_parse(const hr_file *file, hr_blocks *blocks, hr_signature *signature, hr_error *error);
hr_status hr_constants_parse(const hr_file *file, hr_blocks *blocks, hr_constants *constants, hr_error *error);
hr_status hr_metadata_check(const hr_file *file, hr_error *error);

/* Only the head: preset, machine, features, and the devices with their drivers. */
hr_status hr_variant_parse_head(const hr_file *file, uint32_t index, hr_variant *variant, hr_error *error);

/* All the rest. */
hr_status hr_variant_parse(const hr_file *file, uint32_t index, const hr_signature *signature,
                           const hr_constants *constants, hr_blocks *blocks, hr_variant *variant, hr_error *error);

/* "node 'Gather_3': index 7 is out of range" for a fault of a kernel; a plain text where the file has none. */
void hr_debug_fault(const hr_variant *variant, uint32_t kernel, const hr_fault *fault, char *text, size_t bytes);

/* Writes the step's nodes, separated by ", ", where `text` is not NULL.  Returns their bytes, the zero included. */
size_t hr_debug_nodes(const hr_variant *variant, uint32_t step, char *text);

#endif
