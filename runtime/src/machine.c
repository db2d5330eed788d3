/* machine.c: what this CPU and its operating system can do, as LLVM's feature names.
**
** A table for each machine: the name, where the CPU states it, and the first level that has it.  HEADRACE_CPU names a
** level and hides what lies above, so that a refusal can be tested on every machine. */
#include "machine.h"

#include <stdlib.h>
#include <string.h>

#define ABOVE_LEVELS 9 /* in no level: hidden by any limit */

#if defined(__x86_64__)
#include <cpuid.h>

enum { L1_ECX, L1_EDX, L7_EBX, L7_ECX, L7_EDX, L71_EAX, X1_ECX, WORDS };
enum { NO_STATE, YMM, ZMM }; /* what the operating system must save */

/* ORDER: codegen/artefact/features.py */
static const struct {
    const char *name;
    uint8_t word, bit, state, level;
} features[] = {
    {"sse", L1_EDX, 25, NO_STATE, 1},
    {"sse2", L1_EDX, 26, NO_STATE, 1},
    {"cx8", L1_EDX, 8, NO_STATE, 1},
    {"cmov", L1_EDX, 15, NO_STATE, 1},
    {"mmx", L1_EDX, 23, NO_STATE, 1},
    {"fxsr", L1_EDX, 24, NO_STATE, 1},
    {"sse3", L1_ECX, 0, NO_STATE, 2},
    {"ssse3", L1_ECX, 9, NO_STATE, 2},
    {"cx16", L1_ECX, 13, NO_STATE, 2},
    {"sse4.1", L1_ECX, 19, NO_STATE, 2},
    {"sse4.2", L1_ECX, 20, NO_STATE, 2},
    {"popcnt", L1_ECX, 23, NO_STATE, 2},
    {"sahf", X1_ECX, 0, NO_STATE, 2},
    {"fma", L1_ECX, 12, YMM, 3},
    {"movbe", L1_ECX, 22, NO_STATE, 3},
    {"xsave", L1_ECX, 26, NO_STATE, 3},
    {"avx", L1_ECX, 28, YMM, 3},
    {"f16c", L1_ECX, 29, YMM, 3},
    {"lzcnt", X1_ECX, 5, NO_STATE, 3},
    {"bmi", L7_EBX, 3, NO_STATE, 3},
    {"avx2", L7_EBX, 5, YMM, 3},
    {"bmi2", L7_EBX, 8, NO_STATE, 3},
    {"avx512f", L7_EBX, 16, ZMM, 4},
    {"avx512dq", L7_EBX, 17, ZMM, 4},
    {"avx512cd", L7_EBX, 28, ZMM, 4},
    {"avx512bw", L7_EBX, 30, ZMM, 4},
    {"avx512vl", L7_EBX, 31, ZMM, 4},
    {"avx512ifma", L7_EBX, 21, ZMM, ABOVE_LEVELS},
    {"avx512vbmi", L7_ECX, 1, ZMM, ABOVE_LEVELS},
    {"avx512vbmi2", L7_ECX, 6, ZMM, ABOVE_LEVELS},
    {"avx512vnni", L7_ECX, 11, ZMM, ABOVE_LEVELS},
    {"avx512bitalg", L7_ECX, 12, ZMM, ABOVE_LEVELS},
    {"avx512vpopcntdq", L7_ECX, 14, ZMM, ABOVE_LEVELS},
    {"avx512fp16", L7_EDX, 23, ZMM, ABOVE_LEVELS},
    {"avx512bf16", L71_EAX, 5, ZMM, ABOVE_LEVELS},
    {"avxvnni", L71_EAX, 4, YMM, ABOVE_LEVELS},
    {"avxifma", L71_EAX, 23, YMM, ABOVE_LEVELS},
    {"gfni", L7_ECX, 8, NO_STATE, ABOVE_LEVELS},
    {"vaes", L7_ECX, 9, YMM, ABOVE_LEVELS},
    {"vpclmulqdq", L7_ECX, 10, YMM, ABOVE_LEVELS},
    {"pclmul", L1_ECX, 1, NO_STATE, ABOVE_LEVELS},
    {"aes", L1_ECX, 25, NO_STATE, ABOVE_LEVELS},
    {"sha", L7_EBX, 29, NO_STATE, ABOVE_LEVELS},
    {"adx", L7_EBX, 19, NO_STATE, ABOVE_LEVELS},
    {"prfchw", X1_ECX, 8, NO_STATE, ABOVE_LEVELS},
};

static const struct {
    const char *name;
    uint8_t level;
} levels[] = {{"x86-64", 1}, {"x86-64-v2", 2}, {"x86-64-v3", 3}, {"x86-64-v4", 4}};

