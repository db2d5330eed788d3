/* threads.h: how many threads this process may use. */
#ifndef HR_THREADS_H
#define HR_THREADS_H

#include <stdint.h>

#define HR_MAX_THREADS 1024u

/* CPUs of the affinity mask, or fewer where a cgroup's quota (version 1 or 2) allows fewer; at least 1.
** `root` is put before /proc and /sys: "" but in tests. */
uint32_t hr_default_threads(const char *root);

#endif
