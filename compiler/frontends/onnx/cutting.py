"""Smaller models out of a model.  In: a model with arrays for its inputs, what is known of its values.  Out: the same.

Each function takes a `Cut` and gives another one, or None where there is no such model.  What a node that is left out
would have made becomes an input, or a constant where nodes want to know it while compiling.  Nodes with graphs inside
and calls of functions stay whole; `inlined` and `opened` make them nodes like others.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper
from onnx.inliner import inline_local_functions

from headrace.compiler.frontends.onnx.order import captured_by
from headrace.compiler.frontends.onnx.reading import canonical_domain, read_model
from headrace.compiler.frontends.onnx.tensors import array_of, element_type
from headrace.ir.errors import UnsupportedModelError

Array = np.ndarray[Any, Any]
Sizes = Sequence[int | str]

FEW = 64  # elements of an integer tensor that may well be a shape, axes or sizes


@dataclass(frozen=True)
class Seen:
    """What is known of a value: its element type as numpy has it, dims, and the array if the model was run."""

    dtype: np.dtype[Any]
    dims: tuple[int | str, ...]
    array: Array | None


@dataclass(frozen=True)
class Cut:
    """A model without external data, and arrays for its inputs, by name."""

    proto: ModelProto
    inputs: Mapping[str, Array]

    @property
    def nodes(self) -> Sequence[NodeProto]:
        return list(self.proto.graph.node)

    def content(self) -> bytes:
        return bytes(self.proto.SerializeToString(deterministic=True))


def whole_model(path: Path, shapes: Mapping[str, Sizes]) -> ModelProto:
    """The model with all data inside, dims of inputs as given.  Raises HeadraceError."""
    model = read_model(path)
    graph = model.proto.graph
    for tensor in graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            array = array_of(tensor, f"{model.name}: initializer {tensor.name!r}", model.folder)
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    constants = {t.name for t in graph.initializer}
    declared = [i for i in graph.input if i.name not in constants]
    for value in declared:
        if value.type.WhichOneof("value") != "tensor_type":
            raise UnsupportedModelError(f"{model.name}: input {value.name!r}: no tensor, which cannot be cut down")
        if value.name in shapes:
            value.CopyFrom(_info(value.name, value.type.tensor_type.elem_type, shapes[value.name]))
    del graph.input[:], graph.value_info[:]
    graph.input.extend(declared)
    return model.proto


def declared_inputs(model: ModelProto) -> dict[str, Seen]:
    """Element types and dims of inputs, as far as they are of a known rank."""
    return {i.name: seen for i in model.graph.input if (seen := _declared(i)) is not None}


def is_valid(cut: Cut) -> bool:
    """What onnx's own checker says."""
    try:
        onnx.checker.check_model(cut.proto)
    except (onnx.checker.ValidationError, ValueError):
        return False
    return True


def showing_all(cut: Cut) -> ModelProto:
    """The model with every value between its nodes as an output."""
    model = copy.deepcopy(cut.proto)
    outputs = {o.name for o in model.graph.output}
    made = [o for n in model.graph.node for o in n.output if o and o not in outputs]
    model.graph.output.extend(ValueInfoProto(name=name) for name in dict.fromkeys(made))
    return model


def inferred(cut: Cut) -> dict[str, Seen]:
    """What ONNX's own inference says of values, for models that are not imported."""
    found = onnx.shape_inference.infer_shapes(cut.proto).graph
    return {v.name: seen for v in (*found.value_info, *found.output) if (seen := _declared(v)) is not None}


def _declared(value: ValueInfoProto) -> Seen | None:
    kind = value.type.tensor_type
    dtype = element_type(kind.elem_type)
    if dtype is None or not kind.HasField("shape"):
        return None
    dims = [d.dim_value or d.dim_param or f"{value.name}_{i}" for i, d in enumerate(kind.shape.dim)]
    return Seen(np.dtype(dtype.numpy), tuple(dims), None)


# ---- nodes ---------------------------------------------------------------------------------------------------


