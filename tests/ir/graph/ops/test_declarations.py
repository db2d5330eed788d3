"""Every declared graph operation: its random instances, its types, its reference, and what it pulls or folds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

import numpy as np
import pytest

from headrace.ir.access import SymbolRef
from headrace.ir.core import Block, BlockArgument, Operation, Region, Value
from headrace.ir.declare import declarations
from headrace.ir.dims import Dim
from headrace.ir.graph.families import (
    Array,
    DataDims,
    GraphOp,
    Index,
    OwnKernel,
    Pull,
    PullBuilder,
    Reducing,
    counted,
    tensor,
)
from headrace.ir.graph.numbers import static, with_numbers
from headrace.ir.kernel.interpret import run_kernel
from headrace.ir.kernel.ops import convert, scalar
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.kernel.writer import KernelWriter
from headrace.ir.rewrite import Builder
from headrace.ir.types import BufferType, ScalarType, TensorType, dtype_of, element_dtype
from headrace.ir.verify import verify

SEEDS = range(25)
GRAPH_OPS = [
    d.cls
    for d in declarations("graph")
    if issubclass(d.cls, GraphOp) and d.cls.sample.__func__ is not GraphOp.sample.__func__
]


class Numbers:
    """A sampler whose operands are parameters of one block, with a value for every symbol and array for each."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.block = Block()
        self.values: dict[str, int] = {}
        self.arrays: dict[Value, Array] = {}

    def tensor(self, type: TensorType, low: float = -2.0, high: float = 2.0) -> Value:
        value = self.block.add_argument(type)
        shape = [d.evaluate(self.values) for d in type.dims]
        drawn = self.rng.uniform(low, high, shape)
        kept = drawn > 0 if type.dtype.kind == "bool" else np.round(drawn * 4) if type.dtype.is_integer else drawn
        self.arrays[value] = np.asarray(kept).astype(type.dtype.numpy)
        return value

    def constant(self, array: Array) -> Value:
        value = self.block.add_argument(TensorType.of(dtype_of(array), *array.shape))
        self.arrays[value] = array
        return value

    def dims(self, rank: int) -> tuple[Dim, ...]:
        return tuple(self._dim() for _ in range(rank))

    def symbol(self) -> str:
        return f"t{len(self.values) + int(self.rng.integers(0, 1000))}_{len(self.arrays)}"

    def _dim(self) -> Dim:
        size = int(self.rng.integers(1, 5))
        if self.rng.random() < 0.6:
            return Dim.constant(size)
        name = f"s{len(self.values)}"
        self.values[name] = size
        return Dim.symbol(name)


def sampled(cls: type[GraphOp], seed: int) -> tuple[GraphOp, dict[str, int], list[Array]]:
    """A random instance, values for all symbols, and arrays for its operands."""
    sampler = Numbers(seed)
    operation = cls.sample(sampler)
    if isinstance(operation, DataDims):
        for read in operation.dim_reads():
            sampler.values[read.symbol] = int(sampler.arrays[read.operand].reshape(-1)[read.element])
            assert sampler.values[read.symbol] >= read.lower
    return operation, sampler.values, [sampler.arrays[o] for o in operation.operands]


