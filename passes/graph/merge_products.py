"""graph.merge-products: products of the same rows with several matrices become one product.

Before (queries and keys of an attention):
    %0 = graph.matmul %x, %q : f32[n, 128, 768]
    %1 = graph.add %0, %bq : f32[n, 128, 768]
    %2 = graph.matmul %x, %k : f32[n, 128, 768]
    %3 = graph.add %2, %bk : f32[n, 128, 768]
After:
    %4 = graph.concat %q, %k {axis = 1} : f32[768, 1536]
    %5 = graph.matmul %x, %4 : f32[n, 128, 1536]
    %6 = graph.concat %bq, %bk {axis = 0} : f32[1536]
    %7 = graph.add %5, %6 : f32[n, 128, 1536]
    %1 = graph.slice %7 {starts = [0, 0, 0], sizes = [n, 128, 768], steps = [1, 1, 1]} : f32[n, 128, 768]
    %3 = graph.slice %7 {starts = [0, 0, 768], sizes = [n, 128, 768], steps = [1, 1, 1]} : f32[n, 128, 768]

The matrices and the rows that are added are constants, so what is joined of them is too; and slices are taken in by
their readers, or are views (`graph.place-parts`).

The rule of costs.  One launch and one barrier take the place of several, the rows are read once, and columns that fill
no whole tile are left over once.  Measured, that saves 0 to 2 % of products of hundreds of columns, up to 15 % of those
of 24 or 40.  A product of one row waits for its matrix and gains little, and where it is small, it is then just large
enough for a second thread that makes it slower: so products are merged where there are at least `rows` rows, symbols
being as small as they may be, but not 0.

Needs: nothing.  Leaves: as many products less.  Refuses: matrices that are no constants, or that kernels unfold (int8
weights); branches of which one adds a row and another does not; a product that something else reads before the row is
added.  Numbers: a schedule may sum in another order where a product has other columns.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from math import prod

from headrace.ir.core import OpResult, Value
from headrace.ir.dims import Facts
from headrace.ir.graph.families import tensor
from headrace.ir.graph.lazy import lazy_values
from headrace.ir.graph.linear import ONE, ZERO
from headrace.ir.graph.ops.arithmetic import Add
from headrace.ir.graph.ops.concat import Concat
from headrace.ir.graph.ops.func import GraphFunc
from headrace.ir.graph.ops.matmul import MatMul
from headrace.ir.graph.ops.slice import Slice
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.rewrite import Builder, Rewriter


@dataclass(frozen=True)
class MergeProducts(Pass):
    """`rows`: of a product that is merged, at least."""

    rows: int = 8

    summary = "make products of the same rows with several matrices one product"
    effect = "reorders"

    def run(self, module: Module, rewriter: Rewriter, context: PassContext) -> None:
        if context.strict:
            return
        for function in module.functions(GraphFunc):
            if function.stands_for_constant:
                continue
            constants = lazy_values(function.block)
            groups: dict[tuple[Value, bool], list[_Branch]] = {}
            for operation in function.block.body:
                if isinstance(operation, MatMul) and _is_mergeable(operation, constants, function.known, self.rows):
                    branch = _branch(operation, constants)
                    groups.setdefault((operation.a, branch.bias is None), []).append(branch)
            for branches in groups.values():
                if len(branches) > 1:
                    _merge(branches, rewriter)


@dataclass(frozen=True, slots=True)
class _Branch:
    """A product with a constant matrix, and the addition of a constant row to it, where that is all that reads it."""

    product: MatMul
    bias: Value | None
    last: MatMul | Add


def _is_mergeable(product: MatMul, constants: Container[Value], known: Facts, rows: int) -> bool:
    a, b = tensor(product.a), tensor(product.b)
    if product.a in constants or product.b not in constants or b.rank != 2 or a.rank < 2:
        return False
    fewest = prod(a.dims[:-1], start=ONE)
    return int(fewest.evaluate(known.smallest(fewest.symbols, dict.fromkeys(fewest.symbols, 1)))) >= rows


def _branch(product: MatMul, constants: Container[Value]) -> _Branch:
    if len(product.result.uses) == 1:
        ((user, number),) = product.result.uses
        if isinstance(user, Add):
            other = user.operands[1 - number]
            if other in constants and tensor(other).dims == tensor(product.b).dims[1:]:
                return _Branch(product, other, user)
    return _Branch(product, None, product)


def _merge(branches: Sequence[_Branch], rewriter: Rewriter) -> None:
    """Computes all branches where the first of them stands."""
    products = [b.product for b in branches]
    before = rewriter.before(products[0])
    whole = before.add(MatMul(products[0].a, _joined(before, [p.b for p in products], 1, rewriter))).result
    biases = [b.bias for b in branches if b.bias is not None]
    if biases:
        whole = before.add(Add(whole, _joined(before, biases, 0, rewriter))).result
    parts, start = [], ZERO
    for branch in branches:
        before.location = branch.last.location
        dims = tensor(branch.last.result).dims
        starts = (*(ZERO,) * (len(dims) - 1), start)
        parts.append(before.add(Slice(whole, starts, dims, (1,) * len(dims))))
        start = start + dims[-1]
    for branch, part in zip(branches, parts, strict=True):
        rewriter.replace(branch.last, part.results)
        if branch.last is not branch.product:
            rewriter.erase(branch.product)


def _joined(before: Builder, values: Sequence[Value], axis: int, rewriter: Rewriter) -> Value:
    """Constants side by side, those that stand further down moved here."""
    for value in values:
        _bring(value, before, rewriter)
    return before.add(Concat(tuple(values), axis)).result


def _bring(value: Value, before: Builder, rewriter: Rewriter) -> None:
    assert isinstance(value, OpResult) and before.anchor is not None
    order = before.block.operations
    if order.index(value.operation) > order.index(before.anchor):
        for operand in value.operation.operands:
            _bring(operand, before, rewriter)
        rewriter.move_before(value.operation, before.anchor)