def keeping(cut: Cut, numbers: Sequence[int], seen: Mapping[str, Seen], outputs: bool = False) -> Cut | None:
    """Only these nodes.  Results are what none of them takes, with `outputs` also those of the model that they make."""
    graph = cut.proto.graph
    nodes = [graph.node[n] for n in numbers]
    made = [o for n in nodes for o in n.output if o]
    used = dict.fromkeys(i for n in nodes for i in (*n.input, *captured_by(n)) if i)
    wanted = {o.name for o in graph.output} if outputs else set()
    declared = {o.name: o for o in graph.output}
    results = [
        _seen_info(name, seen[name]) if name in seen else declared[name]
        for name in made
        if (name not in used or name in wanted) and (name in seen or name in declared)
    ]
    initializers = {t.name: t for t in graph.initializer}
    inputs = {i.name: i for i in graph.input}
    entering = [u for u in used if u not in made and u not in initializers and u not in inputs]
    if not results or any(name not in seen for name in entering):
        return None
    steady = _steady(graph)
    fixed = [n for n in entering if _is_better_fixed(seen[n], n in steady)]
    arrays = {n: a for n in entering if n not in fixed and (a := seen[n].array) is not None}
    arrays |= {n: a for n, a in cut.inputs.items() if n in used}
    model = _like(cut.proto, nodes)
    inputs |= {n: _seen_info(n, seen[n]) for n in entering if n not in fixed}
    model.graph.input.extend(inputs[n] for n in used if n in inputs)
    model.graph.output.extend(results)
    model.graph.initializer.extend(initializers[n] for n in used if n in initializers)
    model.graph.initializer.extend(numpy_helper.from_array(_array(seen[n]), n) for n in fixed)
    return Cut(model, arrays)


def _is_better_fixed(seen: Seen, steady: bool) -> bool:
    """Whether a value is to be a constant: it was one in effect, or it may be a shape."""
    if seen.array is None:
        return False
    return steady or (seen.array.dtype.kind in "iub" and seen.array.ndim <= 1 and seen.array.size <= FEW)


def _array(seen: Seen) -> Array:
    assert seen.array is not None
    return seen.array


def _steady(graph: GraphProto) -> set[str]:
    """Values that follow from constants alone."""
    found = {t.name for t in graph.initializer}
    for node in graph.node:
        if all(not i or i in found for i in (*node.input, *captured_by(node))) and "Random" not in node.op_type:
            found.update(node.output)
    return found


def _like(model: ModelProto, nodes: Sequence[NodeProto]) -> ModelProto:
    """A model of these nodes, with the functions that they call, and no inputs and outputs yet."""
    found = ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    found.graph.name = model.graph.name or "reduced"
    found.graph.node.extend(nodes)
    bodies = {(canonical_domain(f.domain), f.name): f for f in model.functions}
    called: dict[tuple[str, str], None] = {}
    todo = list(nodes)
    while todo:
        node = todo.pop()
        key = (canonical_domain(node.domain), node.op_type)
        if key in bodies and key not in called:
            called[key] = None
            todo += bodies[key].node
        todo += [n for a in node.attribute for g in (a.g, *a.graphs) for n in g.node]
    found.functions.extend(body for key, body in bodies.items() if key in called)
    return found


def bypassing(cut: Cut, number: int, seen: Mapping[str, Seen]) -> Iterator[Cut]:
    """Without one node, each of whose users takes an operand of the same type instead."""
    node = cut.nodes[number]
    types = {n: (s.dtype, s.dims) for n, s in seen.items()}
    types |= {i.name: (s.dtype, s.dims) for i in cut.proto.graph.input if (s := _declared(i)) is not None}
    outputs = [o for o in node.output if o]
    if len(outputs) != 1 or outputs[0] not in types or any(o.name in outputs for o in cut.proto.graph.output):
        return
    for operand in dict.fromkeys(node.input):
        if operand and types.get(operand) == types[outputs[0]]:
            model = copy.deepcopy(cut.proto)
            del model.graph.node[number]
            _rename(model.graph, outputs[0], operand)
            simpler = keeping(Cut(model, cut.inputs), range(len(model.graph.node)), seen, outputs=True)
            if simpler is not None:
                yield simpler


def _rename(graph: GraphProto, old: str, new: str) -> None:
    """Whatever takes one value takes another one."""
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name == old:
                node.input[place] = new
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _rename(attribute.g, old, new)
                for output in attribute.g.output:
                    if output.name == old:
                        output.name = new


def without_output(cut: Cut, number: int) -> Cut | None:
    """One output less, and what only it needed."""
    graph = cut.proto.graph
    kept = [o.name for i, o in enumerate(graph.output) if i != number]
    needed = set(kept)
    numbers = []
    for place in reversed(range(len(graph.node))):
        node = graph.node[place]
        if needed.intersection(node.output):
            needed.update(node.input, captured_by(node))
            numbers.append(place)
    model = copy.deepcopy(cut.proto)
    del model.graph.output[number]
    outputs = list(model.graph.output)
    simpler = keeping(Cut(model, cut.inputs), numbers[::-1], {o.name: s for o in outputs if (s := _declared(o))}, True)
    if simpler is None:
        return None
    del simpler.proto.graph.output[:]
    simpler.proto.graph.output.extend(outputs)
    return simpler


