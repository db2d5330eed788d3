"""Families of graph operations: how the elements of a result come from the elements of the operands.

Everything below is *pull*: an operation is asked for its element at an index (formulas over axis names) and
says which operand elements that takes, through a `PullBuilder`.

    GraphOp        infer, reference (numpy), sample; maybe fold; maybe decompose
    ├── Pull       one element from operand elements at other indices, no sum
    │   ├── LookingUp     ... at indices that are data
    │   ├── Elementwise   `scalar` of the operands' elements at the broadcast index
    │   ├── Movement      an operand's element at another index: transpose, slice, reshape
    │   └── DataDims      ... with dims that are data: reshape to a shape that the program computes
    ├── Reducing   a fold over reduction axes: sums, contractions, pooling, convolution
    └── OwnKernel  the kernel written out: structured operations inside loops, over scratch

An operation that is none of these decomposes into ones that are.  An operation that only looks at types or at
integers known at compile time (`Shape`, `Reshape` with a run-time operand) says its result as formulas in
`shape_values`, which `graph.propagate-shapes` uses.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np

from headrace.ir.core import Operation, Value
from headrace.ir.dims import Dim, Facts, dim_max, dim_min
from headrace.ir.errors import DataError, VerifyError
from headrace.ir.graph.exporting import OnnxWriter, by_declaration
from headrace.ir.kernel.build import ScalarBuilder
from headrace.ir.kernel.ops.lookup import OUT_OF_RANGE, filled_in
from headrace.ir.kernel.writer import KernelWriter
from headrace.ir.rewrite import Builder
from headrace.ir.types import F32, DType, TensorType, Type

Array = np.ndarray[Any, Any]
Index = tuple[Dim, ...]
Known = Sequence[tuple[Dim, ...] | None]  # per operand or result: its integers, row-major, where they are known


def tensor(value: Value) -> TensorType:
    """The type of a tensor value.  Raises VerifyError for any other."""
    if not isinstance(value.type, TensorType):
        raise VerifyError(f"found a value of type {value.type}, expected a tensor")
    return value.type


class ElementTypeError(VerifyError):
    """The operation has no meaning here for that element type; a model with it may be right all the same."""


def accumulator(dtype: DType) -> DType:
    """The element type in which many elements are summed up: 16-bit floats as f32, others as they are."""
    return F32 if dtype.is_float and dtype.bits == 16 else dtype


class PullBuilder(ScalarBuilder):
    """A `ScalarBuilder` that can also read operands.  Lowering implements `read`."""

    def read(self, operand: Value, index: Index, otherwise: float | int | bool | None = None) -> Value:
        """The element of `operand` at `index`; `otherwise` where given and the index is outside."""
        raise NotImplementedError

    def lookup(self, operand: Value, index: Index, extent: Dim) -> Dim:
        """The integer element of `operand` at `index`, counted from the front, as a symbol for other indices.

        Outside of [-extent, extent) it is an error of the data.
        """
        raise NotImplementedError


class Sampler(Protocol):
    """What `sample` gets: seeded randomness and fresh operands."""

    rng: np.random.Generator

    def tensor(self, type: TensorType, low: float = -2.0, high: float = 2.0) -> Value:
        """A new function parameter of that type; tests fill it with numbers from [low, high)."""
        ...

    def constant(self, array: Array) -> Value:
        """A graph.constant of that content."""
        ...

    def dims(self, rank: int) -> tuple[Dim, ...]:
        """Random small dims, now and then symbols."""
        ...

    def symbol(self) -> str:
        """A new symbol, whose value the operation reads from data (`DataDims`)."""
        ...


class DimCheck(NamedTuple):
    """An error with `message` unless `formula` is >= 0."""

    formula: Dim
    message: str


def unproven(checks: Iterable[DimCheck]) -> tuple[DimCheck, ...]:
    """Without those that hold whatever the symbols are."""
    return tuple(c for c in checks if not (c.formula.is_constant and c.formula.value >= 0))


def must_be_equal(left: Dim, right: Dim, message: str) -> Sequence[DimCheck]:
    """Nothing where two formulas are the same; else the checks that their values are."""
    return () if left == right else (DimCheck(left - right, message), DimCheck(right - left, message))


class GraphOp(Operation):
    """Base of all graph operations that compute tensors."""

    # Whether `reference` gives the same bits on every CPU, so that it may run while compiling: no sum of floats
    # whose order numpy chooses, no exp, log, tanh, erf or pow of numpy's.
    folds: ClassVar[bool] = False

    @abstractmethod
    def reference(self, *operands: Array) -> Array | tuple[Array, ...]:
        """The results from the operands, in numpy.  This is the meaning of the operation.

        Called on an instance without symbols: `headrace.ir.graph.numbers.with_numbers` makes it.
        """
        raise NotImplementedError

    @classmethod
    def sample(cls, sampler: Sampler) -> GraphOp:
        """A random valid instance, for property tests."""
        raise NotImplementedError

    def fold(self) -> Value | None:
        """An existing value that equals the only result, or None."""
        return None

    def decompose(self, builder: Builder) -> Sequence[Value] | None:
        """Inserts simpler operations and returns their values for the results; None if it is simple already."""
        return None

    def wrong_dtype(self, found: DType, kinds: Sequence[str]) -> ElementTypeError:
        """The error to raise where an operand's elements are of no kind that the operation takes."""
        return ElementTypeError(str(self.fail(f"element type is {found}, expected {' or '.join(kinds)}")))

    def refuse_broken(self) -> None:
        """Raises VerifyError for the first of the `checks` that cannot hold."""
        for check in self.checks():
            if check.formula.is_constant and check.formula.value < 0:
                raise self.fail(check.message)

    def check_axis(self, axis: int, x: TensorType) -> None:
        """Raises VerifyError unless the type has the axis."""
        if not 0 <= axis < x.rank:
            raise self.fail(f"axis is {axis} for {x}, expected 0 to {x.rank - 1}")

    def to_onnx(self, w: OnnxWriter) -> Sequence[str]:
        """Names of its results in an ONNX model, whose nodes it adds.  Raises NotInOnnx."""
        return by_declaration(self, w)

    def checks(self) -> Sequence[DimCheck]:
        """What must hold for the operation to have a meaning, and could not be proven while compiling."""
        return ()

    def shape_values(self, known: Known) -> Known | None:
        """The integers in each result (row-major) as formulas, from those in each operand; None if unknown."""
        return None


