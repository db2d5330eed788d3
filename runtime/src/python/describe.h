/* describe.h: what the runtime tells of a model and its runs, as Python's objects.  Each returns a new one, or NULL and an
** exception. */
#ifndef HR_DESCRIBE_H
#define HR_DESCRIBE_H

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>

#include "headrace.h"
#include "recorder.h"

/* The names of the inputs, then of the outputs: a tuple. */
PyObject *hr_describe_names(const hr_model *model);

/* (target, driver, threads, inputs, outputs); a port is (name, dtype, dims). */
PyObject *hr_describe_model(const hr_model *model, const hr_session *session);

/* (the newest records since the last look, how many older ones were lost) */
PyObject *hr_describe_records(hr_recorder *r);

#endif
