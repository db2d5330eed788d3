/* threads.c: how many threads this process may use.  In: affinity mask, cgroup files.  Out: a number.
**
** A quota of 2.5 CPUs gives 3 threads.  Quotas nest, so every group from the process's own up to the root counts.
** Whatever cannot be read or understood limits nothing. */
#define _GNU_SOURCE
#include "threads.h"

#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The first bytes of a file as a string; false where there is no such file. */
static bool slurp(const char *path, char *text, size_t bytes) {
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0)
        return false;
    ssize_t n = read(descriptor, text, bytes - 1);
    close(descriptor);
    text[n > 0 ? n : 0] = 0;
    return n > 0;
}

static uint32_t rounded_up(long long quota, long long period) {
    if (quota <= 0 || period <= 0)
        return UINT32_MAX;
    long long cpus = quota / period + (quota % period != 0);
    return cpus < UINT32_MAX ? (uint32_t)cpus : UINT32_MAX;
}

/* Version 2: "200000 100000", or "max 100000". */
static uint32_t quota_v2(const char *folder) {
    char path[1200], text[128], *end;
    snprintf(path, sizeof path, "%s/cpu.max", folder);
    if (!slurp(path, text, sizeof text))
        return UINT32_MAX;
    long long quota = strtoll(text, &end, 10);
    return end == text ? UINT32_MAX : rounded_up(quota, strtoll(end, NULL, 10));
}

/* Version 1: a number in each of two files; -1 for no quota. */
static uint32_t quota_v1(const char *folder) {
    char path[1200], quota[64], period[64];
    snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", folder);
    if (!slurp(path, quota, sizeof quota))
        return UINT32_MAX;
    snprintf(path, sizeof path, "%s/cpu.cfs_period_us", folder);
    if (!slurp(path, period, sizeof period))
        return UINT32_MAX;
    return rounded_up(strtoll(quota, NULL, 10), strtoll(period, NULL, 10));
}

/* The least quota of `mount`/`group` and all groups above it. */
static uint32_t least_quota(const char *mount, const char *group, uint32_t (*quota)(const char *folder)) {
    char folder[1100];
    size_t length = strlen(mount);
    int n = snprintf(folder, sizeof folder, "%s%s", mount, group);
    uint32_t least = UINT32_MAX;
    if (n < 0 || (size_t)n >= sizeof folder)
        return least;
    for (;;) {
        uint32_t found = quota(folder);
        least = found < least ? found : least;
        char *slash = strrchr(folder + length, '/');
        if (!slash)
            return least;
        *slash = 0;
    }
}

static bool lists_cpu(const char *controllers, size_t length) {
    while (length) {
        const char *comma = memchr(controllers, ',', length);
        size_t n = comma ? (size_t)(comma - controllers) : length;
        if (n == 3 && !memcmp(controllers, "cpu", 3))
            return true;
        controllers += n + (comma != NULL), length -= n + (comma != NULL);
    }
    return false;
}

/* Lines of /proc/self/cgroup: "0::/a/b" (version 2), "4:cpu,cpuacct:/a/b" (version 1). */
static uint32_t cgroup_quota(const char *root) {
    char path[512], text[4096], *rest = text;
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    if (!slurp(path, text, sizeof text))
        return UINT32_MAX;
    uint32_t least = UINT32_MAX;
    for (char *line; (line = strtok_r(rest, "\n", &rest));) {
        char *controllers = strchr(line, ':');
        char *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group)
            continue;
        uint32_t found = UINT32_MAX;
        if (group == controllers + 1)
            snprintf(path, sizeof path, "%s/sys/fs/cgroup", root), found = least_quota(path, group + 1, quota_v2);
        else if (lists_cpu(controllers + 1, (size_t)(group - controllers - 1)))
            snprintf(path, sizeof path, "%s/sys/fs/cgroup/cpu", root), found = least_quota(path, group + 1, quota_v1);
        least = found < least ? found : least;
    }
    return least;
}

static uint32_t affinity(void) {
    cpu_set_t set;
    if (!sched_getaffinity(0, sizeof set, &set) && CPU_COUNT(&set) > 0)
        return (uint32_t)CPU_COUNT(&set);
    long online = sysconf(_SC_NPROCESSORS_ONLN); /* more CPUs than cpu_set_t has bits */
    return online > 0 ? (uint32_t)online : 1;
}

uint32_t hr_default_threads(const char *root) {
    uint32_t cpus = affinity(), quota = cgroup_quota(root);
    uint32_t least = cpus < quota ? cpus : quota;
    return least < HR_MAX_THREADS ? least : HR_MAX_THREADS;
}
