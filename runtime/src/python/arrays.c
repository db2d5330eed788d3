/* arrays.c: views of Python's buffers as values, and results as Python has them. */
#include "arrays.h"

#include <string.h>

/* Does the buffer's element have the port's dtype?  What buffers cannot say comes as unsigned integers as wide. */
static bool has_dtype(const Py_buffer *view, uint32_t dtype) {
    static const char *const formats[] = {
        [HR_F64] = "d",  [HR_F32] = "f", [HR_F16] = "e",  [HR_BF16] = "H", [HR_I64] = "lq", [HR_I32] = "il",
        [HR_I16] = "h",  [HR_I8] = "b",  [HR_U64] = "LQ", [HR_U32] = "IL", [HR_U16] = "H",  [HR_U8] = "B",
        [HR_BOOL] = "?", [HR_F8E4M3FN] = "B", [HR_F8E4M3FNUZ] = "B", [HR_F8E5M2] = "B", [HR_F8E5M2FNUZ] = "B",
        [HR_F8E8M0FNU] = "B", [HR_F4E2M1FN] = "B", [HR_I4] = "B", [HR_U4] = "B", [HR_I2] = "B", [HR_U2] = "B",
    };
    const char *format = view->format ? view->format : "B";
    format += format[0] == '@' || format[0] == '=' || format[0] == '<';
    return format[0] && !format[1] && strchr(formats[dtype], format[0]) &&
           (size_t)view->itemsize == hr_dtype_bytes(dtype);
}

bool hr_call_begin(hr_call *c, Py_ssize_t count) {
    c->count = count;
    c->held = 0;
    c->views = c->few_views;
    c->values = c->few_values;
    if (count > 2 * FEW) {
        c->views = PyMem_Calloc((size_t)count, sizeof *c->views);
        c->values = PyMem_Calloc((size_t)count, sizeof *c->values);
        if (!c->views || !c->values) {
            PyErr_NoMemory();
            return false;
        }
    }
    return true;
}

void hr_call_end(hr_call *c) {
    for (Py_ssize_t i = 0; i < c->held; i++)
        if (c->views[i].obj)
            PyBuffer_Release(&c->views[i]);
    if (c->count > 2 * FEW) {
        PyMem_Free(c->views);
        PyMem_Free(c->values);
    }
}

bool hr_call_view(hr_call *c, Py_ssize_t i, PyObject *array, const hr_port *port, bool is_input) {
    Py_buffer *view = &c->views[i];
    hr_value *value = &c->values[i];
    *value = (hr_value){0};
    view->obj = NULL;
    c->held = i + 1;
    if (array == Py_None && !is_input)
        return true;
    int flags = PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (is_input ? 0 : PyBUF_WRITABLE);
    if (PyObject_GetBuffer(array, view, flags)) {
        view->obj = NULL;
        return false;
    }
    if (!has_dtype(view, port->dtype))
        return false;
    _Static_assert(sizeof(Py_ssize_t) == sizeof(int64_t), "shapes are passed as they are");
    value->kind = HR_TENSOR;
    value->dtype = port->dtype;
    bool is_number = is_input && port->rank == 0 && view->len == view->itemsize; /* [16000] is as good as 16000 */
    value->rank = is_number ? 0 : (uint32_t)view->ndim;
    value->dims = (const int64_t *)view->shape;
    value->data = view->buf;
    value->bytes = (uint64_t)view->len;
    if (!is_input && value->bytes == 0)
        value->data = &c->values[i]; /* not lent: an empty array is the caller's too */
    return true;
}

static PyObject *tuple_of_dims(const hr_value *value) {
    PyObject *dims = PyTuple_New(value->rank);
    for (uint32_t j = 0; dims && j < value->rank; j++) {
        PyObject *dim = PyLong_FromLongLong(value->dims[j]);
        if (!dim || PyTuple_SetItem(dims, j, dim)) {
            Py_DECREF(dims);
            return NULL;
        }
    }
    return dims;
}

PyObject *hr_call_results(const hr_call *c, uint32_t inputs, uint32_t outputs) {
    uint32_t given = 0;
    while (given < outputs && c->views[inputs + given].obj)
        given++;
    if (given == outputs)
        return Py_NewRef(Py_None);
    PyObject *results = PyTuple_New(outputs);
    for (uint32_t i = 0; results && i < outputs; i++) {
        const hr_value *output = &c->values[inputs + i];
        PyObject *result;
        if (!c->views[inputs + i].obj) {
            PyObject *bytes = PyByteArray_FromStringAndSize(output->data, (Py_ssize_t)output->bytes);
            PyObject *dims = bytes ? tuple_of_dims(output) : NULL;
            result = dims ? PyTuple_Pack(2, bytes, dims) : NULL;
            Py_XDECREF(bytes);
            Py_XDECREF(dims);
        } else {
            result = Py_NewRef(Py_None);
        }
        if (!result || PyTuple_SetItem(results, i, result)) {
            Py_DECREF(results);
            return NULL;
        }
    }
    return results;
}
