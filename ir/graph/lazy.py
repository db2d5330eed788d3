"""Which values depend on constants only and are computed when the artefact is written.

In: a block.  Out: its constants and what exact operations make of them: packed, transposed, cast, scaled weights.
They need no kernel, and no memory while the model is compiled.
"""

from __future__ import annotations

from headrace.ir.core import Block, Operation, Value
from headrace.ir.dims import Dim
from headrace.ir.graph.families import GraphOp, tensor
from headrace.ir.graph.ops.constant import Constant
from headrace.ir.symbols import formulas

# A result up to this size may have more elements than the constants it is made of.
SMALL_BYTES = 64 * 1024


def lazy_values(block: Block) -> set[Value]:
    """Membership only: the order of the set means nothing."""
    found: set[Value] = set()
    for operation in block.operations:
        if isinstance(operation, Constant) or _is_lazy(operation, found):
            found.update(operation.results)
    return found


def _is_lazy(operation: Operation, known: set[Value]) -> bool:
    if not isinstance(operation, GraphOp) or not operation.folds or not operation.operands:
        return False
    if not all(o in known for o in operation.operands) or not has_numbers_only(operation):
        return False
    return not any(_grows(operation, r) for r in operation.results)


def _grows(operation: GraphOp, result: Value) -> bool:
    """Whether a large result has more elements than all it is made of: then a kernel had better read the origin."""
    taken = sum((tensor(o).elements for o in operation.operands), start=Dim.constant(0))
    return tensor(result).elements.value > taken.value and tensor(result).bytes.value > SMALL_BYTES


def has_numbers_only(operation: GraphOp) -> bool:
    """Whether neither attributes nor result types mention a symbol, so that `reference` can be asked."""
    held = [*operation.attributes.values(), *(r.type for r in operation.results)]
    return all(formula.is_constant for value in held for formula in formulas(value))
