/* face.c: headrace.runtime._face, the C half of the Python face, on the stable ABI of Python 3.11.
**
** One type, Session(path, threads, record, device, drivers): an open model with one session, and what it did if `record`
** is true; `drivers` are paths of shared libraries, as bytes, or addresses of drivers.
** Arguments are tuples in the signature's order, arrays anything that gives a C-contiguous buffer; other arrays, numpy
** and what to say of a wrong name are the Python half's business (runtime/python).  `run_direct` takes the caller's own
** dicts where they need none of that, which is nearly always: a small model runs for ten microseconds.
** The interpreter's lock is released while a model is opened, verified and run.
** Every failure is raised as _face.Error(status, message), which the Python half turns into its own exceptions. */
#include "arrays.h"
#include "describe.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

typedef struct session_object {
    PyObject_HEAD
    hr_model *model;
    hr_session *session;
    PyObject *names;       /* of the inputs, then of the outputs: a tuple */
    hr_recorder *recorder; /* NULL unless asked for */
    unsigned running;      /* calls in hr_run; guarded by the interpreter's lock */
} session_object;

static PyObject *error_type(PyTypeObject *type) {
    PyObject *module = PyType_GetModule(type);
    return module ? PyObject_GetAttrString(module, "Error") : NULL;
}

static PyObject *raise_for(PyObject *self, hr_status status, const char *message) {
    PyObject *type = error_type(Py_TYPE(self));
    /* Names in messages come from a file: bytes that are no UTF-8 must not hide the message. */
    PyObject *text = PyUnicode_DecodeUTF8(message, (Py_ssize_t)strlen(message), "replace");
    PyObject *arguments = type && text ? Py_BuildValue("(iO)", (int)status, text) : NULL;
    if (arguments)
        PyErr_SetObject(type, arguments);
    Py_XDECREF(arguments);
    Py_XDECREF(text);
    Py_XDECREF(type);
    return NULL;
}

static bool start_recorder(session_object *self, hr_model_options *model, hr_session_options *session) {
    self->recorder = PyMem_Calloc(1, sizeof *self->recorder);
    if (!self->recorder)
        return false;
    model->allocator = hr_recorder_allocator(self->recorder);
    session->profile = hr_recorder_launch;
    session->profile_context = self->recorder;
    return true;
}

enum { MOST_DRIVERS = 16 };

/* Loads the driver of each path, takes those that are addresses, and opens the model with them. */
static hr_status open_model(const char *name, PyObject *paths, hr_model_options *options, hr_model **model,
                            hr_error *error) {
    const struct hr_driver *drivers[MOST_DRIVERS];
    const char *texts[MOST_DRIVERS];
    Py_ssize_t count = PyTuple_Size(paths);
    for (Py_ssize_t i = 0; i < count && i < MOST_DRIVERS; i++) {
        PyObject *item = PyTuple_GetItem(paths, i);
        bool is_address = PyLong_Check(item);
        drivers[i] = is_address ? PyLong_AsVoidPtr(item) : NULL;
        texts[i] = is_address ? NULL : PyBytes_AsString(item);
    }
    hr_status status = HR_OK;
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t i = 0; i < count && i < MOST_DRIVERS && !status; i++)
        status = texts[i] ? hr_driver_load(texts[i], &drivers[i], error) : HR_OK;
    options->drivers = drivers;
    options->driver_count = (uint32_t)(count < MOST_DRIVERS ? count : MOST_DRIVERS);
    if (!status)
        status = hr_model_open(name, options, model, error);
    Py_END_ALLOW_THREADS
    return status;
}

