"""Sequences and optionals.  In: a node of theirs, what its inputs stand for.  Out: what its outputs stand for.

A sequence is a tuple of values while a model is imported, an optional one value or none, and nothing else later: how
long a sequence is, and whether an optional is empty, must be known while compiling.  A model's input of such a type
becomes one tensor for each element, `NAME[0]`, `NAME[1]`, ..., and so does an output.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from headrace.compiler.frontends.onnx.held import Held, Maybe, Tensors
from headrace.compiler.frontends.onnx.node import Node
from headrace.ir.dims import Dim, dim_min
from headrace.ir.graph.families import tensor
from headrace.ir.graph.linear import ONE, ZERO
from headrace.ir.graph.ops.concat import Concat
from headrace.ir.graph.ops.reshape import reshaped
from headrace.ir.graph.ops.slice import sliced

MOST_PIECES = 1024  # that a tensor is cut into; each is an operation

Inputs = Sequence[Held | None]
Rule = Callable[[Node, Inputs], Held]


# ---- one function an operator ----------------------------------------------------------------------------------


def _construct(node: Node, inputs: Inputs) -> Held:
    return Tensors(tuple(node.operand(i) for i in range(len(inputs))))


def _empty(node: Node, inputs: Inputs) -> Held:
    return Tensors(())


def _insert(node: Node, inputs: Inputs) -> Held:
    elements = _sequence(node, inputs).elements
    at = len(elements) if node.input(2) is None else _position(node, 2, len(elements), most=len(elements))
    return Tensors((*elements[:at], node.operand(1), *elements[at:]))


def _erase(node: Node, inputs: Inputs) -> Held:
    elements = _sequence(node, inputs).elements
    at = len(elements) - 1 if node.input(1) is None else _position(node, 1, len(elements), most=len(elements) - 1)
    if at < 0:
        raise node.fail("erases an element of an empty sequence")
    return Tensors((*elements[:at], *elements[at + 1 :]))


def _at(node: Node, inputs: Inputs) -> Held:
    elements = _sequence(node, inputs).elements
    return elements[_position(node, 1, len(elements), most=len(elements) - 1)]


def _length(node: Node, inputs: Inputs) -> Held:
    return node.add_constant(np.array(len(_sequence(node, inputs).elements), np.int64))


def _split(node: Node, inputs: Inputs) -> Held:
    x, kind = node.operand(0), node.tensor(0)
    axis = node.axis(node.attribute("axis", 0), kind.rank)
    dim, given = kind.dims[axis], node.shape_value(1)
    if node.input(1) is None or (given is not None and node.tensor(1).rank == 0):
        step = ONE if given is None else given[0]
        if not (dim.is_constant and step.is_constant and step.value > 0):
            raise node.unsupported(f"cuts a dim of {dim} into pieces of {step}, expected numbers")
        if dim.value > MOST_PIECES * step.value:
            raise node.unsupported(f"cuts a dim of {dim} into pieces of {step}, expected at most {MOST_PIECES} pieces")
        sizes = [dim_min(step, dim - start) for start in range(0, dim.value, step.value)]
    elif given is None:
        raise node.unsupported("the sizes are data, expected integers that are known while compiling")
    else:
        sizes = list(given)
    total = sum(sizes, start=ZERO)
    if (total - dim).is_constant and total != dim:
        raise node.fail(f"the sizes {[str(d) for d in sizes]} add up to {total}, but the dim is {dim}")
    squeezes = node.input(1) is None and not node.attribute("keepdims", 1)
    parts, start = [], ZERO
    for size in sizes:
        part = sliced(node, x, axis, start, size)
        parts.append(reshaped(node, part, _without(kind.dims, axis)) if squeezes else part)
        start = start + size
    return Tensors(tuple(parts))


def _concat(node: Node, inputs: Inputs) -> Held:
    elements, is_new = _sequence(node, inputs).elements, int(node.attribute("new_axis", 0))
    if not elements:
        raise node.unsupported("the sequence is empty, so the rank of the result is not known")
    axis = node.axis(node.attribute("axis", 0), tensor(elements[0]).rank + is_new)
    if is_new:
        dims = [tensor(e).dims for e in elements]
        elements = tuple(reshaped(node, e, (*d[:axis], ONE, *d[axis:])) for e, d in zip(elements, dims, strict=True))
    return node.add(Concat(elements, axis))


def _optional(node: Node, inputs: Inputs) -> Held:
    held = inputs[0] if inputs else None
    if isinstance(held, Maybe):
        raise node.fail("the input is an optional, expected a tensor or a sequence")
    return Maybe(held)


def _get_element(node: Node, inputs: Inputs) -> Held:
    held = inputs[0]
    found = held.content if isinstance(held, Maybe) else held
    if found is None:
        raise node.fail("the optional is empty")
    return found


def _has_element(node: Node, inputs: Inputs) -> Held:
    held = inputs[0] if inputs else None
    return node.add_constant(np.array((held.content if isinstance(held, Maybe) else held) is not None))


def _identity(node: Node, inputs: Inputs) -> Held:
    assert inputs[0] is not None
    return inputs[0]


RULES: Mapping[str, Rule] = {
    "SequenceConstruct": _construct,
    "SequenceEmpty": _empty,
    "SequenceInsert": _insert,
    "SequenceErase": _erase,
    "SequenceAt": _at,
    "SequenceLength": _length,
    "SplitToSequence": _split,
    "ConcatFromSequence": _concat,
    "Optional": _optional,
    "OptionalGetElement": _get_element,
    "OptionalHasElement": _has_element,
    "Identity": _identity,
}


# ---- parts -----------------------------------------------------------------------------------------------------


def _sequence(node: Node, inputs: Inputs) -> Tensors:
    held = inputs[0]
    if not isinstance(held, Tensors):
        raise node.fail("input 0 is an optional or left out, expected a sequence")
    return held


def _position(node: Node, number: int, length: int, most: int) -> int:
    """A place in a sequence, counted from the front."""
    given = node.shape_value(number)
    if given is None or len(given) != 1 or not given[0].is_constant:
        raise node.unsupported("the position is data, expected an integer that is known while compiling")
    at = given[0].value
    if not -length <= at <= most:
        raise node.fail(f"position is {at}, out of range for a sequence of {length}")
    return at + length if at < 0 else at


def _without(dims: Sequence[Dim], axis: int) -> tuple[Dim, ...]:
    return (*dims[:axis], *dims[axis + 1 :])
