"""Nodes of ONNX that are many operations here, or whose sizes are data.  In: a growing graph.  Out: what the import
function of the operator makes, run as it is made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from headrace.compiler.frontends.onnx.inputs import Symbols
from headrace.compiler.frontends.onnx.node import Node, NodeUnsupported
from headrace.compiler.frontends.onnx.state import State
from headrace.ir.core import Operation, Value
from headrace.ir.dims import DimLike, as_dim
from headrace.ir.errors import ModelError
from headrace.ir.graph.families import GraphOp, tensor
from headrace.ir.graph.importing import importer
from headrace.ir.graph.ops.constant import Constant
from headrace.ir.rewrite import Builder
from headrace.ir.types import BOOL, F32, I32, I64, TensorType
from random_graphs.growing import Growing, Refused

OPSET = 26
Op = TypeVar("Op", bound=Operation)


class _Running(Builder):
    """A builder whose operations the graph runs as it gets them."""

    def __init__(self, growing: Growing) -> None:
        super().__init__(growing.block)
        self.growing = growing

    def add(self, operation: Op, hint: str | None = None) -> Op:
        if isinstance(operation, Constant):
            array = self.growing.module.constants.array(operation.value)
            self.growing.arrays[operation.result] = [array] * len(self.growing.cases)
            return super().add(operation, hint)
        assert isinstance(operation, GraphOp)
        self.growing.add(operation)
        return operation


class _State(State):
    """What an import function builds in: the graph that grows."""

    def __init__(self, growing: Growing) -> None:
        super().__init__("", "", Symbols())
        self.growing = growing
        self.module, self.block, self.builder = growing.module, growing.block, _Running(growing)

    def symbol(self, wish: str, highest: int | None = None) -> str:
        return self.growing.symbol()


class Nodes:
    """What a recipe is given: numbers, operands, nodes."""

    def __init__(self, growing: Growing) -> None:
        self.g = growing
        self.rng = growing.rng
        self.state = _State(growing)

    def add(self, op_type: str, *inputs: Value | None, outputs: int = 1, **attributes: Any) -> Sequence[Value]:
        """The results of a node.  Raises Refused where it breaks the rules of ONNX, which recipes do at times."""
        found = importer(op_type, "", OPSET)
        assert found is not None, op_type
        names = [f"y{i}" for i in range(outputs)]
        try:
            return found.run(Node(self.state, op_type.lower(), op_type, OPSET, inputs, names, attributes, {}))
        except (ModelError, NodeUnsupported) as error:
            raise Refused(str(error)) from None

    def pick(self, low: int, high: int) -> int:
        """A number from low to high, both included."""
        return int(self.rng.integers(low, high + 1))

    def value(self, low: int = 1, high: int = 4) -> Value:
        """A float of some rank: often one that is there."""
        found = [v for v in self.g.values if tensor(v).dtype.is_float and low <= tensor(v).rank <= high]
        if found and self.g.chance(0.7):
            return found[self.pick(0, len(found) - 1)]
        return self.g.tensor(TensorType(F32, self.g.dims(self.pick(low, high))))

    def floats(self, *dims: DimLike) -> Value:
        """A float of these dims."""
        return self.g.tensor(TensorType(F32, tuple(as_dim(d) for d in dims)))

    def shapes(self, x: Value) -> list[tuple[int, ...]]:
        """The dims of each case."""
        return [a.shape for a in self.g.arrays[x]]

    def known(self, *numbers: int) -> Value:
        """Integers that the import function knows."""
        return self.state.add_constant(np.array(numbers, np.int64))

    def data(self, arrays: Sequence[Any], dtype: Any = np.int64) -> Value:
        """Numbers that are data, an array a case: from outside, or a constant that nobody looks at."""
        given = [np.asarray(a, dtype) for a in arrays]
        if all(np.array_equal(a, given[0]) for a in given) and self.g.chance(0.3):
            return self.g.constant(given[0])
        kind = {"b": BOOL, "i": I64 if given[0].itemsize == 8 else I32, "f": F32}[given[0].dtype.kind]
        return self.g.parameter(TensorType.of(kind, *given[0].shape), given)

    def mask(self, x: Value, axis: int | None = None) -> Value:
        """A bool for each element of `x`, or of one of its dims."""
        dims = tensor(x).dims if axis is None else tensor(x).dims[axis : axis + 1]
        share = self.rng.choice([0.0, 0.2, 0.5, 1.0])
        shapes = [s if axis is None else s[axis : axis + 1] for s in self.shapes(x)]
        return self.g.parameter(TensorType(BOOL, dims), [self.rng.random(s) < share for s in shapes])

    def each(self, make: Callable[[tuple[int, ...]], Any], x: Value) -> list[Any]:
        """What is made of the dims, for each case."""
        return [make(shape) for shape in self.shapes(x)]
