"""Which values depend on constants only and are computed when the artefact is written.

In: a block.  Out: its constants and what exact operations make of them: packed, transposed, scaled weights.
They need no kernel, and no memory while the model is compiled.  What makes a large constant wider, int8 weights floats,
is left to kernels: such weights lie in the artefact as in the model, and are *unfolded* where they are read.
"""

from __future__ import annotations

from collections.abc import Container

from headrace.ir.core import Block, Operation, Value
from headrace.ir.graph.families import Elementwise, GraphOp, tensor
from headrace.ir.graph.ops.constant import Constant
from headrace.ir.symbols import formulas

# A result up to this size may be larger than the constants it is made of.
SMALL_BYTES = 64 * 1024


def lazy_values(block: Block) -> set[Value]:
    """Membership only: the order of the set means nothing."""
    found: set[Value] = set()
    for operation in block.operations:
        if isinstance(operation, Constant) or _is_lazy(operation, found):
            found.update(operation.results)
    return found


def is_unfolded(operation: Operation, known: Container[Value]) -> bool:
    """Whether each element of the result is made of one in a large constant, cheaply, and only takes more bytes."""
    if not isinstance(operation, Elementwise) or not _depends_on(operation, known) or not _grows(operation):
        return False
    return any(tensor(o).elements == tensor(operation.result).elements for o in operation.operands)


def _is_lazy(operation: Operation, known: Container[Value]) -> bool:
    return isinstance(operation, GraphOp) and _depends_on(operation, known) and not _grows(operation)


def _depends_on(operation: GraphOp, known: Container[Value]) -> bool:
    """Whether it makes something of known values alone, exactly."""
    if not operation.folds or not operation.operands:
        return False
    return all(o in known for o in operation.operands) and has_numbers_only(operation)


def _grows(operation: GraphOp) -> bool:
    """Whether a large result takes more bytes than all it is made of: then a kernel had better read the origin."""
    taken = sum(tensor(o).bytes.value for o in operation.operands)
    return any(tensor(r).bytes.value > max(taken, SMALL_BYTES) for r in operation.results)


def has_numbers_only(operation: GraphOp) -> bool:
    """Whether neither attributes nor result types mention a symbol, so that `reference` can be asked."""
    held = [*operation.attributes.values(), *(r.type for r in operation.results)]
    return all(formula.is_constant for value in held for formula in formulas(value))
