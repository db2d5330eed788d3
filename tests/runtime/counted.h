/* counted.h: memory that counts, for one thread; and may fail. */
#ifndef COUNTED_H
#define COUNTED_H

#include "headrace.h"

/* Blocks taken so far, failures included; how many of them were not given back; and the number of the one that fails,
** none where that is -1. */
extern long takes, balance, fail_at;

extern const hr_model_options counted; /* nothing but this memory */

#endif
