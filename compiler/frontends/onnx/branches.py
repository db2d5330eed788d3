"""What the branches of an If have in common.  In: their graphs, the condition.  Out: which of them can be compiled.

PyTorch writes `x.squeeze(1)` as an If whose branches differ in rank:

    If (Shape(x)[1] == 1)   then Squeeze(x, axes = 1)   else Identity(x)

No rank stands for both.  What comes after is made for the one that it was exported with, almost always the squeezed
one; so that one is taken, and a dim that is not 1 is an error of the run, as it is for Squeeze alone.
"""

from __future__ import annotations

from onnx import GraphProto

from headrace.compiler.frontends.onnx.state import State
from headrace.ir.core import Value, producer
from headrace.ir.dims import Dim
from headrace.ir.graph.families import tensor
from headrace.ir.graph.ops.compare import Compare
from headrace.ir.graph.ops.reshape import Reshape

ONE = (Dim.constant(1),)


def squeezes_or_hands_on(then: GraphProto, otherwise: GraphProto) -> bool:
    """Whether one branch does nothing but squeeze what the other hands on."""
    squeezed = [n for n in then.node if n.op_type != "Constant"]
    handed = [n for n in otherwise.node if n.op_type != "Constant"]
    if [n.op_type for n in squeezed] != ["Squeeze"] or [n.op_type for n in handed] != ["Identity"]:
        return False
    return squeezed[0].input[0] == handed[0].input[0] and len(then.output) == 1


def is_squeezed_where(condition: Value, squeezed: Value, state: State) -> bool:
    """Whether the condition is that what `squeezed` leaves out is 1.

    A run checks that the elements before and after Squeeze are equally many, so it stops where the condition does
    not hold.
    """
    compare, reshape = producer(condition, Compare), producer(squeezed, Reshape)
    if compare is None or compare.predicate != "eq" or reshape is None:
        return False
    sides = [state.integers(o) for o in compare.operands]
    if ONE not in sides:
        return False
    dropped = sides[1 - sides.index(ONE)]
    if dropped is None or len(dropped) != 1:
        return False
    before, after = tensor(reshape.x).elements, tensor(squeezed).elements
    return state.facts.equal(before, after * dropped[0]) is True
