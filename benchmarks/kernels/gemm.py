"""A matrix product with a symbolic row count, as a graph: measured is what the target's schedule makes of it."""

from __future__ import annotations

import numpy as np

from headrace.ir.access import SymbolRef
from headrace.ir.core import Block, Region
from headrace.ir.graph.ops.constant import Constant
from headrace.ir.graph.ops.func import GraphFunc, Return
from headrace.ir.graph.ops.matmul import MatMul
from headrace.ir.module import Module
from headrace.ir.rewrite import Builder
from headrace.ir.types import F32, TensorType


def gemm_module(inner: int, columns: int) -> Module:
    """y[m, columns] = x[m, inner] @ w with constant random weights; m is a symbol."""
    module = Module(Region())
    block = Block([TensorType.of(F32, "m", inner)], ["x"])
    builder = Builder(block)
    weights = np.random.default_rng(0).standard_normal((inner, columns), np.float32)
    w = builder.add(Constant(module.constants.add(weights)), "w").result
    builder.add(Return((builder.add(MatMul(block.arguments[0], w), "y").result,)))
    Builder(module.block).add(GraphFunc(SymbolRef("main"), Region(block), (), input_names=("x",), output_names=("y",)))
    return module