static PyObject *new_session(PyTypeObject *type, PyObject *arguments, PyObject *keywords) {
    PyObject *path;
    unsigned threads;
    int record;
    const char *device;
    PyObject *paths;
    (void)keywords;
    if (!PyArg_ParseTuple(arguments, "O&IpzO!", PyUnicode_FSConverter, &path, &threads, &record, &device, &PyTuple_Type,
                          &paths))
        return NULL;
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    session_object *self = (session_object *)allocate(type, 0);
    if (self) {
        hr_error error = {0};
        hr_status status;
        hr_model_options model_options = {.size = sizeof model_options, .device = device};
        hr_session_options options = {.size = sizeof options, .threads = threads};
        const char *name = PyBytes_AsString(path);
        if (record && !start_recorder(self, &model_options, &options)) {
            Py_DECREF(self);
            Py_DECREF(path);
            return PyErr_NoMemory();
        }
        status = open_model(name, paths, &model_options, &self->model, &error);
        Py_BEGIN_ALLOW_THREADS
        if (!status)
            status = hr_session_open(self->model, &options, &self->session, &error);
        Py_END_ALLOW_THREADS
        if (status) {
            raise_for((PyObject *)self, status, error.message);
            Py_DECREF(self);
            self = NULL;
        } else if (!(self->names = hr_describe_names(self->model))) {
            Py_DECREF(self);
            self = NULL;
        }
    }
    Py_DECREF(path);
    return (PyObject *)self;
}

static void delete_session(PyObject *object) {
    session_object *self = (session_object *)object;
    PyTypeObject *type = Py_TYPE(object);
    hr_session_close(self->session);
    hr_model_close(self->model);
    Py_XDECREF(self->names);
    PyMem_Free(self->recorder);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(object);
    Py_DECREF(type);
}

static PyObject *describe(PyObject *object, PyObject *unused) {
    const session_object *self = (const session_object *)object;
    (void)unused;
    return hr_describe_model(self->model, self->session);
}

static bool take_array(PyObject *self, hr_call *c, Py_ssize_t i, PyObject *array, const hr_port *port, bool is_input) {
    if (hr_call_view(c, i, array, port, is_input))
        return true;
    if (PyErr_Occurred())
        return false;
    char message[256];
    const char *format = c->views[i].format;
    snprintf(message, sizeof message, "%s '%s': has elements of format '%s', expected %s",
             is_input ? "input" : "output", port->name, format ? format : "B", hr_dtype_name(port->dtype));
    raise_for(self, HR_SHAPE, message);
    return false;
}

/* Runs what has been taken. */
static PyObject *run_call(PyObject *object, hr_call *c) {
    session_object *self = (session_object *)object;
    uint32_t inputs = hr_model_inputs(self->model), outputs = hr_model_outputs(self->model);
    hr_error error = {0};
    hr_status status;
    self->running++;
    Py_BEGIN_ALLOW_THREADS
    status = hr_run(self->session, c->values, c->values + inputs, &error);
    Py_END_ALLOW_THREADS
    self->running--;
    if (status)
        return raise_for(object, status, error.message);
    return hr_call_results(c, inputs, outputs);
}

static bool take_all(PyObject *object, hr_call *c, PyObject *inputs, PyObject *outputs) {
    const hr_model *model = ((session_object *)object)->model;
    uint32_t input_count = hr_model_inputs(model), output_count = hr_model_outputs(model);
    for (uint32_t i = 0; i < input_count; i++)
        if (!take_array(object, c, i, PyTuple_GetItem(inputs, i), hr_model_input(model, i), true))
            return false;
    for (uint32_t i = 0; i < output_count; i++)
        if (!take_array(object, c, input_count + i, PyTuple_GetItem(outputs, i), hr_model_output(model, i), false))
            return false;
    return true;
}

/* run(inputs, outputs): a tuple of arrays, and a tuple of arrays or None. */
static PyObject *run(PyObject *object, PyObject *const *arguments, Py_ssize_t count) {
    const session_object *self = (const session_object *)object;
    Py_ssize_t inputs = hr_model_inputs(self->model), outputs = hr_model_outputs(self->model);
    if (count != 2 || !PyTuple_Check(arguments[0]) || !PyTuple_Check(arguments[1]) ||
        PyTuple_Size(arguments[0]) != inputs || PyTuple_Size(arguments[1]) != outputs) {
        PyErr_SetString(PyExc_TypeError, "run: expected a tuple of all inputs and a tuple of all outputs");
        return NULL;
    }
    hr_call c;
    PyObject *result = NULL;
    if (hr_call_begin(&c, inputs + outputs) && take_all(object, &c, arguments[0], arguments[1]))
        result = run_call(object, &c);
    hr_call_end(&c);
    return result;
}

