/* headrace_run.c: headrace-run, a compiled model on the command line.
**
**     headrace-run M.hrm --input x=x.npy ... (--output y=y.npy ... | --output-dir D) [--threads N] [--runs N]
**         [--device NAME] [--driver LIBRARY ...]
**
** In: a .hrm and .npy files.  Out: .npy files, written beside their names and renamed once all of them are complete;
** with --runs those of the last of several runs, for whoever watches the program from outside: profilers, counters.
** One line on stderr and exit status 2 whenever something is wrong; then no output file is left. */
#include "npy.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] = "usage: headrace-run M.hrm --input NAME=FILE.npy ... "
                            "(--output NAME=FILE.npy ... | --output-dir DIR) [--threads N] [--runs N] "
                            "[--device NAME] [--driver LIBRARY ...]\n";

typedef struct options {
    const char *model;
    const char *output_dir, *device;
    int driver_count;
    const struct hr_driver **drivers;
    unsigned threads;
    unsigned runs;
    int pair_count;
    struct {
        bool is_input;
        const char *name;
        size_t length;
        const char *path;
    } *pairs;
} options;

typedef struct job {
    options options;
    hr_model *model;
    hr_session *session;
    npy_array *arrays; /* of each input */
    hr_value *inputs, *outputs;
    char **paths; /* of each output; NULL where it is not wanted */
    char **parts; /* where it is written first; NULL before and after */
    hr_error error;
} job;

__attribute__((format(printf, 2, 3))) static bool fail(job *j, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(j->error.message, sizeof j->error.message, format, arguments);
    va_end(arguments);
    return false;
}

static bool parse_pair(job *j, bool is_input, const char *text) {
    options *o = &j->options;
    const char *equals = strchr(text, '=');
    if (!equals)
        return fail(j, "%s %s: expected NAME=FILE.npy", is_input ? "--input" : "--output", text);
    o->pairs[o->pair_count].is_input = is_input;
    o->pairs[o->pair_count].name = text;
    o->pairs[o->pair_count].length = (size_t)(equals - text);
    o->pairs[o->pair_count++].path = equals + 1;
    return true;
}

static bool parse_number(job *j, const char *option, const char *text, unsigned most, unsigned *number) {
    char *end;
    unsigned long found = strtoul(text, &end, 10);
    if (*end || end == text || found < 1 || found > most)
        return fail(j, "%s %s: expected a number from 1 to %u", option, text, most);
    *number = (unsigned)found;
    return true;
}

static bool parse(job *j, int count, char **arguments) {
    options *o = &j->options;
    o->pairs = calloc((size_t)count, sizeof *o->pairs);
    o->drivers = calloc((size_t)count, sizeof *o->drivers);
    if (!o->pairs || !o->drivers)
        return fail(j, "no memory");
    o->runs = 1;
    for (int i = 1; i < count; i++) {
        const char *a = arguments[i], *value = i + 1 < count ? arguments[i + 1] : NULL;
        bool is_input = !strcmp(a, "--input"), is_output = !strcmp(a, "--output");
        bool is_dir = !strcmp(a, "--output-dir"), is_threads = !strcmp(a, "--threads"), is_runs = !strcmp(a, "--runs");
        bool is_device = !strcmp(a, "--device"), is_driver = !strcmp(a, "--driver");
        if (a[0] != '-' && !o->model) {
            o->model = a;
            continue;
        }
        if (!is_input && !is_output && !is_dir && !is_threads && !is_runs && !is_device && !is_driver)
            return fail(j,
                        "unknown argument '%s'; expected --input, --output, --output-dir, --threads, --runs, --device or "
                        "--driver",
                        a);
        if (!value)
            return fail(j, "%s: expected a value behind it", a);
        i++;
        bool ok = true;
        if (is_dir)
            o->output_dir = value;
        else if (is_device)
            o->device = value;
        else if (is_driver)
            ok = !hr_driver_load(value, &o->drivers[o->driver_count++], &j->error);
        else if (is_threads)
            ok = parse_number(j, a, value, 1024, &o->threads);
        else if (is_runs)
            ok = parse_number(j, a, value, 1000000, &o->runs);
        else
            ok = parse_pair(j, is_input, value);
        if (!ok)
            return false;
    }
    return o->model ? true : fail(j, "expected a compiled model, M.hrm");
}

