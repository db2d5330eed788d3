"""ONNX models with something wrong: what `fuzz_models` compiles.

In: models, a seed, a number.  Out: the bytes of one of them, damaged as bytes or as a message that still parses.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from math import prod
from random import Random

import odd_models
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, TypeProto, ValueInfoProto, helper

NUMBERS = (0, 1, -1, 2, 3, 7, 64, 255, 2**31 - 1, -(2**31), 2**31, 2**40, 2**62, 2**63 - 1, -(2**63))
NAMES = ("", "x", "y", "a\nb", "\x00", "ü", "x" * 5000, "/etc/passwd", "../../x", "%0", "@main")

# There is nothing of the kind in the model, or it cannot hold that.
NO_CHANGE = (IndexError, KeyError, TypeError, ValueError)
Draw = Random  # what a change draws from


def damaged(originals: Sequence[bytes], seed: int, number: int) -> bytes:
    """One damaged model."""
    draw = Random(f"{seed} {number}")
    data: bytes = draw.choice(originals)
    if draw.random() < 0.25:
        return _bytes_changed(data, draw)
    model = ModelProto.FromString(data)
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        with contextlib.suppress(*NO_CHANGE):
            draw.choice(CHANGES)(model, draw, originals)
    changed: bytes = model.SerializeToString()
    return changed


def _bytes_changed(data: bytes, draw: Draw) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 4))):
        at = draw.randrange(len(changed) + 1)
        match draw.randrange(4):
            case 0:
                del changed[at:]
            case 1:
                del changed[at : at + draw.randrange(1, 40)]
            case 2:
                changed[at:at] = changed[: draw.randrange(1, 40)]
            case _:
                changed[at : at + 1] = bytes([draw.randrange(256)])
    return bytes(changed)


# ---- changes of a model that is still a message ------------------------------------------------------------------


def _node(model: ModelProto, draw: Draw) -> NodeProto:
    node: NodeProto = draw.choice(list(model.graph.node))
    return node


def _names(graph: GraphProto) -> list[str]:
    ports = [v.name for v in (*graph.input, *graph.output, *graph.initializer)]
    return [*ports, *(n for node in graph.node for n in (*node.input, *node.output)), ""]


def _value(model: ModelProto, draw: Draw) -> ValueInfoProto:
    value: ValueInfoProto = draw.choice([*model.graph.input, *model.graph.output, *model.graph.value_info])
    return value


def _tensor(model: ModelProto, draw: Draw) -> TensorProto:
    held = [a.t for n in model.graph.node for a in n.attribute if a.type == AttributeProto.TENSOR]
    tensor: TensorProto = draw.choice([*model.graph.initializer, *held])
    return tensor


def _other_operator(model: ModelProto, draw: Draw, originals: Sequence[bytes]) -> None:
    other = _node(ModelProto.FromString(draw.choice(originals)), draw)
    node = _node(model, draw)
    node.op_type, node.domain = other.op_type, other.domain
    if draw.random() < 0.5:
        del node.attribute[:]
        node.attribute.extend(other.attribute)


def _odd_name(model: ModelProto, draw: Draw, originals: Sequence[bytes]) -> None:
    node = _node(model, draw)
    match draw.randrange(4):
        case 0:
            node.op_type = draw.choice(NAMES)
        case 1:
            node.domain = draw.choice((*NAMES, "ai.onnx", "ai.onnx.ml", "com.microsoft"))
        case 2:
            node.name = draw.choice(NAMES)
        case _:
            _value(model, draw).name = draw.choice(NAMES)


def _other_operand(model: ModelProto, draw: Draw, originals: Sequence[bytes]) -> None:
    """Operands that are missing, of another type, defined twice, or go in a circle."""
    node, names = _node(model, draw), _names(model.graph)
    field = node.output if draw.random() < 0.3 else node.input
    match draw.randrange(3):
        case 0:
            field.append(draw.choice(names))
        case 1:
            del field[draw.randrange(len(field) + 1) :]
        case _:
            field[draw.randrange(len(field))] = draw.choice((*names, draw.choice(NAMES)))


def _other_attribute(model: ModelProto, draw: Draw, originals: Sequence[bytes]) -> None:
    node = _node(model, draw)
    if draw.random() < 0.2:
        other = _node(ModelProto.FromString(draw.choice(originals)), draw)
        node.attribute.extend(other.attribute)
        return
    attribute = draw.choice(list(node.attribute))
    name = attribute.name
    value = draw.choice(
        (
            draw.choice(NUMBERS), float(draw.choice(NUMBERS)), float("nan"), draw.choice(NAMES), b"\xff\xfe",
            [draw.choice(NUMBERS) for _ in range(draw.randrange(6))], [0.5], ["a", "b"], model.graph,
            helper.make_tensor("t", TensorProto.INT64, [2], [1, 2]),
        )
    )  # fmt: skip
    match draw.randrange(3):
        case 0:
            node.attribute.remove(attribute)
        case 1 if len(attribute.ints):
            attribute.ints[draw.randrange(len(attribute.ints))] = draw.choice(NUMBERS)
        case _:
            kind = AttributeProto.INTS if value == [] else None
            attribute.CopyFrom(helper.make_attribute(name, value, attr_type=kind))


def _other_dims(model: ModelProto, draw: Draw, originals: Sequence[bytes]) -> None:
    kind = _value(model, draw).type.tensor_type
    match draw.randrange(5):
        case 0:
            kind.elem_type = draw.choice((*range(28), 99, -1))
        case 1:
            kind.shape.dim.add().dim_value = draw.choice(NUMBERS)
        case 2:
            del kind.shape.dim[draw.randrange(len(kind.shape.dim)) :]
        case 3:
            draw.choice(list(kind.shape.dim)).dim_param = draw.choice((*NAMES, "n", "n + 1", "n*", "0", "-1"))
        case _:
            draw.choice(list(kind.shape.dim)).dim_value = draw.choice(NUMBERS)


def _other_weights(model: ModelProto, draw: Draw, originals: Sequence[bytes]) -> None:
    tensor = _tensor(model, draw)
    match draw.randrange(5):
        case 0:
            tensor.data_type = draw.choice((*range(28), 99))
        case 1:
            tensor.dims.append(draw.choice(NUMBERS))
        case 2:
            tensor.dims[draw.randrange(len(tensor.dims))] = draw.choice(NUMBERS)
        case 3:
            tensor.raw_data = tensor.raw_data[: draw.randrange(len(tensor.raw_data) + 1)]
        case _:
            tensor.data_location = TensorProto.EXTERNAL
            location = draw.choice((*NAMES, *[odd_models.BESIDE] * 5, f"../{odd_models.BESIDE}", ".", "/dev/zero"))
            for key, text in (("location", location), ("offset", str(draw.choice(NUMBERS))), ("length", "9")):
                if draw.random() < 0.8:
                    tensor.external_data.add(key=key, value=text)


def _known_input(model: ModelProto, draw: Draw, originals: Sequence[bytes]) -> None:
    """An input becomes a constant: sizes, axes and counts above all are read while compiling."""
    value = draw.choice(list(model.graph.input))
    kind = value.type.tensor_type
    dims = [d.dim_value or 2 for d in kind.shape.dim]
    numbers = draw.choice((NUMBERS[:6], NUMBERS[:6], NUMBERS))
    drawn = [draw.choice(numbers) for _ in range(min(prod(dims), 4096))]
    match kind.elem_type:
        case TensorProto.INT64:
            held = drawn
        case TensorProto.INT32:
            held = [(n + 2**31) % 2**32 - 2**31 for n in drawn]
        case _:
            held = [abs(n) % 2 for n in drawn]
    model.graph.initializer.append(helper.make_tensor(value.name, kind.elem_type, dims, held))
    model.graph.input.remove(value)


def _other_kind(model: ModelProto, draw: Draw, originals: Sequence[bytes]) -> None:
    """A port that is a sequence, an optional, a map, or sparse."""
    value = _value(model, draw)
    content, kind = TypeProto(), TypeProto()
    content.CopyFrom(value.type)
    match draw.randrange(4):
        case 0:
            kind.sequence_type.elem_type.CopyFrom(content)
        case 1:
            kind.optional_type.elem_type.CopyFrom(content)
        case 2:
            kind.map_type.key_type = draw.choice(range(20))
            kind.map_type.value_type.CopyFrom(content)
        case _:
            kind.sparse_tensor_type.elem_type = content.tensor_type.elem_type
    value.type.CopyFrom(kind)


def _other_versions(model: ModelProto, draw: Draw, originals: Sequence[bytes]) -> None:
    match draw.randrange(4):
        case 0:
            model.ir_version = draw.choice(NUMBERS)
        case 1:
            model.opset_import.add(domain=draw.choice(NAMES), version=draw.choice(NUMBERS))
        case 2:
            model.opset_import[draw.randrange(len(model.opset_import))].version = draw.choice((*range(30), *NUMBERS))
        case _:
            del model.opset_import[:]


def _other_graph(model: ModelProto, draw: Draw, originals: Sequence[bytes]) -> None:
    graph = model.graph
    fields = (graph.node, graph.input, graph.output, graph.initializer)
    field = draw.choice([f for f in fields if len(f)])
    match draw.randrange(4):
        case 0:
            del field[draw.randrange(len(field))]
        case 1:
            field.add().CopyFrom(draw.choice(list(field)))
        case 2:
            nodes = list(graph.node)
            draw.shuffle(nodes)
            del graph.node[:]
            graph.node.extend(nodes)
        case _:
            _nest(model, draw.choice((1, 3, 12, 28)))


def _nest(model: ModelProto, depth: int) -> None:
    """The graph as a branch of an If that is a branch of an If."""
    for level in range(depth):
        inner = GraphProto()
        inner.CopyFrom(model.graph)
        del inner.input[:]
        try:
            node = helper.make_node("If", ["c"], [o.name for o in inner.output], then_branch=inner, else_branch=inner)
        except DecodeError:  # deeper than protobuf reads
            return
        if level > 6:  # twice as much at each level would be too much for the test, not for the compiler
            del node.attribute[1:]
        del model.graph.node[:]
        model.graph.node.append(node)


def _own_function(model: ModelProto, draw: Draw, originals: Sequence[bytes]) -> None:
    """A function of the model's own, which calls itself in one of two cases."""
    node = _node(model, draw)
    domain, name = "own", node.op_type
    inputs, outputs = [f"i{i}" for i in range(len(node.input))], [f"o{i}" for i in range(len(node.output))]
    body = helper.make_node(name, inputs, outputs, domain=draw.choice((domain, node.domain)))
    body.attribute.extend(node.attribute)
    function = helper.make_function(domain, name, inputs, outputs, [body], list(model.opset_import))
    model.functions.append(function)
    model.opset_import.add(domain=domain, version=1)
    node.domain = domain


