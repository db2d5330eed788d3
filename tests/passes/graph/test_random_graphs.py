"""Random graphs of all declared operations: every pass keeps what they compute, and what is clustered lowers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pytest

from headrace.ir.access import SymbolRef
from headrace.ir.core import Block, Region, Value
from headrace.ir.declare import declarations
from headrace.ir.dims import Dim
from headrace.ir.graph.families import Array, DataDims, GraphOp, Pull, Reducing, tensor
from headrace.ir.graph.lazy import lazy_values
from headrace.ir.graph.linear import ONE
from headrace.ir.graph.numbers import static
from headrace.ir.graph.ops.activations import Sigmoid
from headrace.ir.graph.ops.arithmetic import Add, Mul
from headrace.ir.graph.ops.cluster import Cluster as ClusterOp
from headrace.ir.graph.ops.constant import Constant
from headrace.ir.graph.ops.func import GraphFunc, Return
from headrace.ir.graph.ops.matmul import MatMul
from headrace.ir.graph.ops.pad import Pad
from headrace.ir.graph.ops.reduce import Reduce
from headrace.ir.graph.ops.relu import Relu
from headrace.ir.graph.ops.transpose import Transpose
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass
from headrace.ir.rewrite import Builder
from headrace.ir.types import F32, TensorType
from headrace.passes.graph.canonicalize import Canonicalize
from headrace.passes.graph.cluster import Cluster
from headrace.passes.graph.cse import Cse
from headrace.passes.graph.dce import Dce
from headrace.passes.graph.decompose import Decompose
from headrace.passes.graph.fold_batch_norm import FoldBatchNorm
from headrace.passes.graph.fold_constants import FoldConstants
from headrace.passes.graph.place_parts import PlaceParts
from headrace.passes.graph.propagate_shapes import PropagateShapes
from headrace.passes.kernel.lower import Lower
from headrace.passes.program.plan_memory import PlanMemory

if TYPE_CHECKING:
    from tests.passes.graph.conftest import Bench, MakeBench

OPERATIONS = 14
SYMBOLS = {"n": 3, "m": 2}


class Growing:
    """A sampler that takes an operand from what the graph has computed so far, if there is one of that type."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.module = Module(Region())
        self.block = Block([TensorType.of(F32, *SYMBOLS)])  # binds the symbols
        self.builder = Builder(self.block)
        self.arrays: list[Array] = [self.rng.normal(size=tuple(SYMBOLS.values())).astype(np.float32)]

    def tensor(self, type: TensorType, low: float = -2.0, high: float = 2.0) -> Value:
        found = [r for o in self.block.operations for r in o.results if r.type == type]
        draw = self.rng.random()
        if found and draw < 0.8:
            return found[int(self.rng.integers(len(found)))]
        drawn = self.rng.uniform(low, high, [d.value for d in static(type, SYMBOLS).dims])
        array = (np.round(drawn) if type.dtype.is_integer else drawn).astype(type.dtype.numpy)
        if type.is_static and draw < 0.9:
            return self.constant(array)
        self.arrays.append(array)
        return self.block.add_argument(type)

    def constant(self, array: Array) -> Value:
        return self.builder.add(Constant(self.module.constants.add(array))).result

    def dims(self, rank: int) -> tuple[Dim, ...]:
        choice = [Dim.constant(2), Dim.constant(3), Dim.symbol("n"), Dim.symbol("m")]
        return tuple(choice[int(self.rng.integers(4))] for _ in range(rank))

    def symbol(self) -> str:
        raise NotImplementedError("dims that are data are left out here")


def _graph(seed: int, make: MakeBench) -> tuple[Bench, list[Array]]:
    growing = Growing(seed)
    kinds = [
        d.cls
        for d in declarations("graph")
        if issubclass(d.cls, GraphOp) and not issubclass(d.cls, DataDims) and _has_sample(d.cls)
    ]
    while len(growing.block.operations) < OPERATIONS:
        growing.builder.add(kinds[int(growing.rng.integers(len(kinds)))].sample(growing))
        while growing.rng.random() < 0.7:
            _extend(growing)
    unused = [r for o in growing.block.operations for r in o.results if not r.uses]
    growing.builder.add(Return(tuple(unused)))
    names = tuple(f"x{i}" for i in range(len(growing.block.arguments)))
    main = GraphFunc(SymbolRef("main"), Region(growing.block), (), names, tuple(f"y{i}" for i in range(len(unused))))
    Builder(growing.module.block).add(main)
    return make(growing.module), growing.arrays


