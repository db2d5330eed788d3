"""What ONNX itself says of an operator.  In: a node.  Out: what is wrong about it, or its function body.

The schemas are those of the package `onnx`; a node that follows one is right, whether we can import it or not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx
from onnx import AttributeProto, FunctionProto, NodeProto, defs

from headrace.ir.errors import nearest
from headrace.ir.types import DType, TensorType

Schema = Any  # onnx.defs.OpSchema, whose type stub lacks what concerns functions
_NAMES = {"f64": "double", "f32": "float", "f16": "float16", "bf16": "bfloat16", "bool": "bool"}
_NAMES |= {"f4e2m1fn": "float4e2m1", "f8e8m0fnu": "float8e8m0"}


def schema_of(op_type: str, domain: str, opset: int) -> Schema | None:
    """The operator's schema in that version of its domain, or None where there is no such operator."""
    try:
        return defs.get_schema(op_type, opset, domain)
    except (defs.SchemaError, TypeError):  # the latter for a version of more than 32 bits
        return None


def similar(op_type: str, domain: str) -> str:
    """`; did you mean 'Conv'?` where ONNX has an operator of a name much alike."""
    return nearest(op_type, sorted({s.name for s in defs.get_all_schemas() if s.domain == domain}))


def mistake(schema: Schema, node: NodeProto, inputs: Sequence[TensorType | None]) -> str | None:
    """What breaks the schema, or None.  An input that is left out or whose type is not known is None."""
    return _wrong_count(schema, node) or _wrong_attribute(schema, node) or _wrong_type(schema, node, inputs)


def _wrong_count(schema: Schema, node: NodeProto) -> str | None:
    for what, count, low, high in (
        ("inputs", len(node.input), schema.min_input, schema.max_input),
        ("outputs", len(node.output), schema.min_output, schema.max_output),
    ):
        if not low <= count <= high:
            expected = str(low) if low == high else f"at least {low}" if count < low else f"at most {high}"
            return f"{count} {what}, expected {expected}"
    for number, name in enumerate(node.input):
        formal = schema.inputs[min(number, len(schema.inputs) - 1)]
        if not name and formal.option == defs.OpSchema.FormalParameterOption.Single:
            return f"input {number} ({formal.name!r}) is left out"
    return None


def _wrong_attribute(schema: Schema, node: NodeProto) -> str | None:
    given = {a.name: a for a in node.attribute}
    for name, attribute in given.items():
        known = schema.attributes.get(name)
        if known is None:
            return f"attribute {name!r} is none of {schema.name}'s{nearest(name, sorted(schema.attributes))}"
        found, expected = attribute.type, known.type.value
        if found != expected and not attribute.ref_attr_name:
            kinds = [str(AttributeProto.AttributeType.Name(k)).lower() for k in (found, expected)]
            return f"attribute {name!r} is {kinds[0]}, expected {kinds[1]}"
    missing = [n for n, a in schema.attributes.items() if a.required and n not in given]
    return f"attribute {missing[0]!r} is missing" if missing else None


def _wrong_type(schema: Schema, node: NodeProto, inputs: Sequence[TensorType | None]) -> str | None:
    allowed = {t.type_param_str: set(t.allowed_type_strs) for t in schema.type_constraints}
    bound: dict[str, DType] = {}
    for number, kind in enumerate(inputs):
        if kind is None:
            continue
        formal = schema.inputs[min(number, len(schema.inputs) - 1)]
        name = type_string(kind.dtype)
        types = allowed.get(formal.type_str, {formal.type_str})
        if name not in types:
            return f"input {number} is {kind}, which {schema.name} does not take in this opset"
        if formal.type_str not in allowed or not formal.is_homogeneous:
            continue
        before = bound.setdefault(formal.type_str, kind.dtype)
        if before != kind.dtype:
            return f"input {number} is {kind}, expected elements of {before} as in the inputs before"
    return None


def type_string(dtype: DType) -> str:
    """What schemas call a tensor of that element type."""
    name = _NAMES.get(dtype.name) or dtype.numpy.name.replace("_", "")
    return f"tensor({name})"


def function_body(schema: Schema, node: NodeProto, inputs: Sequence[TensorType | None]) -> FunctionProto | None:
    """The operator in terms of others, where ONNX gives that."""
    if schema.has_function:
        body = FunctionProto()
        body.ParseFromString(schema.get_function_with_opset_version(max(schema.function_opset_versions)))
        return body
    if schema.has_context_dependent_function:
        types = [b"" if i is None else _type_proto(i) for i in inputs]  # an input that is left out has no type
        version = max(schema.context_dependent_function_opset_versions)
        try:
            content = schema.get_context_dependent_function_with_opset_version(version, node.SerializeToString(), types)
        except onnx.shape_inference.InferenceError:  # the node breaks a rule that its body relies on
            return None
        body = FunctionProto()
        body.ParseFromString(content)
        return body if body.node else None
    return None


def has_function(schema: Schema) -> bool:
    return bool(schema.has_function or schema.has_context_dependent_function)


def _type_proto(kind: TensorType) -> bytes:
    number = onnx.helper.np_dtype_to_tensor_dtype(kind.dtype.numpy)
    shape: list[Any] = [d.value if d.is_constant else str(d) for d in kind.dims]
    content: bytes = onnx.helper.make_tensor_type_proto(number, shape).SerializeToString()
    return content
