"""graph.fold-constants: compute what depends on constants only, while compiling.

Before:
    %a = graph.constant {value = #11..} : f32[64]
    %b = graph.constant {value = #22..} : f32[64]
    %1 = graph.add %a, %b : f32[64]
    %2 = graph.add %x, %1 : f32[n, 64]
After:
    %1 = graph.constant {value = #33..} : f32[64]
    %2 = graph.add %x, %1 : f32[n, 64]

Needs: nothing.  Leaves: constants, and what `fold` of an operation knows to equal an existing value.  Refuses:
operations whose bits depend on the machine that compiles (`GraphOp.folds`); and results that are larger than
64 KiB and no smaller than the largest operand: transposed, cast and scaled weights stay code that is evaluated
when the artefact is written, and int8 weights are never unfolded here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headrace.ir.core import Operation, Value, producer
from headrace.ir.graph.families import Array, GraphOp, tensor
from headrace.ir.graph.lazy import SMALL_BYTES, has_numbers_only
from headrace.ir.graph.ops.constant import Constant
from headrace.ir.graph.ops.func import GraphFunc
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.rewrite import Rewriter


@dataclass(frozen=True)
class FoldConstants(Pass):
    """The pass."""

    summary = "compute what depends on constants only"

    def run(self, module: Module, rewriter: Rewriter, context: PassContext) -> None:
        for function in module.functions(GraphFunc):
            for operation in function.walk():
                if isinstance(operation, GraphOp):
                    _fold(operation, module, rewriter)


def _fold(operation: GraphOp, module: Module, rewriter: Rewriter) -> None:
    known = folded_value(operation)
    if known is not None:
        rewriter.replace(operation, [known])
        return
    constants = _constant_operands(operation)
    if constants is None or not operation.folds or not has_numbers_only(operation) or not _worth_storing(operation):
        return
    results = _evaluated(operation, [module.constants.array(c.value) for c in constants])
    builder = rewriter.before(operation)
    rewriter.replace(operation, [builder.add(Constant(module.constants.add(r))).result for r in results])


def folded_value(operation: GraphOp) -> Value | None:
    """What `fold` gives, where it has the very type of the result."""
    if len(operation.results) != 1:
        return None
    value = operation.fold()
    return value if value is not None and value.type == operation.result.type else None


def _constant_operands(operation: Operation) -> list[Constant] | None:
    found = [producer(o, Constant) for o in operation.operands]
    known = [c for c in found if c is not None]
    return known if len(known) == len(found) else None


def _worth_storing(operation: GraphOp) -> bool:
    size = sum(tensor(r).bytes.value for r in operation.results)
    return size <= SMALL_BYTES or size < max((tensor(o).bytes.value for o in operation.operands), default=0)


def _evaluated(operation: GraphOp, operands: list[Array]) -> list[Array]:
    with np.errstate(all="ignore"):  # an overflow in the model is an infinity, not a warning
        found = operation.reference(*operands)
    arrays = found if isinstance(found, tuple) else (found,)
    results = []
    for array, result in zip(arrays, operation.results, strict=True):
        kind = tensor(result)
        shape = tuple(d.value for d in kind.dims)
        if array.dtype != kind.dtype.numpy or array.shape != shape:
            raise operation.fail(f"reference gives {array.dtype}{list(array.shape)}, expected {kind}")
        results.append(np.ascontiguousarray(array).reshape(shape))
    return results
