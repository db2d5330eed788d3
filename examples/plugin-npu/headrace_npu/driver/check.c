/* check.c: looks at a code section once, when it is loaded, as the NPU's loader would. */
#include "npu.h"

#include <stdbool.h>

/* The words of each instruction behind its opcode, as isa.h describes them. */
static const struct {
    const char *name, *words;
} table[NPU_OPCODES] = {
    [NPU_SET] = {"SET", "dii"},
    [NPU_ARGUMENT] = {"ARGUMENT", "di"},
    [NPU_TASK] = {"TASK", "d"},
    [NPU_ADD] = {"ADD", "drr"},
    [NPU_MUL] = {"MUL", "drr"},
    [NPU_DIV] = {"DIV", "drr"},
    [NPU_MOD] = {"MOD", "drr"},
    [NPU_MIN] = {"MIN", "drr"},
    [NPU_MAX] = {"MAX", "drr"},
    [NPU_LOOP] = {"LOOP", "dr"},
    [NPU_END] = {"END", ""},
    [NPU_LOAD] = {"LOAD", "irrrrrtttiii"},
    [NPU_STORE] = {"STORE", "irrrrrtttii"},
    [NPU_FILL] = {"FILL", "tttiii"},
    [NPU_VECTOR] = {"VECTOR", "itttttttttii"},
    [NPU_MATMUL] = {"MATMUL", "tttttttttiiir"},
};

/* A tile's three words. */
static bool fits(const uint32_t *tile, uint32_t rows, uint32_t columns) {
    uint64_t last = tile[0] + (uint64_t)(rows - 1) * tile[1] + (uint64_t)(columns - 1) * tile[2];
    return last < NPU_SCRATCHPAD;
}

static bool is_shape(uint32_t rows, uint32_t columns) {
    return rows - 1 < NPU_ROWS && columns - 1 < NPU_COLUMNS;
}

/* What is wrong with the tiles of an instruction, or NULL. */
static const char *wrong_tile(const uint32_t *w) {
    static const char shape[] = "has a tile that is empty, or larger than the units", place[] = "leaves the scratchpad";
    switch (w[0]) {
    case NPU_LOAD:
    case NPU_STORE:
        return !is_shape(w[10], w[11]) ? shape : fits(w + 7, w[10], w[11]) ? NULL : place;
    case NPU_FILL:
        return !is_shape(w[4], w[5]) ? shape : fits(w + 1, w[4], w[5]) ? NULL : place;
    case NPU_VECTOR:
        if (w[1] >= NPU_FUNCTIONS)
            return "has no such function";
        if (!is_shape(w[11], w[12]))
            return shape;
        return fits(w + 2, w[11], w[12]) && fits(w + 5, w[11], w[12]) && fits(w + 8, w[11], w[12]) ? NULL : place;
    case NPU_MATMUL:
        if (!is_shape(w[10], w[11]) || w[12] - 1 >= NPU_DEPTH)
            return shape;
        return fits(w + 1, w[10], w[11]) && fits(w + 4, w[10], w[12]) && fits(w + 7, w[12], w[11]) ? NULL : place;
    default:
        return NULL;
    }
}

/* What is wrong with the words of an instruction, or NULL. */
static const char *wrong_words(const uint32_t *w) {
    uint32_t used = 1;
    for (const char *kind = table[w[0]].words; *kind; kind++, used++)
        if ((*kind == 'd' || *kind == 'r') && w[used] >= NPU_REGISTERS)
            return "names a register that there is not";
    for (; used < NPU_WORDS; used++)
        if (w[used])
            return "has words that it does not use";
    return wrong_tile(w);
}

static hr_status check_program(const uint32_t *code, uint32_t count, uint32_t kernel, hr_error *error) {
    uint32_t open = 0;
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t *w = code + (uint64_t)i * NPU_WORDS;
        if (!w[0] || w[0] >= NPU_OPCODES)
            return npu_fail(error, HR_DEVICE, "npu: kernel %u, instruction %u: there is no opcode %u", kernel, i, w[0]);
        const char *wrong = wrong_words(w);
        if (w[0] == NPU_LOOP && ++open > NPU_LOOPS)
            wrong = "is inside of too many loops";
        if (w[0] == NPU_END && open-- == 0)
            wrong = "ends no loop";
        if (wrong)
            return npu_fail(error, HR_DEVICE, "npu: kernel %u, instruction %u: %s %s", kernel, i, table[w[0]].name, wrong);
    }
    return open ? npu_fail(error, HR_DEVICE, "npu: kernel %u: a loop has no end", kernel) : HR_OK;
}

hr_status npu_check(const uint32_t *image, uint64_t words, hr_error *error) {
    if (words < 2 || image[0] != NPU_MAGIC)
        return npu_fail(error, HR_DEVICE, "npu: the code section is for another device");
    uint64_t at = 2;
    for (uint32_t kernel = 0; kernel < image[1]; kernel++) {
        uint32_t count = at < words ? image[at++] : 0;
        if (!count || count > (words - at) / NPU_WORDS)
            return npu_fail(error, HR_DEVICE, "npu: kernel %u of %u does not lie in the code section", kernel, image[1]);
        hr_status status = check_program(image + at, count, kernel, error);
        if (status)
            return status;
        at += (uint64_t)count * NPU_WORDS;
    }
    return at == words ? HR_OK : npu_fail(error, HR_DEVICE, "npu: the code section has something behind its last kernel");
}