/* The file given for a port, or NULL; an error where there are two. */
static bool find_pair(job *j, bool is_input, const hr_port *port, const char **path) {
    *path = NULL;
    for (int i = 0; i < j->options.pair_count; i++) {
        if (j->options.pairs[i].is_input != is_input || strlen(port->name) != j->options.pairs[i].length ||
            memcmp(j->options.pairs[i].name, port->name, j->options.pairs[i].length))
            continue;
        if (*path)
            return fail(j, "%s '%s': is given twice", is_input ? "input" : "output", port->name);
        *path = j->options.pairs[i].path;
    }
    return true;
}

static bool refuse_unknown_names(job *j) {
    for (int i = 0; i < j->options.pair_count; i++) {
        bool is_input = j->options.pairs[i].is_input, found = false;
        uint32_t count = is_input ? hr_model_inputs(j->model) : hr_model_outputs(j->model);
        char names[256] = "";
        size_t used = 0;
        for (uint32_t p = 0; p < count; p++) {
            const hr_port *port = is_input ? hr_model_input(j->model, p) : hr_model_output(j->model, p);
            found = found || (strlen(port->name) == j->options.pairs[i].length &&
                              !memcmp(port->name, j->options.pairs[i].name, j->options.pairs[i].length));
            if (used < sizeof names)
                used += (size_t)snprintf(names + used, sizeof names - used, "%s'%s'", p ? ", " : "", port->name);
        }
        if (!found)
            return fail(j, "%s: has no %s '%.*s'; it has %s", j->options.model, is_input ? "input" : "output",
                        (int)j->options.pairs[i].length, j->options.pairs[i].name, names);
    }
    return true;
}

static bool open_model(job *j) {
    hr_session_options options = {.size = sizeof options, .threads = j->options.threads};
    hr_model_options opening = {.size = sizeof opening,
                                .driver_count = (uint32_t)j->options.driver_count,
                                .drivers = j->options.drivers,
                                .device = j->options.device};
    if (hr_model_open(j->options.model, &opening, &j->model, &j->error) ||
        hr_session_open(j->model, &options, &j->session, &j->error))
        return false;
    uint32_t inputs = hr_model_inputs(j->model), outputs = hr_model_outputs(j->model);
    j->arrays = calloc(inputs + 1, sizeof *j->arrays);
    j->inputs = calloc(inputs + 1, sizeof *j->inputs);
    j->outputs = calloc(outputs + 1, sizeof *j->outputs);
    j->paths = calloc(outputs + 1, sizeof *j->paths);
    j->parts = calloc(outputs + 1, sizeof *j->parts);
    if (!j->arrays || !j->inputs || !j->outputs || !j->paths || !j->parts)
        return fail(j, "no memory");
    return refuse_unknown_names(j);
}

static bool read_inputs(job *j) {
    for (uint32_t i = 0; i < hr_model_inputs(j->model); i++) {
        const hr_port *port = hr_model_input(j->model, i);
        const char *path;
        if (!find_pair(j, true, port, &path))
            return false;
        if (!path)
            return fail(j, "%s: input '%s' is missing; give it by --input %s=FILE.npy", j->options.model, port->name,
                        port->name);
        if (npy_read(path, port->dtype, &j->arrays[i], &j->error))
            return false;
        j->inputs[i] = j->arrays[i].value;
    }
    return true;
}

static char *joined(const char *a, const char *b, const char *c) {
    size_t bytes = strlen(a) + strlen(b) + strlen(c) + 1;
    char *text = malloc(bytes);
    if (text)
        snprintf(text, bytes, "%s%s%s", a, b, c);
    return text;
}

