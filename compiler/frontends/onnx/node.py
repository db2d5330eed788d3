"""One ONNX node as import functions see it.  In: the node, the values of its inputs.  Out: `OnnxNode`.

It builds at the end of the function being imported, and answers what is known of small integer inputs while
compiling.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, TypeVar, cast

import numpy as np
from onnx import AttributeProto

from headrace.compiler.frontends.onnx.state import State
from headrace.ir.core import Operation, Value
from headrace.ir.dims import Dim
from headrace.ir.errors import DimError, HeadraceError, ModelError
from headrace.ir.graph.families import tensor
from headrace.ir.types import TensorType

Array = np.ndarray[Any, Any]
T = TypeVar("T")


class NodeUnsupported(HeadraceError):
    """A node cannot be imported, for the reason that is the message; caught where all of them are collected."""


class Node:
    """A node whose inputs are all known."""

    def __init__(
        self,
        state: State,
        name: str,
        op_type: str,
        opset: int,
        inputs: Sequence[Value | None],
        outputs: Sequence[str],
        attributes: Mapping[str, Any],
        declared_ranks: Mapping[str, int],
    ) -> None:
        self._state = state
        self.name = name
        self.op_type = op_type
        self.opset = opset
        self._inputs = inputs
        self._outputs = outputs
        self._attributes = attributes
        self._declared_ranks = declared_ranks

    @property
    def input_count(self) -> int:
        return max((i + 1 for i, v in enumerate(self._inputs) if v is not None), default=0)

    @property
    def output_count(self) -> int:
        return max((i + 1 for i, n in enumerate(self._outputs) if n), default=0)

    @property
    def attribute_names(self) -> tuple[str, ...]:
        return tuple(self._attributes)

    def wants(self, output: int) -> bool:
        return output < len(self._outputs) and bool(self._outputs[output])

    def declared_rank(self, output: int) -> int | None:
        return self._declared_ranks.get(self._outputs[output])

    def input(self, number: int) -> Value | None:
        return self._inputs[number] if number < len(self._inputs) else None

    def operand(self, number: int) -> Value:
        found = self.input(number)
        if found is None:
            raise self.fail(f"input {number} is left out")
        return found

    def tensor(self, number: int) -> TensorType:
        return tensor(self.operand(number))

    def attribute(self, name: str, default: T) -> T:
        return cast(T, self._attributes.get(name, default))

    def shape_value(self, number: int) -> tuple[Dim, ...] | None:
        value = self.input(number)
        return None if value is None else self._state.integers(value)

    def constant(self, number: int) -> Array | None:
        value = self.input(number)
        return None if value is None else self._state.constant(value)

    def axis(self, value: int, rank: int) -> int:
        if not -rank <= value < rank:
            raise self.fail(f"axis is {value}, expected {-rank} to {rank - 1}")
        return value % rank

    def axes(self, number: int) -> tuple[int, ...] | None:
        if "axes" in self._attributes:
            return tuple(self._attributes["axes"])
        if self.input(number) is None:
            return None
        found = self.shape_value(number)
        if found is None or not all(d.is_constant for d in found):
            raise self.unsupported("the axes are data, expected integers that are known while compiling")
        return tuple(d.value for d in found)

    def known_numbers(self, number: int) -> tuple[int, ...] | None:
        found = () if self.input(number) is None else self.shape_value(number)
        return None if found is None or not all(d.is_constant for d in found) else tuple(d.value for d in found)

    def is_nonnegative(self, value: Dim) -> bool:
        return self._state.facts.less_equal(0, value) is True

    def simplify(self, value: Dim) -> Dim:
        return self._state.facts.simplify(value)

    def symbol(self, wish: str) -> str:
        return self._state.symbol(wish)

    def add(self, operation: Operation) -> Value:
        return self._of_a_size(self._state.add(operation))

    def add_all(self, operation: Operation) -> Sequence[Value]:
        return [self._of_a_size(v) for v in self._state.add_all(operation)]

    def _of_a_size(self, value: Value) -> Value:
        """The value; an error where its bytes are beyond 64 bits even if each symbol is 1, or each empty dim."""
        kind = tensor(value)
        sizes = [d.value if d.is_constant else _at_one(d) for d in kind.dims]
        if prod(max(abs(s), 1) for s in sizes) * kind.dtype.bytes >= 2**63:
            raise self.fail(f"its result would be {kind}, whose bytes do not fit 64 bits")
        return value

    def add_constant(self, array: Array) -> Value:
        return self._state.add_constant(array)

    def fail(self, message: str) -> Exception:
        return ModelError(f"{self._state.file}: node {self.name!r}: {message}")

    def unsupported(self, message: str) -> Exception:
        return NodeUnsupported(message)


def _at_one(dim: Dim) -> int:
    try:
        return int(dim.evaluate(dict.fromkeys(dim.symbols, 1)))
    except DimError:  # it divides by what is 0 there
        return 1


def plain_attribute(attribute: AttributeProto) -> Any:
    """The attribute's value in Python's terms: a number, text, a protobuf message, or a tuple of these.

    Raises ValueError for text that is no UTF-8 and for a kind of attribute that is no such thing.
    """
    kinds = AttributeProto.AttributeType
    match attribute.type:
        case kinds.FLOAT:
            return float(attribute.f)
        case kinds.INT:
            return int(attribute.i)
        case kinds.STRING:
            return attribute.s.decode()
        case kinds.FLOATS:
            return tuple(float(f) for f in attribute.floats)
        case kinds.INTS:
            return tuple(int(i) for i in attribute.ints)
        case kinds.STRINGS:
            return tuple(s.decode() for s in attribute.strings)
        case kinds.TENSOR:
            return attribute.t
        case kinds.GRAPH:
            return attribute.g
        case _:
            name = str(kinds.Name(attribute.type)).lower()
            raise ValueError(f"attribute {attribute.name!r} is {name}, which nothing here takes")
