/* caller.c: map an image, call one kernel of it on buffers read from files, write the buffers back.
** Usage: caller IMAGE ENTRY BEGIN END SCRATCH_BYTES SCALARS FILE..., where SCALARS is a list such as 3,4 or -.
** The status is the exit code. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { MOST = 16, ROOM = 1 << 22 };

static char *take(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    char *block = mmap(NULL, ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (!file || block == MAP_FAILED)
        exit(90);
    *size = fread(block, 1, ROOM, file);
    fclose(file);
    return block;
}

int main(int argc, char **argv) {
    int32_t (*kernel)(void *const *, const int64_t *, void *, int64_t, int64_t);
    size_t sizes[MOST], size;
    void *buffers[MOST], *scratch;
    int64_t scalars[MOST];
    int count = 0;
    char *image, *at;
    if (argc < 7 || argc > 7 + MOST)
        return 91;
    image = take(argv[1], &size);
    if (mprotect(image, ROOM, PROT_READ | PROT_EXEC))
        return 92;
    __builtin___clear_cache(image, image + ROOM);
    at = image + strtoul(argv[2], NULL, 10);
    memcpy(&kernel, &at, sizeof kernel);
    for (char *word = strtok(argv[6], ","); word && *word != '-'; word = strtok(NULL, ","))
        scalars[count++] = strtoll(word, NULL, 10);
    for (int i = 7; i < argc; i++)
        buffers[i - 7] = take(argv[i], &sizes[i - 7]);
    if (posix_memalign(&scratch, 64, strtoul(argv[5], NULL, 10) + 64))
        return 93;
    int status = kernel(buffers, scalars, scratch, strtoll(argv[3], NULL, 10), strtoll(argv[4], NULL, 10));
    for (int i = 7; i < argc; i++) {
        FILE *file = fopen(argv[i], "wb");
        if (!file || fwrite(buffers[i - 7], 1, sizes[i - 7], file) != sizes[i - 7] || fclose(file))
            return 94;
    }
    return status;
}
