"""graph.fold-constants: what is computed while compiling, and what must not be."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest

from headrace.ir.core import Block, Value
from headrace.ir.declare import declarations
from headrace.ir.dims import Dim
from headrace.ir.graph.families import Array, GraphOp, Pull
from headrace.ir.graph.ops.constant import Constant
from headrace.ir.graph.reads import scalar_operations
from headrace.ir.kernel.ops.scalar import Transcendental
from headrace.ir.types import TensorType, dtype_of
from headrace.passes.graph.dce import Dce
from headrace.passes.graph.fold_constants import FoldConstants

if TYPE_CHECKING:
    from tests.passes.graph.conftest import Bench

FOLDING = [d.cls for d in declarations("graph") if issubclass(d.cls, GraphOp) and d.cls.folds]
NUMBERS = "%c = graph.constant {value = dense<[[1.0, -2.0, 3.0], [4.0, 5.0, -6.0]]> : f32[2, 3]} : f32[2, 3]"


class Parameters:
    """A sampler whose operands are parameters of a block that nobody runs."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.block = Block()

    def tensor(self, type: TensorType, low: float = -2.0, high: float = 2.0) -> Value:
        return self.block.add_argument(type)

    def constant(self, array: Array) -> Value:
        return self.block.add_argument(TensorType.of(dtype_of(array), *array.shape))

    def dims(self, rank: int) -> tuple[Dim, ...]:
        return tuple(Dim.constant(int(n)) for n in self.rng.integers(1, 4, rank))

    def symbol(self) -> str:
        return f"d{int(self.rng.integers(2**31))}"


@pytest.mark.parametrize("kind", FOLDING, ids=lambda k: k.name)
def test_what_folds_has_the_same_bits_everywhere(kind: type[GraphOp]) -> None:
    """An operation that folds pulls its elements without exp, log, tanh and erf, and sums nothing."""
    assert issubclass(kind, Pull)
    for seed in range(10):
        operation = kind.sample(Parameters(seed))
        assert isinstance(operation, Pull)
        assert not [o for o in scalar_operations(operation) if isinstance(o, Transcendental)]


FOLDED = [
    ("%y = graph.mul %c, %c : f32[2, 3]", np.array([[1, 4, 9], [16, 25, 36]], np.float32)),
    ("%y = graph.transpose %c {perm = [1, 0]} : f32[3, 2]", np.array([[1, 4], [-2, 5], [3, -6]], np.float32)),
    ("%y = graph.cast %c {dtype = i8} : i8[2, 3]", np.array([[1, -2, 3], [4, 5, -6]], np.int8)),
    ("%y = graph.relu %c : f32[2, 3]", np.array([[1, 0, 3], [4, 5, 0]], np.float32)),
]


@pytest.mark.parametrize(("body", "expected"), FOLDED)
def test_folded(bench: Callable[[str], Bench], body: str, expected: Array) -> None:
    subject = bench(f"(%x: f32[n]) {{\n{NUMBERS}\n{body}\ngraph.return %y\n}}")
    assert subject.run(FoldConstants())
    assert subject.names() == []
    found = subject.main.block.terminator.operands[0].owner
    assert isinstance(found, Constant)
    array = subject.module.constants.array(found.value)
    assert array.dtype == expected.dtype
    np.testing.assert_array_equal(array, expected)


REFUSED = {
    "float sums": "%y = graph.matmul %c, %t : f32[2, 2]",
    "exp": "%y = graph.exp %c : f32[2, 3]",
    "symbols in the result": "%y = graph.expand %c {dims = [n, 2, 3]} : f32[n, 2, 3]",
    "symbols in an attribute": "%y = graph.slice %c {starts = [n, 0], sizes = [1, 3], steps = [1, 1]} : f32[1, 3]",
    "a result much larger than its operands": "%y = graph.expand %c {dims = [10000, 2, 3]} : f32[10000, 2, 3]",
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(bench: Callable[[str], Bench], case: str) -> None:
    transposed = "%t = graph.constant {value = dense<[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]> : f32[3, 2]} : f32[3, 2]"
    subject = bench(f"(%x: f32[n]) {{\n{NUMBERS}\n{transposed}\n{REFUSED[case]}\ngraph.return %y\n}}")
    assert not subject.run(FoldConstants())


def test_a_chain_folds_at_once(bench: Callable[[str], Bench]) -> None:
    chain = "%1 = graph.neg %c : f32[2, 3]\n%2 = graph.add %1, %c : f32[2, 3]\n%3 = graph.max %2, %1 : f32[2, 3]"
    subject = bench(f"(%x: f32[n]) {{\n{NUMBERS}\n{chain}\ngraph.return %3\n}}")
    subject.run(FoldConstants(), Dce())
    assert len(subject.main.block.body) == 1
