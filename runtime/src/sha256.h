/* sha256.h: SHA-256 as FIPS 180-4 has it. */
#ifndef HR_SHA256_H
#define HR_SHA256_H

#include <stddef.h>
#include <stdint.h>

void hr_sha256(const void *data, size_t bytes, uint8_t digest[32]);

/* The same over two pieces in a row. */
void hr_sha256_of_two(const void *a, size_t a_bytes, const void *b, size_t b_bytes, uint8_t digest[32]);

#endif