class Pull(GraphOp):
    """One result, each element from elements of the operands."""

    folds = True

    @abstractmethod
    def pull(self, b: PullBuilder, index: Index) -> Value:
        """The element of the result at `index`."""
        raise NotImplementedError


class LookingUp(Pull):
    """Reads operands at indices that it looks up among the elements of other ones (`PullBuilder.lookup`)."""

    @property
    @abstractmethod
    def looked_up(self) -> Sequence[Value]:
        """The operands that hold indices: they lie in memory when the others are read."""
        raise NotImplementedError


def counted(indices: Array, extent: int) -> Array:
    """Indices counted from the front.  Raises DataError for one that is out of range."""
    found = indices.astype(np.int64)
    wrong = (found < -extent) | (found >= extent)
    if wrong.any():
        raise DataError(filled_in(OUT_OF_RANGE, [int(found[wrong][0]), extent]))
    return np.where(found < 0, found + extent, found)


def broadcast_dims(shapes: Sequence[tuple[Dim, ...]]) -> tuple[Dim, ...]:
    """numpy's broadcast of shapes.  A symbolic dim against another one gives their maximum: which of them may be
    1 is decided at run time.  Raises ValueError with the two dims that contradict."""
    rank = max((len(s) for s in shapes), default=0)
    result = []
    for place in range(rank):
        column = [s[place - rank + len(s)] for s in shapes if place - rank + len(s) >= 0]
        wide = [d for d in dict.fromkeys(column) if not (d.is_constant and d.value == 1)]
        fixed = [d for d in wide if d.is_constant]
        if len(fixed) > 1:
            raise ValueError(f"{fixed[0]} against {fixed[1]}")
        result.append(fixed[0] if fixed else wide[0] if len(wide) == 1 else _wider(wide))
    return tuple(result)


def _wider(dims: list[Dim]) -> Dim:
    """Without dims that are never above another: a mask cut to fit, min(1024, past + n) - min(1024, past) against n."""
    return Facts().simplify(dim_max(*dims)) if dims else Dim.constant(1)


def broadcast_checks(shapes: Sequence[tuple[Dim, ...]], result: tuple[Dim, ...]) -> Sequence[DimCheck]:
    """That every dim of `shapes` is 1 or the result's, as far as that is not plain to see."""
    checks: list[DimCheck] = []
    for shape in shapes:
        for d, r in zip(shape, result[len(result) - len(shape) :], strict=True):
            apart = Dim.constant(0) if d.is_constant and d.value == 1 else (d - 1) * (d - r)
            checks += must_be_equal(apart, Dim.constant(0), f"a dim that must be 1 or {r} is neither")
    return tuple(dict.fromkeys(checks))


def broadcast_index(index: Index, shape: tuple[Dim, ...], result: tuple[Dim, ...]) -> Index:
    """Where the element of an operand of `shape` lies that belongs to `index` of the broadcast `result`.

    A dim that is 1, or may be (a symbol that is not the result's), is read at min(index, dim - 1).
    """
    found = []
    for i, d, r in zip(index[len(index) - len(shape) :], shape, result[len(result) - len(shape) :], strict=True):
        if d == r:
            found.append(i)
        else:
            found.append(Dim.constant(0) if d == 1 else dim_min(i, d - 1))
    return tuple(found)


