/* loader.c: map an image at an arbitrary page, call one entry as float f(float), print the result.
** Usage: loader IMAGE ENTRY ARGUMENT. The image is mapped one page into a larger block, so that it cannot rely on
** any address but a page's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { PAGE = 4096, ROOM = 1 << 20 };

int main(int argc, char **argv) {
    FILE *file = argc == 4 ? fopen(argv[1], "rb") : NULL;
    char *block = mmap(NULL, ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    float (*entry)(float);
    char *at;
    if (!file || block == MAP_FAILED)
        return 2;
    size_t size = fread(block + PAGE, 1, ROOM - PAGE, file);
    if (fclose(file) || size == 0 || mprotect(block, ROOM, PROT_READ | PROT_EXEC))
        return 2;
    __builtin___clear_cache(block, block + ROOM);
    at = block + PAGE + strtoul(argv[2], NULL, 10);
    memcpy(&entry, &at, sizeof entry);
    printf("%.9g\n", (double)entry(strtof(argv[3], NULL)));
    return 0;
}