def inlined(cut: Cut) -> Cut | None:
    """Bodies in place of calls of the model's own functions."""
    if not cut.proto.functions:
        return None
    return Cut(inline_local_functions(cut.proto), cut.inputs)


def opened(cut: Cut, number: int) -> Iterator[Cut]:
    """The nodes of a branch in place of an If."""
    node = cut.nodes[number]
    if node.op_type != "If":
        return
    for attribute in node.attribute:
        branch = copy.deepcopy(attribute.g)
        inner = list(branch.node)
        for mine, its in zip(node.output, branch.output, strict=False):
            if mine:
                inner.append(helper.make_node("Identity", [its.name], [mine], f"{node.name or 'if'}_{mine}"))
        model = copy.deepcopy(cut.proto)
        nodes = [*model.graph.node[:number], *inner, *model.graph.node[number + 1 :]]
        del model.graph.node[:]
        model.graph.node.extend(nodes)
        model.graph.initializer.extend(branch.initializer)
        yield Cut(model, cut.inputs)


# ---- dims and numbers ----------------------------------------------------------------------------------------


def with_static_dims(cut: Cut) -> Cut | None:
    """The dims that the arrays have, in place of symbols."""
    model = copy.deepcopy(cut.proto)
    for value in model.graph.input:
        if value.name not in cut.inputs:
            return None
        array = cut.inputs[value.name]
        value.CopyFrom(_info(value.name, value.type.tensor_type.elem_type, array.shape))
    _forget_dims(model)
    return Cut(model, cut.inputs)


def _forget_dims(model: ModelProto) -> None:
    """Outputs keep their ranks, and say no more."""
    for output in model.graph.output:
        for dim in output.type.tensor_type.shape.dim:
            dim.Clear()


def with_output_types(cut: Cut, seen: Mapping[str, Seen]) -> Cut:
    """What is known of the outputs, as ONNX wants them declared."""
    model = copy.deepcopy(cut.proto)
    for output in model.graph.output:
        if output.name in seen:
            output.CopyFrom(_seen_info(output.name, seen[output.name]))
    return Cut(model, cut.inputs)


def sizes(cut: Cut) -> list[int]:
    """Dims of inputs and constants, the largest first, without those of 1."""
    arrays = [*cut.inputs.values(), *(a for _, a in constants(cut))]
    return sorted({d for a in arrays for d in a.shape if d > 1}, reverse=True)


def resized(cut: Cut, size: int, to: int) -> Cut:
    """Every dim of this size, and every integer constant and attribute that says it, smaller."""
    model = copy.deepcopy(cut.proto)
    inputs = {n: _cropped(a, size, to) for n, a in cut.inputs.items()}
    for tensor in model.graph.initializer:
        array = np.asarray(numpy_helper.to_array(tensor))
        cropped = _cropped(array, size, to)
        if cropped.dtype == np.int64 and cropped.ndim <= 1 and cropped.size <= FEW:
            cropped = np.where(cropped == size, to, cropped)
        tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(cropped).reshape(cropped.shape), tensor.name))
    for value in model.graph.input:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_value == size:
                dim.dim_value = to
    _forget_dims(model)
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name in ("hidden_size", "kernel_shape", "group"):
                if attribute.i == size:
                    attribute.i = to
                for place, number in enumerate(attribute.ints):
                    if number == size:
                        attribute.ints[place] = to
    return Cut(model, inputs)


def _cropped(array: Array, size: int, to: int) -> Array:
    return array[tuple(slice(0, to) if d == size else slice(None) for d in array.shape)]


def constants(cut: Cut) -> list[tuple[str, Array]]:
    """Initializers, by name."""
    return [(t.name, np.asarray(numpy_helper.to_array(t))) for t in cut.proto.graph.initializer]


def with_array(cut: Cut, name: str, array: Array) -> Cut:
    """Other numbers in an input or a constant."""
    if name in cut.inputs:
        return Cut(cut.proto, {**cut.inputs, name: array})
    model = copy.deepcopy(cut.proto)
    for tensor in model.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(numpy_helper.from_array(array, name))
    return Cut(model, cut.inputs)


def _seen_info(name: str, seen: Seen) -> ValueInfoProto:
    return _info(name, int(helper.np_dtype_to_tensor_dtype(seen.dtype)), seen.dims)


def _info(name: str, kind: int, dims: Sizes) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, list(dims))