/* Takes arrays by name; false, and no exception, where a name or an array is not as it must be. */
static bool take_named(const session_object *self, hr_call *c, PyObject *inputs, PyObject *outputs) {
    uint32_t input_count = hr_model_inputs(self->model), output_count = hr_model_outputs(self->model);
    if (PyDict_Size(inputs) != input_count || (outputs != Py_None && PyDict_Size(outputs) != output_count))
        return false;
    for (uint32_t i = 0; i < input_count + output_count; i++) {
        bool is_input = i < input_count;
        const hr_port *port =
            is_input ? hr_model_input(self->model, i) : hr_model_output(self->model, i - input_count);
        PyObject *given = is_input ? inputs : outputs;
        PyObject *array =
            given == Py_None ? Py_None : PyDict_GetItemWithError(given, PyTuple_GetItem(self->names, i));
        /* These come as arrays of ml_dtypes, which have no buffer of their own, never as unsigned integers. */
        bool foreign = port->dtype == HR_BF16 || port->dtype > HR_BOOL;
        if (!array || (array == Py_None) != (given == Py_None) || (foreign && array != Py_None) ||
            !hr_call_view(c, i, array, port, is_input)) {
            PyErr_Clear();
            return false;
        }
    }
    return true;
}

/* run_direct(inputs, outputs): dicts of arrays as C needs them, all outputs or None; else NotImplemented, and nothing
** has happened. */
static PyObject *run_direct(PyObject *object, PyObject *const *arguments, Py_ssize_t count) {
    const session_object *self = (const session_object *)object;
    Py_ssize_t ports = (Py_ssize_t)hr_model_inputs(self->model) + hr_model_outputs(self->model);
    if (count != 2 || !PyDict_Check(arguments[0]) || !(PyDict_Check(arguments[1]) || arguments[1] == Py_None))
        return Py_NewRef(Py_NotImplemented);
    hr_call c;
    PyObject *result = NULL;
    if (hr_call_begin(&c, ports))
        result = take_named(self, &c, arguments[0], arguments[1]) ? run_call(object, &c) : Py_NewRef(Py_NotImplemented);
    hr_call_end(&c);
    return result;
}

static PyObject *needed_for(PyObject *object, PyObject *shapes, hr_value *values, int64_t *dims, size_t room) {
    session_object *self = (session_object *)object;
    for (uint32_t i = 0; i < hr_model_inputs(self->model); i++) {
        PyObject *shape = PyTuple_GetItem(shapes, i);
        Py_ssize_t rank = shape ? PyTuple_Size(shape) : -1;
        if (rank < 0)
            return NULL;
        if ((size_t)rank > room) {
            PyErr_SetString(PyExc_ValueError, "memory_needed: too many dims");
            return NULL;
        }
        values[i] = (hr_value){.kind = HR_TENSOR, .rank = (uint32_t)rank, .dims = dims};
        for (Py_ssize_t j = 0; j < rank; j++) {
            *dims++ = PyLong_AsLongLong(PyTuple_GetItem(shape, j));
            if (PyErr_Occurred())
                return NULL;
        }
        room -= (size_t)rank;
    }
    hr_error error = {0};
    uint64_t bytes;
    hr_status status = hr_memory_needed(self->session, values, &bytes, &error);
    return status ? raise_for(object, status, error.message) : PyLong_FromUnsignedLongLong(bytes);
}

/* memory_needed(shapes): a tuple of a tuple of dims for each input. */
static PyObject *memory_needed(PyObject *object, PyObject *shapes) {
    const session_object *self = (const session_object *)object;
    size_t count = hr_model_inputs(self->model), room = 64 * (count + 1);
    if (!PyTuple_Check(shapes) || (size_t)PyTuple_Size(shapes) != count) {
        PyErr_SetString(PyExc_TypeError, "memory_needed: expected a tuple of the shapes of all inputs");
        return NULL;
    }
    hr_value *values = PyMem_Calloc(count + 1, sizeof *values);
    int64_t *dims = PyMem_Calloc(room, sizeof *dims);
    PyObject *result = values && dims ? needed_for(object, shapes, values, dims, room) : PyErr_NoMemory();
    PyMem_Free(values);
    PyMem_Free(dims);
    return result;
}

