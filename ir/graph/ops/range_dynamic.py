"""graph.range_dynamic: 0, 1, 2, ... as many as the model counts when it runs.

    %n = graph.range_dynamic %count {symbol = "n", dtype = i64} : i64[n]
    %m = graph.range_dynamic %count, %problem
        {symbol = "m", dtype = i64, problem_symbol = "p", problems = ["the step is 0"]} : i64[m]

Symbol n is the integer in %count, i64[1], at least 0.  %problem, i64[1], is 0 where there is such a count; any other
number k is an error when the model runs, with the k-th of `problems` as its message.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headrace.ir.core import Value
from headrace.ir.declare import op
from headrace.ir.dims import Dim
from headrace.ir.graph.exporting import OnnxWriter
from headrace.ir.graph.families import (
    Array,
    DataDims,
    DimCheck,
    DimRead,
    Index,
    PullBuilder,
    Sampler,
    tensor,
)
from headrace.ir.graph.linear import ONE
from headrace.ir.graph.sampling import chance, pick
from headrace.ir.types import I32, I64, DType, TensorType, Type


@op("graph.range_dynamic")
class RangeDynamic(DataDims):
    """The numbers below `count`, which wrap in `dtype` as integers do."""

    count: Value
    problem: Value | None
    symbol: str
    dtype: DType = I64
    problem_symbol: str = ""
    problems: tuple[str, ...] = ()

    def infer(self) -> Sequence[Type]:
        for operand in self.operands:
            if tensor(operand) != TensorType(I64, (ONE,)):
                raise self.fail(f"count or problem is {operand.type}, expected i64[1]")
        if not (self.problem is None) == (not self.problem_symbol) == (not self.problems):
            raise self.fail("a problem, its symbol and its messages go together")
        if not self.dtype.is_integer:
            raise self.fail(f"dtype is {self.dtype}, expected an integer type")
        return [TensorType(self.dtype, (Dim.symbol(self.symbol),))]

    def dim_reads(self) -> Sequence[DimRead]:
        found = [DimRead(self.symbol, self.count, 0, 0)]
        return found if self.problem is None else [DimRead(self.problem_symbol, self.problem, 0, 0), *found]

    def checks(self) -> Sequence[DimCheck]:
        below = [(Dim.constant(i) - Dim.symbol(self.problem_symbol), m) for i, m in enumerate(self.problems)]
        return [DimCheck(*pair) for pair in reversed(below)]

    def pull(self, b: PullBuilder, index: Index) -> Value:
        return b.index(index[0], self.dtype)

    def reference(self, *operands: Array) -> Array:
        return np.arange(int(operands[0][0])).astype(self.dtype.numpy)

    def to_onnx(self, w: OnnxWriter) -> Sequence[str]:
        (count,) = w.node("Reshape", self.count, w.constant(np.array([], np.int64)))
        numbers = w.node("Range", w.constant(np.array(0)), count, w.constant(np.array(1)))
        return w.node("Cast", *numbers, to=self.dtype)

    @classmethod
    def sample(cls, sampler: Sampler) -> RangeDynamic:
        count = sampler.constant(np.array([pick(sampler, 0, 5)]))
        dtype = I32 if chance(sampler, 0.5) else I64
        if chance(sampler, 0.5):
            return cls(count, None, sampler.symbol(), dtype)
        none = sampler.constant(np.array([0]))
        return cls(count, none, sampler.symbol(), dtype, sampler.symbol(), ("there is no such number",))
