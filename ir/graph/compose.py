"""`Term`: graph operations written like arithmetic, for what is made of many of them.

In: anything that appends operations (a node being imported), and a value.  Out: operations there:

    x = Term(node, node.operand(0))
    y = (x - x.reduce("mean", axes)) / spread          # plain numbers become constants of the type of x

Operands broadcast.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from headrace.ir.core import Operation, Value
from headrace.ir.dims import Dim, DimLike, as_dim
from headrace.ir.graph.families import Array, tensor
from headrace.ir.graph.ops.arithmetic import Abs, Add, Div, Max, Min, Mod, Mul, Sub
from headrace.ir.graph.ops.cast import Cast
from headrace.ir.graph.ops.compare import Compare
from headrace.ir.graph.ops.expand import Expand
from headrace.ir.graph.ops.exponential import Sqrt
from headrace.ir.graph.ops.fill import Fill
from headrace.ir.graph.ops.formulas import Range
from headrace.ir.graph.ops.matmul import MatMul
from headrace.ir.graph.ops.reduce import Kind, Reduce
from headrace.ir.graph.ops.reshape import Reshape
from headrace.ir.graph.ops.rounding import Floor
from headrace.ir.graph.ops.transpose import Transpose
from headrace.ir.graph.ops.where import Where
from headrace.ir.kernel.ops.scalar import Predicate
from headrace.ir.types import I64, DType, TensorType

Number = float | int | bool


class Adder(Protocol):
    """What appends operations."""

    def add(self, operation: Operation) -> Value:
        """Appends an operation with one result; returns that."""
        ...

    def add_constant(self, array: Array) -> Value:
        """Appends a constant."""
        ...


class Term:
    """A value, and where operations on it are to stand."""

    def __init__(self, node: Adder, value: Value) -> None:
        self.node = node
        self.value = value

    @property
    def type(self) -> TensorType:
        return tensor(self.value)

    @property
    def dims(self) -> tuple[Dim, ...]:
        return self.type.dims

    @property
    def rank(self) -> int:
        return self.type.rank

    @property
    def dtype(self) -> DType:
        return self.type.dtype

    def of(self, operation: Operation) -> Term:
        """The result of an operation that is appended."""
        return Term(self.node, self.node.add(operation))

    def like(self, other: Term | Number) -> Term:
        """`other`, or a number as a constant of this element type."""
        if isinstance(other, Term):
            return other
        return self.of(Fill((), other, self.dtype))

    def __add__(self, other: Term | Number) -> Term:
        return self.of(Add(self.value, self.like(other).value))

    def __sub__(self, other: Term | Number) -> Term:
        return self.of(Sub(self.value, self.like(other).value))

    def __rsub__(self, other: Number) -> Term:
        return self.like(other) - self

    def __mul__(self, other: Term | Number) -> Term:
        return self.of(Mul(self.value, self.like(other).value))

    def __truediv__(self, other: Term | Number) -> Term:
        return self.of(Div(self.value, self.like(other).value))

    def __mod__(self, other: Term | Number) -> Term:
        return self.of(Mod(self.value, self.like(other).value))

    def __matmul__(self, other: Term) -> Term:
        return self.of(MatMul(self.value, other.value))

    def __abs__(self) -> Term:
        return self.of(Abs(self.value))

    def compare(self, predicate: Predicate, other: Term | Number) -> Term:
        """graph.compare."""
        return self.of(Compare(self.value, self.like(other).value, predicate))

    def where(self, yes: Term | Number, no: Term) -> Term:
        """One or the other, as this bool says."""
        return self.of(Where(self.value, no.like(yes).value, no.value))

    def at_least(self, other: Term | Number) -> Term:
        return self.of(Max(self.value, self.like(other).value))

    def at_most(self, other: Term | Number) -> Term:
        return self.of(Min(self.value, self.like(other).value))

    def floor(self) -> Term:
        return self.of(Floor(self.value))

    def sqrt(self) -> Term:
        return self.of(Sqrt(self.value))

    def cast(self, dtype: DType) -> Term:
        return self if dtype == self.dtype else self.of(Cast(self.value, dtype))

    def reduce(self, kind: Kind, axes: Sequence[int], keepdims: bool = True) -> Term:
        """A reduction over axes counted from the front; over none of them this itself."""
        return self.of(Reduce(self.value, kind, tuple(sorted(axes)), keepdims)) if axes else self

    def reshape(self, *dims: DimLike) -> Term:
        wanted = tuple(as_dim(d) for d in dims)
        return self if wanted == self.dims else self.of(Reshape(self.value, wanted))

    def transpose(self, *perm: int) -> Term:
        return self if perm == tuple(range(self.rank)) else self.of(Transpose(self.value, perm))

    def move(self, source: int, target: int) -> Term:
        """One axis elsewhere."""
        perm = [a for a in range(self.rank) if a != source % self.rank]
        perm.insert(target % self.rank, source % self.rank)
        return self.transpose(*perm)

    def expand(self, *dims: DimLike) -> Term:
        wanted = tuple(as_dim(d) for d in dims)
        return self if wanted == self.dims else self.of(Expand(self.value, wanted))

    def indices(self, count: Dim, dtype: DType = I64) -> Term:
        """0, 1, 2, ... of that count."""
        return self.of(Range(Dim.constant(0), Dim.constant(1), count, dtype))

    def constant(self, array: Any) -> Term:
        """A constant in this element type."""
        return Term(self.node, self.node.add_constant(np.asarray(array, self.dtype.numpy)))