class Evaluator(PullBuilder):
    """Runs what a declaration builds, on all elements of the result at once.

    Index formulas are over `i0`, `i1`, ..., whose values are the grids of the result's index.
    """

    def __init__(self, operands: dict[Value, Array], grids: dict[str, Any]) -> None:
        self.operands = operands
        self.grids = grids
        self.found: dict[Value, Array] = {}
        self.block = Block()
        super().__init__(Builder(self.block))

    def given(self, array: Array) -> BlockArgument:
        value = self.block.add_argument(ScalarType(dtype_of(array)))
        self.found[value] = array
        return value

    def read(self, operand: Value, index: Index, otherwise: float | int | bool | None = None) -> Value:
        array = self.operands[operand]
        places = [np.asarray(i.evaluate(self.grids)) for i in index]
        inside = np.ones((), bool)
        for place, extent in zip(places, array.shape, strict=True):
            inside = inside & (place >= 0) & (place < extent)
        assert otherwise is not None or inside.all(), f"reads outside of {operand.type}"
        if array.size == 0:
            return self.given(np.asarray(np.full(inside.shape, otherwise or 0, array.dtype)))
        clipped = [np.clip(p, 0, n - 1) for p, n in zip(places, array.shape, strict=True)]
        found: Any = array[tuple(clipped)]
        return self.given(np.where(inside, found, otherwise).astype(array.dtype))

    def lookup(self, operand: Value, index: Index, extent: Dim) -> Dim:
        name = f"found{len(self.grids)}"
        places = tuple(np.asarray(i.evaluate(self.grids)) for i in index)
        self.grids[name] = counted(np.asarray(self.operands[operand][places]), extent.evaluate(self.grids))
        return Dim.symbol(name)

    def run(self, values: Sequence[Value]) -> list[Array]:
        with np.errstate(all="ignore"):
            for operation in self.block.operations:
                self.found[operation.results[0]] = self._result(operation)
        return [self.found[v] for v in values]

    def _result(self, operation: Operation) -> Array:
        dtype = element_dtype(operation.results[0].type).numpy
        operands = [self.found[o] for o in operation.operands]
        match operation:
            case convert.Constant():
                return np.asarray(operation.value, dtype)
            case convert.Index():
                return np.asarray(operation.value.evaluate(self.grids)).astype(dtype)
            case convert.Holds():
                held = [np.asarray(w.evaluate(self.grids)) >= 0 for w in operation.where]
                return np.asarray(np.logical_and.reduce(np.broadcast_arrays(*held)))
            case convert.Bitcast():
                return operands[0].view(dtype)
            case scalar.Select():
                return np.where(*operands)
            case convert.Cast() | scalar.Compare() | scalar.Pointwise():
                return operation.reference(*np.broadcast_arrays(*operands))
        raise AssertionError(operation)


def pulled(operation: GraphOp, values: dict[str, int], operands: dict[Value, Array]) -> Array:
    """The result by the operation's pulls, or by its fold, one reduction point after the other."""
    kind = static(tensor(operation.result), values)
    shape = [d.value for d in kind.dims]
    index = tuple(Dim.symbol(f"i{a}") for a in range(len(shape)))
    names = [f"i{a}" for a in range(len(shape))]
    grids: dict[str, Any] = values | dict(zip(names, np.indices(shape, sparse=True), strict=True))
    builder = Evaluator(operands, grids)
    if isinstance(operation, Pull):
        (found,) = builder.run([operation.pull(builder, index)])
    else:
        assert isinstance(operation, Reducing)
        state = builder.run(operation.init(builder))
        for point in np.ndindex(*(e.value for _, e in operation.reduction_axes())):
            builder = Evaluator(operands, grids)
            reduced = tuple(Dim.constant(p) for p in point)
            state = builder.run(operation.step(builder, index, reduced, [builder.given(s) for s in state]))
        builder = Evaluator(operands, grids)
        (found,) = builder.run([operation.finish(builder, index, [builder.given(s) for s in state])])
    return np.broadcast_to(found, shape).astype(kind.dtype.numpy)


def decomposed(operation: GraphOp, operands: Sequence[Array]) -> Array:
    """The result by the references of the operations that it decomposes into."""
    block = Block([o.type for o in operation.operands])
    copy = operation.clone(dict(zip(operation.operands, block.arguments, strict=True)))
    assert isinstance(copy, GraphOp)
    values = copy.decompose(Builder(block))
    assert values is not None
    assert [v.type for v in values] == [r.type for r in operation.results]
    known: dict[Value, Array] = dict(zip(block.arguments, operands, strict=True))
    for inner in block.operations:
        assert isinstance(inner, GraphOp)
        known[inner.result] = np.asarray(inner.reference(*(known[o] for o in inner.operands)))
    return known[values[0]]


def run_own_kernel(operation: OwnKernel, arrays: Sequence[Array]) -> list[Array]:
    """The results by the kernel that the operation writes, interpreted: its races and bounds are checked too."""
    block = Block([BufferType(tensor(v).dtype, tensor(v).dims) for v in (*operation.operands, *operation.results)])
    numbers = count()
    buffers = dict(zip((*operation.operands, *operation.results), block.arguments, strict=True))
    operation.write(KernelWriter(Builder(block), lambda wish: f"{wish}_{next(numbers)}"), buffers)
    function = KernelFunc(SymbolRef("own"), Region(block), len(operation.results))
    verify(function)
    found = run_kernel(function, arrays)
    assert all(written.all() for written in found.written)
    return found.outputs


def instances(cls: type[GraphOp]) -> Iterator[tuple[GraphOp, dict[str, int], list[Array]]]:
    for seed in SEEDS:
        yield sampled(cls, seed)


