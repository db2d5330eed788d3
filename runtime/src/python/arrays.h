/* arrays.h: Python's arrays as the runtime's values, for one call.  The stable ABI of Python 3.11. */
#ifndef HR_ARRAYS_H
#define HR_ARRAYS_H

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>

#include "headrace.h"

#include <stdbool.h>

/* The arrays of one call, in memory of their own only where there are many. */
#define FEW 16

typedef struct hr_call {
    Py_ssize_t count;
    Py_ssize_t held; /* views that must be released */
    Py_buffer *views;
    hr_value *values;
    Py_buffer few_views[2 * FEW];
    hr_value few_values[2 * FEW];
} hr_call;

/* Room for `count` arrays; false with an exception where there is none.  hr_call_end is due in either case. */
bool hr_call_begin(hr_call *c, Py_ssize_t count);

/* Gives the arrays back. */
void hr_call_end(hr_call *c);

/* Looks into an array.  False with an exception where it has no such buffer, without one where the dtype is another. */
bool hr_call_view(hr_call *c, Py_ssize_t i, PyObject *array, const hr_port *port, bool is_input);

/* None where all went into the caller's memory; else for each output None where it did, else (bytearray, dims). */
PyObject *hr_call_results(const hr_call *c, uint32_t inputs, uint32_t outputs);

#endif