def _extend(growing: Growing) -> None:
    """One more operation on the last result: what an epilogue or a prologue may be made of."""
    x = growing.block.operations[-1].results[0]
    kind = tensor(x)
    if not kind.dtype.is_float or kind.rank == 0:
        return
    channels = TensorType(kind.dtype, (kind.dims[1], *[ONE] * (kind.rank - 2))) if kind.rank > 1 else kind
    makers: list[Callable[[], GraphOp]] = [
        lambda: Relu(x),
        lambda: Sigmoid(x),
        lambda: Mul(x, x),
        lambda: Mul(growing.tensor(channels), x),
        lambda: Add(x, growing.tensor(channels)),
        lambda: Add(growing.tensor(kind), x),
        lambda: Transpose(x, tuple(range(kind.rank))[::-1]),
        lambda: Reduce(x, "max", (kind.rank - 1,), bool(growing.rng.integers(2))),
        lambda: Pad(x, (ONE,) * kind.rank, (ONE,) * kind.rank),
        lambda: MatMul(x, growing.tensor(TensorType(kind.dtype, (kind.dims[-1], Dim.constant(2))))),
    ]
    growing.builder.add(makers[int(growing.rng.integers(len(makers)))]())


def _has_sample(cls: type[GraphOp]) -> bool:
    return cls.sample.__func__ is not GraphOp.sample.__func__


EXACT: Sequence[Pass] = [Canonicalize(), Cse(), Dce(), FoldConstants(), PropagateShapes()]
ROAD: Sequence[Pass] = [
    Decompose(), FoldConstants(), PropagateShapes(), Canonicalize(), FoldBatchNorm(), FoldConstants(), Cse(), Dce(),
]  # fmt: skip


@pytest.mark.parametrize("seed", range(60))
def test_exact_passes_keep_every_bit(module_bench: MakeBench, seed: int) -> None:
    for one in EXACT:
        subject, arrays = _graph(seed, module_bench)
        before = subject.evaluate(arrays, SYMBOLS)
        subject.run(one)
        for old, new in zip(before, subject.evaluate(arrays, SYMBOLS), strict=True):
            assert old.dtype == new.dtype
            np.testing.assert_array_equal(old, new, err_msg=type(one).__name__)


@pytest.mark.parametrize("seed", range(60))
def test_the_road_to_clusters_keeps_the_meaning(module_bench: MakeBench, seed: int) -> None:
    subject, arrays = _graph(seed, module_bench)
    before = subject.evaluate(arrays, SYMBOLS)
    subject.run(*ROAD)
    _compare(before, subject.evaluate(arrays, SYMBOLS))
    subject.run(Cluster(max_ops=8))
    _compare(before, subject.evaluate(arrays, SYMBOLS))
    _check_clusters(subject)
    subject.run(PlaceParts())
    _compare(before, subject.evaluate(arrays, SYMBOLS))
    subject.run(Lower())
    _compare(before, subject.evaluate(arrays, SYMBOLS))
    subject.run(PlanMemory())
    _compare(before, subject.evaluate(arrays, SYMBOLS))


def _compare(before: Sequence[Array], after: Sequence[Array]) -> None:
    for old, new in zip(before, after, strict=True):
        assert old.dtype == new.dtype
        np.testing.assert_allclose(new, old, rtol=2e-3, atol=2e-3)


def _check_clusters(subject: Bench) -> None:
    """Nothing that needs a kernel is outside, and no cluster has two reductions."""
    lazy = lazy_values(subject.main.block)
    for operation in subject.main.block.body:
        if isinstance(operation, ClusterOp):
            inside = operation.body.block.body
            assert len([o for o in inside if isinstance(o, Reducing)]) <= 1
            assert len(inside) <= 8
        elif isinstance(operation, Pull | Reducing):
            assert operation.result in lazy or getattr(operation, "is_view", False), operation.name
