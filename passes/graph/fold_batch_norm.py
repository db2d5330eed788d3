"""graph.fold-batch-norm: put a factor and an addend per channel into the weights and the bias before them.

Before:
    %1 = graph.conv %x, %w {...} : f32[n, 64, h, w]
    %2 = graph.mul %1, %factor : f32[n, 64, h, w]           (%factor, %addend: constants, f32[64, 1, 1])
    %3 = graph.add %2, %addend : f32[n, 64, h, w]
After:
    %4 = graph.reshape %factor {dims = [64, 1, 1, 1]} : f32[64, 1, 1, 1]
    %5 = graph.mul %w, %4 : f32[64, 3, 3, 3]
    %6 = graph.reshape %addend {dims = [64]} : f32[64]
    %3 = graph.conv %x, %5, %6 {...} : f32[n, 64, h, w]

Needs: `graph.decompose` and `graph.fold-constants` before it, which make a batch_norm the multiplication and
addition above.  Leaves: convolutions with a bias, matmuls with scaled columns; a scaled weight stays code on
constants, which is evaluated when the artefact is written.  Refuses: a convolution or matmul whose result has
another user; factors or addends that differ within a channel; strict numerics, since (w * f) * x is rounded
otherwise than (w * x) * f.
"""

from __future__ import annotations

from dataclasses import dataclass

from headrace.ir.core import Block, Location, Operation, Value, producer
from headrace.ir.graph.families import tensor
from headrace.ir.graph.lazy import lazy_values
from headrace.ir.graph.linear import ONE
from headrace.ir.graph.ops.arithmetic import Add, Mul
from headrace.ir.graph.ops.conv import Conv
from headrace.ir.graph.ops.expand import Expand
from headrace.ir.graph.ops.func import GraphFunc
from headrace.ir.graph.ops.matmul import MatMul
from headrace.ir.graph.ops.reshape import Reshape
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.rewrite import Builder, Rewriter


@dataclass(frozen=True)
class FoldBatchNorm(Pass):
    """The pass."""

    summary = "put factors and addends per channel into weights and biases"
    effect = "reorders"

    def run(self, module: Module, rewriter: Rewriter, context: PassContext) -> None:
        if context.strict:
            return
        for function in module.functions(GraphFunc):
            while _once(function, rewriter):
                pass


def _once(function: GraphFunc, rewriter: Rewriter) -> bool:
    """Folds each multiplication and addition that can be; whether there was one."""
    lazy = lazy_values(function.block)
    found = False
    for operation in function.block.body:
        if isinstance(operation, Mul | Add) and operation.result not in lazy:
            found |= _fold(function.block, operation, lazy, rewriter)
    return found


def _fold(block: Block, operation: Mul | Add, lazy: set[Value], rewriter: Rewriter) -> bool:
    for value, number in ((operation.a, operation.b), (operation.b, operation.a)):
        above = value.owner
        fits = number in lazy and value.type == operation.result.type
        if not fits or len(value.uses) > 1 or not isinstance(above, Conv | MatMul | Add):
            continue
        builder = Builder(block, operation, Location.fused([above.location, operation.location]))
        new = _folded(builder, operation, above, number, lazy)
        if new is not None:
            rewriter.replace(operation, [new])
            _erase_unused(above, rewriter)
            return True
    return False


def _erase_unused(operation: Operation, rewriter: Rewriter) -> None:
    """Removes what was folded: the operation, and a matmul that only it used."""
    operands = operation.operands
    rewriter.erase(operation)
    for operand in operands:
        above = producer(operand, MatMul)
        if above is not None and not operand.uses:
            rewriter.erase(above)


def _folded(
    b: Builder, operation: Mul | Add, above: Conv | MatMul | Add, number: Value, lazy: set[Value]
) -> Value | None:
    """The value that `operation` computes from `number` and what is above it; None if there is no such form."""
    match operation, above:
        case Mul(), Conv(channels_last=False) if (
            {above.w, above.b} <= {*lazy, None} and _is_per_channel(number, above.result, 1)
        ):
            bias = None if above.b is None else _scaled(b, above.b, number, 1)
            return _conv(b, above, _scaled(b, above.w, number, tensor(above.w).rank), bias)
        case Add(), Conv(channels_last=False) if above.b in {*lazy, None} and _is_per_channel(number, above.result, 1):
            return _conv(b, above, above.w, _bias(b, above, number))
        case Mul(), MatMul() if _scales_columns(above, number, lazy):
            return b.add(MatMul(above.a, _scaled(b, above.b, number, 1))).result
        case Mul(), Add():
            return _distributed(b, above, number, lazy)
    return None


def _distributed(b: Builder, above: Add, factor: Value, lazy: set[Value]) -> Value | None:
    """(x @ w + c) * f = x @ (w * f) + c * f."""
    for value, addend in ((above.a, above.b), (above.b, above.a)):
        product = producer(value, MatMul)
        if product is None or addend not in lazy or len(value.uses) > 1 or value.type != above.result.type:
            continue
        if _scales_columns(product, factor, lazy) and _is_per_channel(addend, value, tensor(value).rank - 1):
            scaled = b.add(MatMul(product.a, _scaled(b, product.b, factor, 1))).result
            return b.add(Add(scaled, b.add(Mul(_row(b, addend, 1), _row(b, factor, 1))).result)).result
    return None


def _scales_columns(product: MatMul, factor: Value, lazy: set[Value]) -> bool:
    columns = tensor(product.b).rank >= 2
    return columns and product.b in lazy and _is_per_channel(factor, product.result, tensor(product.result).rank - 1)


def _is_per_channel(number: Value, of: Value, axis: int) -> bool:
    """Whether `number`, broadcast against `of`, differs along `axis` only."""
    dims, rank = tensor(number).dims, tensor(of).rank
    return all(d == ONE or i == axis for i, d in enumerate(dims, rank - len(dims)))


def _row(b: Builder, number: Value, rank: int) -> Value:
    """The numbers of the channels along the first of `rank` dims."""
    dims = (tensor(number).elements, *[ONE] * (rank - 1))
    return number if tensor(number).dims == dims else b.add(Reshape(number, dims)).result


def _scaled(b: Builder, weight: Value, factor: Value, rank: int) -> Value:
    return b.add(Mul(weight, _row(b, factor, rank))).result


def _bias(b: Builder, above: Conv, addend: Value) -> Value:
    row = _row(b, addend, 1)
    if above.b is not None:
        return b.add(Add(above.b, row)).result
    features = tensor(above.w).dims[:1]
    return row if tensor(row).dims == features else b.add(Expand(row, features)).result


def _conv(b: Builder, old: Conv, w: Value, bias: Value | None) -> Value:
    return b.add(Conv(old.x, w, bias, old.strides, old.dilations, old.before, old.after, old.groups)).result
