"""Which values depend on constants only and are computed when the artefact is written.

In: a block.  Out: its constants and what exact operations make of them: packed, transposed, scaled weights.
They need no kernel, and no memory while the model is compiled.  What makes a large constant wider, int8 weights floats,
is left to kernels: such weights lie in the artefact as in the model, and are *unfolded* where they are read.
"""

from __future__ import annotations

from collections.abc import Container, Sequence

from headrace.ir.core import Block, Operation, Value
from headrace.ir.graph.families import Elementwise, GraphOp, Movement, tensor
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
    if not isinstance(operation, Elementwise) or not operation.folds or not has_numbers_only(operation):
        return False
    origins = [_origin(o, known) for o in operation.operands]
    kept = [o for o in origins if o is not None]
    if not kept or len(kept) < len(origins) or not _grows(operation, kept):
        return False
    return any(tensor(o).elements == tensor(operation.result).elements for o in kept)


def _origin(value: Value, known: Container[Value]) -> Value | None:
    """The known value that it is, or whose elements it holds at other places: scales that blocks share."""
    while value not in known:
        movement = value.owner
        if not isinstance(movement, Movement) or len(movement.operands) != 1:
            return None
        (value,) = movement.operands
    return value


def _is_lazy(operation: Operation, known: Container[Value]) -> bool:
    if not isinstance(operation, GraphOp) or not operation.folds or not operation.operands:
        return False
    if not all(o in known for o in operation.operands) or not has_numbers_only(operation):
        return False
    return not _grows(operation, operation.operands)


def _grows(operation: GraphOp, origins: Sequence[Value]) -> bool:
    """Whether a large result takes more bytes than all it is made of: then a kernel had better read the origin."""
    taken = sum(tensor(o).bytes.value for o in origins)
    return any(tensor(r).bytes.value > max(taken, SMALL_BYTES) for r in operation.results)


def has_numbers_only(operation: GraphOp) -> bool:
    """Whether neither attributes nor result types mention a symbol, so that `reference` can be asked."""
    held = [*operation.attributes.values(), *(r.type for r in operation.results)]
    return all(formula.is_constant for value in held for formula in formulas(value))
