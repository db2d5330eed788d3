"""How graph operations become ONNX nodes.  In: an operation, a neutral writer of nodes.  Out: names of its results.

The way back from `headrace.ir.graph.importing`: an operation that corresponds one to one to an ONNX operator says so
as data in its declaration; any other overrides `GraphOp.to_onnx`:

    def to_onnx(self, w: OnnxWriter) -> Sequence[str]:
        return w.node("Transpose", self.x, perm=self.perm)

The frontend implements `OnnxWriter`; the package `onnx` is not needed here.  Nodes are of opset `OPSET`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from headrace.ir.core import Operation, Value
from headrace.ir.declare import declaration_of
from headrace.ir.dims import Dim
from headrace.ir.errors import ModelError
from headrace.ir.types import BOOL, TensorType

Array = np.ndarray[Any, Any]
OPSET = 20


class NotInOnnx(ModelError):
    """No ONNX node says what an operation does."""


class OnnxWriter(Protocol):
    """What an operation may do to be written.  A tensor is a value of the graph or the name of one in the model."""

    def node(self, op_type: str, *inputs: Value | str | None, outputs: int = 1, **attributes: Any) -> Sequence[str]:
        """Adds a node; the names of its outputs.  Attributes that are None are left out; a DType may be one."""
        ...

    def constant(self, array: Array) -> str:
        """Adds an initializer."""
        ...

    def integers(self, formulas: Sequence[Dim]) -> str:
        """A vector of int64 with the values of formulas: a constant, or computed from the shapes of inputs."""
        ...


def by_declaration(operation: Operation, w: OnnxWriter) -> Sequence[str]:
    """The node of an operation that has an ONNX form of its own.  Raises NotInOnnx."""
    declaration = declaration_of(operation)
    if not declaration.onnx:
        raise NotInOnnx(f"{operation.name} has no form in ONNX")
    # Where there are two forms, the first is for booleans and the second for the bits of integers.
    kind = operation.operands[0].type
    second = len(declaration.onnx) > 1 and isinstance(kind, TensorType) and kind.dtype != BOOL
    inputs: list[Value | None] = []
    for field in declaration.operand_fields:
        found = getattr(operation, field.name)
        inputs += found if field.kind == "variadic" else [found]
    attributes = {f.name: getattr(operation, f.name) for f in declaration.attribute_fields}
    return w.node(declaration.onnx[1 if second else 0].name, *inputs, **attributes)


def numbers(operation: Operation, formulas: Sequence[Dim]) -> list[int]:
    """Attributes of ONNX are numbers.  Raises NotInOnnx for a formula."""
    if not all(f.is_constant for f in formulas):
        raise refuse(operation, f"{', '.join(map(str, formulas))} would be an attribute, which needs numbers")
    return [f.value for f in formulas]


def refuse(operation: Operation, reason: str) -> NotInOnnx:
    """The error to raise where one instance of an operation has no form in ONNX."""
    return NotInOnnx(f"{operation.name}: {reason}")
