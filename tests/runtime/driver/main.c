/* main.c: drives the whole runtime from C, for the tests; compiled with sanitizers.
**
**     driver COMMAND FILE.hrm ...     exits with 0 if all is as it should be, else says what is not */
#include "driver.h"

int main(int count, char **arguments) {
    static const struct {
        const char *name;
        void (*call)(const char *path);
    } commands[] = {
        {"allocations", allocations},
        {"second-run", second_run},
        {"recovery", recovery},
        {"same-bits", same_bits},
        {"concurrent", concurrent},
        {"own-threads", own_threads},
        {"environment", environment},
        {"profile", profile},
        {"misuse", misuse},
        {"truncate", truncate_everywhere},
        {"flip", flip_everywhere},
        {"plan", open_and_plan},
    };
    for (size_t i = 0; count == 3 && i < sizeof commands / sizeof *commands; i++)
        if (!strcmp(arguments[1], commands[i].name)) {
            commands[i].call(arguments[2]);
            return 0;
        }
    if (count > 3 && !strcmp(arguments[1], "plan"))
        for (int i = 2; i < count; i++)
            open_and_plan(arguments[i]);
    else if (count == 4 && !strcmp(arguments[1], "device"))
        device(arguments[2], arguments[3]);
    else if (count == 4 && !strcmp(arguments[1], "quota"))
        quota(arguments[2], arguments[3]);
    else
        return printf("unknown command\n"), 1;
    return 0;
}