#define LEVELS "x86-64, x86-64-v2, x86-64-v3, x86-64-v4"

static uint64_t detect(void) {
    uint32_t words[WORDS] = {0}, a, b, c, d;
    if (__get_cpuid(1, &a, &b, &c, &d))
        words[L1_ECX] = c, words[L1_EDX] = d;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
        words[L7_EBX] = b, words[L7_ECX] = c, words[L7_EDX] = d;
        if (a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d))
            words[L71_EAX] = a;
    }
    if (__get_cpuid(0x80000001, &a, &b, &c, &d))
        words[X1_ECX] = c;
    uint32_t saved = 0;
    if (words[L1_ECX] >> 27 & 1) { /* osxsave: xgetbv may be asked what the operating system saves */
        uint32_t high;
        __asm__ volatile("xgetbv" : "=a"(saved), "=d"(high) : "c"(0));
    }
    bool has_state[] = {true, (saved & 0x06) == 0x06, (saved & 0xe6) == 0xe6};
    uint64_t found = 0;
    for (size_t i = 0; i < sizeof features / sizeof *features; i++)
        if (words[features[i].word] >> features[i].bit & 1 && has_state[features[i].state])
            found |= UINT64_C(1) << i;
    return found;
}

static const uint32_t this_kind = HR_X86_64;

#elif defined(__aarch64__)
#include <sys/auxv.h>

/* ORDER: codegen/artefact/features.py */
static const struct {
    const char *name;
    uint8_t word, bit, level; /* word 0: AT_HWCAP, 1: AT_HWCAP2 */
} features[] = {
    {"fp-armv8", 0, 0, 1},
    {"neon", 0, 1, 1},
    {"aes", 0, 3, ABOVE_LEVELS},
    {"sha2", 0, 6, ABOVE_LEVELS},
    {"crc", 0, 7, ABOVE_LEVELS},
    {"lse", 0, 8, ABOVE_LEVELS},
    {"fullfp16", 0, 10, ABOVE_LEVELS},
    {"rdm", 0, 12, ABOVE_LEVELS},
    {"dotprod", 0, 20, ABOVE_LEVELS},
    {"sve", 0, 22, ABOVE_LEVELS},
    {"fp16fml", 0, 23, ABOVE_LEVELS},
    {"sve2", 1, 1, ABOVE_LEVELS},
    {"i8mm", 1, 13, ABOVE_LEVELS},
    {"bf16", 1, 14, ABOVE_LEVELS},
};

static const struct {
    const char *name;
    uint8_t level;
} levels[] = {{"aarch64", 1}};

#define LEVELS "aarch64"

static uint64_t detect(void) {
    uint64_t words[2] = {getauxval(AT_HWCAP), getauxval(AT_HWCAP2)}, found = 0;
    for (size_t i = 0; i < sizeof features / sizeof *features; i++)
        if (words[features[i].word] >> features[i].bit & 1)
            found |= UINT64_C(1) << i;
    return found;
}

static const uint32_t this_kind = HR_AARCH64;

#else
#error "machine.c knows x86-64 and aarch64"
#endif

_Static_assert(sizeof features / sizeof *features <= 64, "a bit for each feature");

static hr_status limit_of(const char *wanted, uint8_t *level, hr_error *error) {
    *level = ABOVE_LEVELS;
    if (!wanted || !*wanted)
        return HR_OK;
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
        if (!strcmp(wanted, levels[i].name)) {
            *level = levels[i].level;
            return HR_OK;
        }
    return hr_fail(error, HR_INVALID, "HEADRACE_CPU is '%s', expected one of %s", wanted, LEVELS);
}

hr_status hr_machine_detect(hr_machine *machine, hr_error *error) {
    uint8_t level;
    hr_status status = limit_of(getenv("HEADRACE_CPU"), &level, error);
    if (status)
        return status;
    machine->kind = this_kind;
    machine->features = detect();
    for (size_t i = 0; i < sizeof features / sizeof *features; i++)
        if (features[i].level > level)
            machine->features &= ~(UINT64_C(1) << i);
    return HR_OK;
}

bool hr_machine_has(const hr_machine *machine, const char *feature) {
    for (size_t i = 0; i < sizeof features / sizeof *features; i++)
        if (!strcmp(feature, features[i].name))
            return machine->features >> i & 1;
    return false;
}

const char *hr_machine_name(uint32_t kind) {
    return kind == HR_X86_64 ? "x86-64" : kind == HR_AARCH64 ? "aarch64" : "an unknown machine";
}
