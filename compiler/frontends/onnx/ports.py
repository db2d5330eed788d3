"""Inputs and outputs of a model that are sequences or optionals, as the tensors that a compiled model has for them.

A sequence `x` of three tensors is `x[0]`, `x[1]` and `x[2]`; how many they are is told by the shapes given for them,
and a shape of no dims for `x` itself says that it is empty.  An optional `x` is the tensor `x`, or the tensors of its
sequence, where shapes are given for these, and else empty:

    headrace compile m.onnx --shape 'x[0]=n,3' --shape 'x[1]=m,3'
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count, takewhile
from pathlib import Path

from onnx import TypeProto, ValueInfoProto, helper

from headrace.compiler.frontends.onnx.held import Held, Maybe, Tensors
from headrace.compiler.frontends.onnx.reading import read_model
from headrace.ir.core import Value
from headrace.ir.errors import UnsupportedModelError

Shapes = Mapping[str, Sequence[int | str | None]]


def tensors_of(file: str, value: ValueInfoProto, shapes: Shapes) -> list[ValueInfoProto]:
    """The tensors that an input becomes; itself where it is one.

    Raises UnsupportedModelError for a sequence whose length nothing tells, and for one of sequences.
    """
    kind, name, place = value.type.WhichOneof("value"), value.name, f"{file}: input {value.name!r}"
    if kind == "optional_type":
        content = helper.make_value_info(name, value.type.optional_type.elem_type)
        return tensors_of(file, content, shapes) if _is_there(name, shapes) else []
    if kind != "sequence_type":
        return [value]
    element = value.type.sequence_type.elem_type
    if element.WhichOneof("value") != "tensor_type":
        raise UnsupportedModelError(f"{place}: a sequence of what are no tensors")
    names = list(takewhile(lambda n: n in shapes, (f"{name}[{i}]" for i in count())))
    if not names and tuple(shapes.get(name, ("?",))) != ():
        raise UnsupportedModelError(f"{place}: a sequence; give a shape for each of its elements, '{name}[0]' first")
    return [helper.make_value_info(n, element) for n in names]


def held(value: ValueInfoProto, tensors: Mapping[str, Value], shapes: Shapes) -> Held:
    """What an input stands for, from the tensors that it became."""
    if value.type.WhichOneof("value") != "optional_type":
        return _content(value.type, value.name, tensors)
    is_there = _is_there(value.name, shapes)
    return Maybe(_content(value.type.optional_type.elem_type, value.name, tensors) if is_there else None)


def _is_there(name: str, shapes: Shapes) -> bool:
    return name in shapes or f"{name}[0]" in shapes


def _content(kind: TypeProto, name: str, tensors: Mapping[str, Value]) -> Value | Tensors:
    if kind.WhichOneof("value") != "sequence_type":
        return tensors[name]
    names = takewhile(lambda n: n in tensors, (f"{name}[{i}]" for i in count()))
    return Tensors(tuple(tensors[n] for n in names))


def kinds(path: str | Path) -> tuple[dict[str, str], dict[str, str]]:
    """`tensor`, `sequence`, `optional` or `optional sequence` for each input and each output of a model file."""
    graph = read_model(Path(path)).proto.graph
    constants = {t.name for t in graph.initializer}
    given = [i for i in graph.input if i.name not in constants]
    return {i.name: _kind(i.type) for i in given}, {o.name: _kind(o.type) for o in graph.output}


def _kind(kind: TypeProto) -> str:
    found = str(kind.WhichOneof("value")).removesuffix("_type")
    content = kind.optional_type.elem_type.WhichOneof("value") if found == "optional" else None
    return "optional sequence" if content == "sequence_type" else found
