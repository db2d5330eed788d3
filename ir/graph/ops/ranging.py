"""ONNX Range: graph.range, a constant, or numbers that are counted when the model runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from headrace.ir.core import Value
from headrace.ir.dims import ceildiv, dim_max
from headrace.ir.graph.compose import Term
from headrace.ir.graph.counting import MOST, TOO_MANY, Problem, first_numbers
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.linear import ZERO
from headrace.ir.graph.ops.formulas import Range
from headrace.ir.types import I64, U64

Array = np.ndarray[Any, Any]
MOST_FLOATS = 2**20  # of a range of floats, which becomes a constant


@onnx_import("Range", since=11)
def _range(node: OnnxNode) -> Sequence[Value]:
    dtype = node.tensor(0).dtype
    if dtype.is_float:
        numbers = [node.constant(i) for i in range(3)]
        constant = (
            None if any(n is None for n in numbers) else _float_range(node, [n for n in numbers if n is not None])
        )
        return [_counted(node) if constant is None else node.add_constant(constant.astype(dtype.numpy))]
    known = [node.shape_value(i) for i in range(3)]
    if any(k is None for k in known):
        return [_counted(node)]
    start, limit, step = (k[0] for k in known if k is not None)
    if not step.is_constant or step == ZERO:
        return [_counted(node)]
    span = limit - start if step.value > 0 else start - limit
    count = node.simplify(dim_max(ceildiv(span, abs(step.value)), 0))
    return [node.add(Range(start, step, count, dtype))]


def _float_range(node: OnnxNode, given: Sequence[Array]) -> Array | None:
    """The numbers; ONNX counts them as ceil((limit - start) / step) in the element type.  None for too many."""
    start, limit, step = (n.reshape(()) for n in given)
    with np.errstate(all="ignore"):
        count = np.ceil((limit - start) / step)
    if not np.isfinite(count):
        raise node.fail(f"no range from {start} to {limit} in steps of {step}")
    if count > MOST_FLOATS:
        return None
    return np.asarray(start + np.arange(max(int(count), 0)).astype(start.dtype) * step)


def _counted(node: OnnxNode) -> Value:
    """Start and step are in the element type, where numbers may wrap on their way to what is in range again."""
    start, limit, step = (Term(node, node.operand(i)).reshape(1) for i in range(3))
    count, problems = (_count_of_floats if start.dtype.is_float else _count_of_integers)(start, limit, step)
    problems = [(step.compare("eq", 0), "the step is 0"), *problems]
    if start.dtype.is_float:
        numbers = first_numbers(node, count, f"{node.name}_count", problems).cast(start.dtype)
    else:
        numbers = first_numbers(node, count, f"{node.name}_count", problems, start.dtype)
    return (numbers * step + start).value


def _count_of_floats(start: Term, limit: Term, step: Term) -> tuple[Term, Sequence[Problem]]:
    count = start.like(0) - (start.like(0) - (limit - start) / step).floor()  # ceil
    no_number = (count.compare("ne", count), "start, limit and step give no count")
    return count.at_least(0).cast(I64), [no_number, (count.compare("ge", 2.0**63), TOO_MANY)]


def _count_of_integers(start: Term, limit: Term, step: Term) -> tuple[Term, Sequence[Problem]]:
    """In unsigned numbers, which hold the difference of any two signed ones."""
    start, limit, step = (v.cast(I64) for v in (start, limit, step))
    up = step.compare("gt", 0)
    high, low = up.where(limit, start), up.where(start, limit)
    span, by = (high - low).cast(U64), up.where(step, step * -1).cast(U64)
    count = high.compare("gt", low).where((span - 1) / by + 1, span * 0)
    return count.cast(I64), [(count.compare("gt", MOST), TOO_MANY)]
