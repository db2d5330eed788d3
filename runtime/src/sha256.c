/* sha256.c: data in, 32 bytes out.  Portable code: loading hashes code and tables only, and those are small. */
#include "sha256.h"

#include <string.h>

typedef struct hasher {
    uint32_t state[8];
    uint64_t bytes;
    uint8_t block[64];
    size_t filled;
} hasher;

static const uint32_t rounds[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t rotate(uint32_t x, unsigned n) {
    return x >> n | x << (32 - n);
}

/* One round with the eight variables in the roles that the caller gives: instead of moving all of them one place on,
** the next round is called with the roles moved. */
static inline void one_round(uint32_t a, uint32_t b, uint32_t c, uint32_t *d, uint32_t e, uint32_t f, uint32_t g,
                             uint32_t *h, uint32_t w) {
    uint32_t t = *h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + (g ^ (e & (f ^ g))) + w;
    *d += t;
    *h = t + (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) | (c & (a | b)));
}

static void mix_block(uint32_t state[8], const uint8_t *block) {
    uint32_t w[64];
    for (int i = 0; i < 16; i++) {
        memcpy(&w[i], block + 4 * i, 4);
        w[i] = __builtin_bswap32(w[i]);
    }
    for (int i = 16; i < 64; i++) {
        uint32_t a = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3;
        uint32_t b = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10;
        w[i] = w[i - 16] + a + w[i - 7] + b;
    }
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
    for (int i = 0; i < 64; i += 8) {
        const uint32_t *r = rounds + i, *v = w + i;
        one_round(a, b, c, &d, e, f, g, &h, r[0] + v[0]);
        one_round(h, a, b, &c, d, e, f, &g, r[1] + v[1]);
        one_round(g, h, a, &b, c, d, e, &f, r[2] + v[2]);
        one_round(f, g, h, &a, b, c, d, &e, r[3] + v[3]);
        one_round(e, f, g, &h, a, b, c, &d, r[4] + v[4]);
        one_round(d, e, f, &g, h, a, b, &c, r[5] + v[5]);
        one_round(c, d, e, &f, g, h, a, &b, r[6] + v[6]);
        one_round(b, c, d, &e, f, g, h, &a, r[7] + v[7]);
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d;
    state[4] += e, state[5] += f, state[6] += g, state[7] += h;
}

static void add(hasher *h, const uint8_t *data, size_t bytes) {
    h->bytes += bytes;
    while (bytes) {
        if (h->filled == 0 && bytes >= 64) {
            mix_block(h->state, data);
            data += 64, bytes -= 64;
            continue;
        }
        size_t n = bytes < 64 - h->filled ? bytes : 64 - h->filled;
        memcpy(h->block + h->filled, data, n);
        data += n, bytes -= n, h->filled += n;
        if (h->filled == 64) {
            mix_block(h->state, h->block);
            h->filled = 0;
        }
    }
}

static void finish(hasher *h, uint8_t digest[32]) {
    uint64_t bits = __builtin_bswap64(h->bytes * 8);
    uint8_t end[72] = {0x80};
    size_t pad = (h->filled < 56 ? 56 : 120) - h->filled;
    memcpy(end + pad, &bits, 8);
    add(h, end, pad + 8);
    for (int i = 0; i < 8; i++) {
        uint32_t word = __builtin_bswap32(h->state[i]);
        memcpy(digest + 4 * i, &word, 4);
    }
}

void hr_sha256_of_two(const void *a, size_t a_bytes, const void *b, size_t b_bytes, uint8_t digest[32]) {
    hasher h = {.state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab,
                          0x5be0cd19}};
    add(&h, a, a_bytes);
    add(&h, b, b_bytes);
    finish(&h, digest);
}

void hr_sha256(const void *data, size_t bytes, uint8_t digest[32]) {
    hr_sha256_of_two(data, bytes, NULL, 0, digest);
}
