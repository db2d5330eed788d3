"""ONNX Det: determinants of small square matrices, by Laplace's expansion along the first row.

It takes n! products, so that matrices may have four rows at most; larger ones, which need pivots, are refused.
"""

from __future__ import annotations

from collections.abc import Sequence

from headrace.ir.core import Value
from headrace.ir.dims import Dim
from headrace.ir.graph.compose import Term
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.ops.slice import sliced

LARGEST = 4


@onnx_import("Det", since=11)
def _det(node: OnnxNode) -> Sequence[Value]:
    x = Term(node, node.operand(0))
    sizes = {d.value for d in x.dims[-2:] if d.is_constant}
    if x.rank < 2 or len(sizes) > 1:
        raise node.fail(f"found {x.type}, expected square matrices")
    if len(sizes) < len(set(x.dims[-2:])) or not 1 <= max(sizes) <= LARGEST:
        raise node.unsupported(f"found {x.type}, expected matrices of 1 to {LARGEST} rows")
    size, flat = max(sizes), x.reshape(*x.dims[:-2], x.dims[-1] * x.dims[-1])

    def element(row: int, column: int) -> Term:
        place = Dim.constant(row * size + column)
        return Term(node, sliced(node, flat.value, flat.rank - 1, place, Dim.constant(1))).reshape(*x.dims[:-2])

    def minor(row: int, columns: tuple[int, ...]) -> Term:
        """The determinant of the rows from `row` on in these columns."""
        if len(columns) == 1:
            return element(row, columns[0])
        total = None
        for place, column in enumerate(columns):
            product = element(row, column) * minor(row + 1, columns[:place] + columns[place + 1 :])
            total = product if total is None else total - product if place % 2 else total + product
        assert total is not None
        return total

    return [minor(0, tuple(range(size))).value]