static PyObject *verify(PyObject *object, PyObject *unused) {
    const session_object *self = (const session_object *)object;
    hr_error error = {0};
    hr_status status;
    (void)unused;
    Py_BEGIN_ALLOW_THREADS
    status = hr_model_verify(self->model, &error);
    Py_END_ALLOW_THREADS
    return status ? raise_for(object, status, error.message) : Py_NewRef(Py_None);
}

/* Is there a recorder, and does it rest?  Else raises. */
static bool can_look(PyObject *object) {
    const session_object *self = (const session_object *)object;
    if (!self->recorder)
        raise_for(object, HR_INVALID, "this session records nothing; load it with record=True");
    else if (self->running)
        raise_for(object, HR_BUSY, "this session is running; look at its records when it has ended");
    return !PyErr_Occurred();
}

static PyObject *take_records(PyObject *object, PyObject *unused) {
    (void)unused;
    if (!can_look(object))
        return NULL;
    return hr_describe_records(((session_object *)object)->recorder);
}

static PyObject *memory_taken(PyObject *object, PyObject *unused) {
    (void)unused;
    if (!can_look(object))
        return NULL;
    hr_recorder *r = ((session_object *)object)->recorder;
    return Py_BuildValue("(KKK)", atomic_load(&r->takes), atomic_load(&r->held), atomic_load(&r->peak));
}

/* Casts through a pointer to no particular function, as both compilers want it for METH_FASTCALL. */
#define METHOD(function) ((PyCFunction)(void (*)(void))(function))

static PyMethodDef methods[] = {
    {"describe", describe, METH_NOARGS, "(target, threads, inputs, outputs); a port is (name, dtype, dims)"},
    {"run", METHOD(run), METH_FASTCALL, "run(inputs, outputs) -> None, or for each output None or (bytearray, dims)"},
    {"run_direct", METHOD(run_direct), METH_FASTCALL,
     "run_direct(inputs, outputs) -> the same for dicts, or NotImplemented where C cannot take them as they are"},
    {"memory_needed", memory_needed, METH_O, "memory_needed(shapes) -> bytes"},
    {"take_records", take_records, METH_NOARGS, "([(kernel, nodes, kernel index, launch index, thread, tasks, flops, "
                                                "bytes, begin ns, end ns), ...], how many were lost)"},
    {"memory_taken", memory_taken, METH_NOARGS, "(allocations so far, bytes held, most bytes ever held)"},
    {"verify", verify, METH_NOARGS, "check the hashes of constants and the variants for other machines"},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_new, (void *)new_session},
    {Py_tp_dealloc, (void *)delete_session},
    {Py_tp_methods, methods},
    {0, NULL},
};

static PyType_Spec spec = {
    .name = "headrace.runtime._face.Session",
    .basicsize = sizeof(session_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = slots,
};

static int fill_module(PyObject *module) {
    PyObject *error = PyErr_NewException("headrace.runtime._face.Error", NULL, NULL);
    PyObject *type = PyType_FromModuleAndSpec(module, &spec, NULL);
    int failed = !error || !type || PyModule_AddObjectRef(module, "Error", error) ||
                 PyModule_AddObjectRef(module, "Session", type) ||
                 PyModule_AddStringConstant(module, "version", hr_version());
    Py_XDECREF(error);
    Py_XDECREF(type);
    return failed ? -1 : 0;
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, (void *)fill_module}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_face",
    .m_doc = "The C half of headrace.runtime.python.",
    .m_slots = module_slots,
};

PyMODINIT_FUNC PyInit__face(void);
PyMODINIT_FUNC PyInit__face(void) {
    return PyModuleDef_Init(&definition);
}