class Elementwise(Pull):
    """A scalar function of the operands' elements, operands broadcast against each other."""

    dtypes: ClassVar[tuple[str, ...]] = ("float", "int", "uint")  # kinds of element it takes
    # Whether `scalar` takes several steps, of which those on 16-bit floats are done in f32: an exponential that
    # overflows between may be no more than a small number in the end.
    several_steps: ClassVar[bool] = False

    def infer(self) -> Sequence[Type]:
        kinds = [tensor(o) for o in self.operands]
        for kind in kinds:
            if kind.dtype.kind not in self.dtypes:
                raise self.wrong_dtype(kind.dtype, self.dtypes)
        if len({k.dtype for k in kinds}) > 1:
            raise self.fail(f"operands are {' and '.join(str(k) for k in kinds)}, expected one element type")
        return [self.broadcast(kinds)]

    def broadcast(self, kinds: Sequence[TensorType]) -> TensorType:
        """The first operand's element type with all operands' broadcast dims."""
        try:
            return TensorType(kinds[0].dtype, broadcast_dims([k.dims for k in kinds]))
        except ValueError as error:
            raise self.fail(f"operands of {' and '.join(str(k) for k in kinds)} do not broadcast: {error}") from None

    @abstractmethod
    def scalar(self, b: ScalarBuilder, *xs: Value) -> Value:
        """The result's element from the operands' elements."""
        raise NotImplementedError

    def checks(self) -> Sequence[DimCheck]:
        return broadcast_checks([tensor(o).dims for o in self.operands], tensor(self.result).dims)

    def pull(self, b: PullBuilder, index: Index) -> Value:
        result = tensor(self.result).dims
        reads = [b.read(o, broadcast_index(index, tensor(o).dims, result)) for o in self.operands]
        dtype = tensor(self.result).dtype
        if self.several_steps and accumulator(dtype) != dtype:
            return b.cast(self.scalar(b, *(b.cast(r, F32) for r in reads)), dtype)
        return self.scalar(b, *reads)


class Movement(Pull):
    """Elements of one operand at other places: no arithmetic, so it may fuse into any reader."""

    is_view: ClassVar[bool] = False  # row-major order stays: other dims on the same memory, no kernel needed

    @abstractmethod
    def source(self, index: Index) -> Index:
        """Where in the first operand the element at `index` of the result lies."""
        raise NotImplementedError

    def pull(self, b: PullBuilder, index: Index) -> Value:
        return b.read(self.operands[0], self.source(index))


class DimRead(NamedTuple):
    """`symbol` is the integer at `element` (row-major) of `operand`; an error unless it is at least `lower`."""

    symbol: str
    operand: Value
    element: int
    lower: int


class DataDims(Pull):
    """Its result's dims depend on integers that are data: lowering reads them, then checks them."""

    @abstractmethod
    def dim_reads(self) -> Sequence[DimRead]:
        """The symbols that the result's dims mention beside those of the operands, and where their values lie."""
        raise NotImplementedError

    def reads_dims_in(self, value: Value) -> bool:
        """Whether the host reads them from this operand, which then lies in memory."""
        return any(read.operand is value for read in self.dim_reads())


class Reducing(GraphOp):
    """One result; each element folds a step over reduction axes.

    The order of the fold is free within `combine`, unless numerics are strict.
    """

    @abstractmethod
    def reduction_axes(self) -> tuple[tuple[str, Dim], ...]:
        """Names (a wish: lowering makes them unique) and extents of the reduction axes, outermost first."""
        raise NotImplementedError

    @abstractmethod
    def init(self, b: ScalarBuilder) -> Sequence[Value]:
        """The accumulators before the first step."""
        raise NotImplementedError

    @abstractmethod
    def step(self, b: PullBuilder, index: Index, reduced: Index, state: Sequence[Value]) -> Sequence[Value]:
        """The accumulators after the operand elements of result `index` and reduction point `reduced`."""
        raise NotImplementedError

    @abstractmethod
    def combine(self, b: ScalarBuilder, left: Sequence[Value], right: Sequence[Value]) -> Sequence[Value]:
        """The accumulators of two parts of the domain, joined."""
        raise NotImplementedError

    def finish(self, b: PullBuilder, index: Index, state: Sequence[Value]) -> Value:
        """The result's element from the final accumulators; may read operands at `index`."""
        return state[0]


class OwnKernel(GraphOp):
    """One or more results of one kernel, where no formula describes a single element: a scan, a recurrence."""

    @abstractmethod
    def write(self, w: KernelWriter, buffers: Mapping[Value, Value]) -> None:
        """Writes the kernel's body; `buffers` hold the operands, and are to hold the results."""
        raise NotImplementedError
