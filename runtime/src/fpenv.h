/* fpenv.h: the floating-point environment that kernels are compiled for: round to nearest, denormals on, no traps. */
#ifndef HR_FPENV_H
#define HR_FPENV_H

#include <stdint.h>

#if defined(__x86_64__)
#include <xmmintrin.h>

/* Sets it; returns what to restore. */
static inline uint64_t hr_fpenv_enter(void) {
    uint32_t before = _mm_getcsr();
    _mm_setcsr(0x1f80);
    return before;
}

static inline void hr_fpenv_leave(uint64_t before) {
    _mm_setcsr((uint32_t)before);
}

#elif defined(__aarch64__)

static inline uint64_t hr_fpenv_enter(void) {
    uint64_t before;
    __asm__ volatile("mrs %0, fpcr" : "=r"(before));
    __asm__ volatile("msr fpcr, %0" : : "r"(UINT64_C(0)));
    return before;
}

static inline void hr_fpenv_leave(uint64_t before) {
    __asm__ volatile("msr fpcr, %0" : : "r"(before));
}

#else
#error "fpenv.h knows x86-64 and aarch64"
#endif
#endif
