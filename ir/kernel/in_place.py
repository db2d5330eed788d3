"""Operands and results of a kernel that may be the same memory: a result that takes the operand's place.

In: a kernel, as structured operations.  Out: whether an element of the operand is read only by the point that writes
the same element of the result, which it does last and once; and a check that this still holds of all that a kernel
allows.
"""

from __future__ import annotations

from collections.abc import Iterator

from headrace.ir.core import BlockArgument, Operation, walk
from headrace.ir.dims import Dim
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.kernel.ops.matrix import Mma
from headrace.ir.kernel.ops.structured import Map, Reduce, Structured
from headrace.ir.types import BufferType


def may_take_place(function: KernelFunc, operand: BlockArgument, result: BlockArgument) -> bool:
    """Whether the kernel, one structured operation that no schedule has touched, may write `result` over `operand`."""
    body = function.block.operations
    if len(body) != 1 or not isinstance(body[0], Map | Reduce) or operand.type != result.type:
        return False
    (op,) = body
    assert isinstance(op, Map | Reduce) and isinstance(result.type, BufferType)
    points = [a for a in op.axes if a.kind == "parallel"]
    whole = tuple(a.extent for a in points) == result.type.dims
    own = tuple(Dim.symbol(a.name) for a in points)
    written = [a.map.indices for a in op.writes if a.value is result]
    return whole and written == [own] and not op.where and _reads_own(op, operand, result)


def check_in_place(function: KernelFunc) -> None:
    """Raises VerifyError where one of the points of an operation reads what another may have written over."""
    for operand, result in in_place(function):
        if operand.type != result.type:
            raise function.fail(f"parameters {operand.index} and {result.index} are in place, expected one type")
        for op in walk(function, Operation):
            if isinstance(op, Structured | Mma) and not _reads_own(op, operand, result):
                raise op.fail(f"reads other elements of parameter {operand.index} than it writes in its place")


def in_place(function: KernelFunc) -> Iterator[tuple[BlockArgument, BlockArgument]]:
    """The pairs of operand and result that a launch may give one buffer."""
    numbers = iter(function.in_place)
    for operand, result in zip(numbers, numbers, strict=True):
        yield function.parameters[operand], function.parameters[result]


def _reads_own(op: Structured | Mma, operand: BlockArgument, result: BlockArgument) -> bool:
    """Whether each point reads the operand at the element of the result that it writes, if at all, when its reduction
    is over."""
    uses = [number for user, number in operand.uses if user is op]
    if not isinstance(op, Map | Reduce):
        return not uses
    last = op.late if isinstance(op, Reduce) else op.reads
    reads = [a.map for a in last if a.value is operand]
    writes = [a.map for a in op.writes if a.value is result]
    return len(reads) == len(uses) and all([read] == writes for read in reads)
