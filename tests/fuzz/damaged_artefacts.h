/* damaged_artefacts.h: artefacts with something wrong, for fuzz_artefacts.c, which says what each kind of damage is.
**
** A file is a heap block; whoever has one frees it.  All is drawn from one state: one thread at a time. */
#ifndef DAMAGED_ARTEFACTS_H
#define DAMAGED_ARTEFACTS_H

#include <stddef.h>
#include <stdint.h>

typedef enum kind { DAMAGE, FORGE, TABLE, KINDS } kind;

typedef struct bytes {
    uint8_t *data;
    size_t size;
} bytes;

/* What is drawn from here on depends on these two alone. */
void draw_from(uint64_t seed, uint64_t number);

/* A number below n; 0 where n is. */
size_t below(size_t n);

/* Damages b, with pieces of the files among others; it may come out empty, or as it was. */
void damage(bytes *b, const bytes *files, size_t count);

/* Forges b, an artefact in order, as FORGE or TABLE says. */
void forge(bytes *b, kind how);

#endif
