/* describe.c: text, tuples and lists of what the runtime tells.  Names come from a file: bytes that are no UTF-8 are shown
** as such. */
#include "describe.h"

#include <string.h>

static PyObject *text_of(const char *text) {
    return PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), "replace");
}

PyObject *hr_describe_names(const hr_model *model) {
    uint32_t inputs = hr_model_inputs(model), outputs = hr_model_outputs(model);
    PyObject *names = PyTuple_New((Py_ssize_t)inputs + outputs);
    for (uint32_t i = 0; names && i < inputs + outputs; i++) {
        const hr_port *port = i < inputs ? hr_model_input(model, i) : hr_model_output(model, i - inputs);
        PyObject *name = text_of(port->name);
        if (name)
            PyUnicode_InternInPlace(&name); /* so are the keys of most dicts: then to compare is to look once */
        if (!name || PyTuple_SetItem(names, i, name)) {
            Py_DECREF(names);
            return NULL;
        }
    }
    return names;
}

static PyObject *describe_port(const hr_port *port) {
    PyObject *dims = PyTuple_New(port->rank);
    for (uint32_t i = 0; dims && i < port->rank; i++) {
        PyObject *dim =
            port->dims[i].size >= 0 ? PyLong_FromLongLong(port->dims[i].size) : text_of(port->dims[i].text);
        if (!dim || PyTuple_SetItem(dims, i, dim)) {
            Py_DECREF(dims);
            return NULL;
        }
    }
    return dims ? Py_BuildValue("(NsN)", text_of(port->name), hr_dtype_name(port->dtype), dims) : NULL;
}

static PyObject *describe_ports(const hr_model *model, uint32_t count,
                                const hr_port *(*port_at)(const hr_model *, uint32_t)) {
    PyObject *ports = PyTuple_New(count);
    for (uint32_t i = 0; ports && i < count; i++) {
        PyObject *port = describe_port(port_at(model, i));
        if (!port || PyTuple_SetItem(ports, i, port)) {
            Py_DECREF(ports);
            return NULL;
        }
    }
    return ports;
}

PyObject *hr_describe_model(const hr_model *model, const hr_session *session) {
    return Py_BuildValue("(NNINN)", text_of(hr_model_target(model)), text_of(hr_model_driver(model)),
                         hr_session_threads(session),
                         describe_ports(model, hr_model_inputs(model), hr_model_input),
                         describe_ports(model, hr_model_outputs(model), hr_model_output));
}

static PyObject *describe_record(const hr_record *r) {
    return Py_BuildValue("(NNIIILLLKK)", text_of(r->kernel), text_of(r->nodes), r->kernel_index, r->launch_index,
                         r->thread, (long long)r->tasks, (long long)r->flops, (long long)r->bytes,
                         (unsigned long long)r->begin_ns, (unsigned long long)r->end_ns);
}

PyObject *hr_describe_records(hr_recorder *r) {
    uint64_t kept = r->written < HR_RECORDS ? r->written : HR_RECORDS, lost = r->written - kept;
    PyObject *list = PyList_New((Py_ssize_t)kept);
    for (uint64_t i = 0; list && i < kept; i++) {
        PyObject *record = describe_record(&r->records[(lost + i) % HR_RECORDS]);
        if (!record || PyList_SetItem(list, (Py_ssize_t)i, record)) {
            Py_DECREF(list);
            return NULL;
        }
    }
    r->written = 0;
    return list ? Py_BuildValue("(NK)", list, (unsigned long long)lost) : NULL;
}