/* "DIR/NAME.npy", with a name's slashes as underscores so that it stays one file in DIR. */
static char *path_in_dir(const char *dir, const char *name) {
    char *path = joined(dir, "/", name), *whole = NULL;
    if (path) {
        for (char *c = path + strlen(dir) + 1; *c; c++)
            *c = *c == '/' ? '_' : *c;
        whole = joined(path, ".npy", "");
    }
    free(path);
    return whole;
}

static bool name_outputs(job *j) {
    bool any = false;
    for (uint32_t i = 0; i < hr_model_outputs(j->model); i++) {
        const hr_port *port = hr_model_output(j->model, i);
        const char *path;
        if (!find_pair(j, false, port, &path))
            return false;
        if (!path && !j->options.output_dir)
            continue;
        j->paths[i] = path ? joined(path, "", "") : path_in_dir(j->options.output_dir, port->name);
        if (!j->paths[i])
            return fail(j, "no memory");
        any = true;
    }
    return any ? true : fail(j, "no output is asked for; expected --output NAME=FILE.npy or --output-dir DIR");
}

static bool write_outputs(job *j) {
    uint32_t outputs = hr_model_outputs(j->model);
    for (uint32_t i = 0; i < outputs; i++) {
        if (!j->paths[i])
            continue;
        char suffix[32];
        snprintf(suffix, sizeof suffix, ".part%ld", (long)getpid());
        if (!(j->parts[i] = joined(j->paths[i], suffix, "")))
            return fail(j, "no memory");
        if (npy_write(j->parts[i], j->paths[i], &j->outputs[i], &j->error))
            return false;
    }
    for (uint32_t i = 0; i < outputs; i++) {
        if (!j->parts[i])
            continue;
        if (rename(j->parts[i], j->paths[i]))
            return fail(j, "%s: cannot be written: %s", j->paths[i], strerror(errno));
        free(j->parts[i]);
        j->parts[i] = NULL;
    }
    return true;
}

/* An output lent by the session is lent anew for each run. */
static bool run_model(job *j) {
    for (unsigned left = j->options.runs; left; left--) {
        memset(j->outputs, 0, (hr_model_outputs(j->model) + 1) * sizeof *j->outputs);
        if (hr_run(j->session, j->inputs, j->outputs, &j->error))
            return false;
    }
    return true;
}

static bool run(job *j, int count, char **arguments) {
    if (!parse(j, count, arguments) || !open_model(j) || !name_outputs(j) || !read_inputs(j))
        return false;
    if (!run_model(j) || !write_outputs(j))
        return false;
    printf("ran on %s, by the code for %s\n", hr_model_driver(j->model), hr_model_target(j->model));
    return true;
}

static void clean(job *j) {
    for (uint32_t i = 0; j->parts && i < hr_model_outputs(j->model); i++) {
        if (j->parts[i])
            unlink(j->parts[i]);
        free(j->parts[i]);
    }
    for (uint32_t i = 0; j->paths && i < hr_model_outputs(j->model); i++)
        free(j->paths[i]);
    for (uint32_t i = 0; j->arrays && i < hr_model_inputs(j->model); i++)
        npy_free(&j->arrays[i]);
    free(j->parts), free(j->paths), free(j->arrays), free(j->inputs), free(j->outputs), free(j->options.pairs);
    free(j->options.drivers);
    hr_session_close(j->session);
    hr_model_close(j->model);
}

int main(int count, char **arguments) {
    if (count == 2 && (!strcmp(arguments[1], "--help") || !strcmp(arguments[1], "-h"))) {
        fputs(usage, stdout);
        return 0;
    }
    if (count == 2 && !strcmp(arguments[1], "--version")) {
        printf("headrace-run %s\n", hr_version());
        return 0;
    }
    job j = {0};
    bool ok = run(&j, count, arguments);
    if (!ok)
        fprintf(stderr, "headrace-run: %s\n", j.error.message);
    clean(&j);
    return ok ? 0 : 2;
}