def test_every_operation_has_samples() -> None:
    without = {d.name for d in declarations("graph") if issubclass(d.cls, GraphOp) and d.cls not in GRAPH_OPS}
    assert without <= {"graph.constant"}
    assert len(GRAPH_OPS) >= 45


@pytest.mark.parametrize("cls", GRAPH_OPS, ids=lambda c: c.name)
def test_inferred_types_are_those_of_the_reference(cls: type[GraphOp]) -> None:
    for operation, values, arrays in instances(cls):
        fixed = with_numbers(operation, values)
        with np.errstate(all="ignore"):
            found = fixed.reference(*arrays)
        for result, symbolic, array in zip(
            fixed.results, operation.results, found if isinstance(found, tuple) else (found,), strict=True
        ):
            kind = TensorType.of(dtype_of(np.asarray(array)), *array.shape)
            assert static(tensor(result), values) == kind
            assert static(tensor(symbolic), values) == kind


@pytest.mark.parametrize("cls", GRAPH_OPS, ids=lambda c: c.name)
def test_elements_are_those_of_the_reference(cls: type[GraphOp]) -> None:
    for operation, values, arrays in instances(cls):
        fixed = with_numbers(operation, values)
        with np.errstate(all="ignore"):
            if isinstance(fixed, OwnKernel):
                for found, expected in zip(run_own_kernel(fixed, arrays), fixed.reference(*arrays), strict=True):
                    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5, err_msg=str(fixed.attributes))
                continue
            expected = np.asarray(fixed.reference(*arrays))
            if isinstance(fixed, Pull | Reducing):
                found = pulled(fixed, values, dict(zip(fixed.operands, arrays, strict=True)))
            else:
                found = decomposed(fixed, arrays)
        np.testing.assert_allclose(found, expected, rtol=3e-5, atol=3e-6, err_msg=str(fixed.attributes))


@pytest.mark.parametrize("cls", GRAPH_OPS, ids=lambda c: c.name)
def test_checks_hold_for_valid_instances(cls: type[GraphOp]) -> None:
    for operation, values, _ in instances(cls):
        for check in operation.checks():
            assert check.formula.evaluate(values) >= 0, check


@pytest.mark.parametrize("cls", GRAPH_OPS, ids=lambda c: c.name)
def test_dims_of_nothing_are_not_below_nothing(cls: type[GraphOp]) -> None:
    """Symbols that operands bind may be 0, where the checks hold."""
    for operation, values, _ in instances(cls):
        bound = {s for o in operation.operands for d in tensor(o).dims for s in d.symbols}
        least = values | dict.fromkeys(bound, 0)
        if all(check.formula.evaluate(least) >= 0 for check in operation.checks()):
            assert all(d.evaluate(least) >= 0 for r in operation.results for d in tensor(r).dims), operation.results


@pytest.mark.parametrize("cls", GRAPH_OPS, ids=lambda c: c.name)
def test_formulas_are_those_of_the_reference(cls: type[GraphOp]) -> None:
    """`shape_values` on operands whose integers are known gives what the reference gives."""
    for operation, values, arrays in instances(cls):
        fixed = with_numbers(operation, values)
        if any(a.dtype.kind not in "iub" for a in arrays) or isinstance(fixed, OwnKernel):
            continue
        known = [tuple(Dim.constant(int(n)) for n in a.reshape(-1)) for a in arrays]
        found = fixed.shape_values(known)
        if found is not None and found[0] is not None:
            assert [d.value for d in found[0]] == [int(n) for n in np.asarray(fixed.reference(*arrays)).reshape(-1)]


@pytest.mark.parametrize("cls", [c for c in GRAPH_OPS if issubclass(c, Reducing)], ids=lambda c: c.name)
def test_combine_joins_two_halves(cls: type[Reducing]) -> None:
    """Combining with a fresh state changes nothing."""
    for operation, values, arrays in instances(cls):
        fixed = with_numbers(operation, values)
        assert isinstance(fixed, Reducing)
        builder = Evaluator(dict(zip(fixed.operands, arrays, strict=True)), {})
        drawn = {"f": [1.5, -2.0, 0.25], "i": [4, 1, 2]}
        kinds = [element_dtype(v.type).numpy for v in fixed.init(builder)]
        numbers = [builder.given(np.array(drawn.get(k.kind, [1, 0, 2]), k)) for k in kinds]
        joined = builder.run(fixed.combine(builder, fixed.init(builder), numbers))
        for before, after in zip(numbers, joined, strict=True):
            np.testing.assert_array_equal(builder.found[before], after)