def _functions_of_functions(model: ModelProto, draw: Draw, originals: Sequence[bytes]) -> None:
    """Functions that each call the next one, some twice; the last one calls the first, or nothing."""
    node, count = _node(model, draw), draw.choice((2, 5, 20, 40))
    inputs, outputs = [f"i{i}" for i in range(len(node.input))], [f"o{i}" for i in range(len(node.output))]
    spare = [f"s{i}" for i in range(len(node.output))]
    last = draw.choice((f"f{count - 1}", "f0", "gone"))
    for i in range(count):
        called = last if i == count - 1 else f"f{i + 1}"
        domain, name = ("own", called) if called != f"f{i}" else (node.domain, node.op_type)
        calls = [helper.make_node(name, inputs, outputs, domain=domain)]
        calls += [helper.make_node(name, inputs, spare, domain=domain)] * draw.choice((0, 1))
        imports = [*model.opset_import, helper.make_opsetid("own", 1)]
        model.functions.append(helper.make_function("own", f"f{i}", inputs, outputs, calls, imports))
    model.opset_import.add(domain="own", version=1)
    node.domain, node.op_type = "own", "f0"


def _inside(model: ModelProto, draw: Draw, originals: Sequence[bytes]) -> None:
    """Another change within a branch, a loop's body or a function."""
    inner = ModelProto(opset_import=model.opset_import)
    graphs = [a.g for n in model.graph.node for a in n.attribute if a.type == AttributeProto.GRAPH]
    if graphs and (not model.functions or draw.random() < 0.5):
        place = draw.choice(graphs)
        inner.graph.CopyFrom(place)
        draw.choice(CHANGES)(inner, draw, originals)
        place.CopyFrom(inner.graph)
        return
    function = draw.choice(list(model.functions))
    inner.graph.node.extend(function.node)
    draw.choice(CHANGES)(inner, draw, originals)
    del function.node[:]
    function.node.extend(inner.graph.node)


Change = Callable[[ModelProto, Draw, Sequence[bytes]], None]
CHANGES: tuple[Change, ...] = (
    _other_operator, _odd_name, _other_operand, _other_attribute, _other_dims, _other_weights, _other_versions,
    _other_graph, _own_function, _functions_of_functions, _known_input, _other_kind, _inside, _inside,
)  # fmt: skip
