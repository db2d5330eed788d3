"""Loop and Scan whose number of turns is known while compiling.  In: their inputs, a body.  Out: their outputs.

The body is written out, turn after turn; what is known of its values in one turn, sizes above all, may differ from
what is known in the next.  The slices that Scan takes are views of memory, and results are joined at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from headrace.compiler.frontends.onnx.held import Held
from headrace.compiler.frontends.onnx.node import NodeUnsupported
from headrace.compiler.frontends.onnx.state import State
from headrace.ir.core import Block, Value
from headrace.ir.dims import Dim
from headrace.ir.graph.families import tensor
from headrace.ir.graph.ops.concat import Concat
from headrace.ir.graph.ops.reshape import Reshape
from headrace.ir.graph.ops.slice import Slice
from headrace.ir.graph.ops.transpose import Transpose

# Imports the body's nodes on these inputs; None for an output that cannot be imported.
Body = Callable[[Sequence[Held | None]], Sequence[Held | None]]

MOST_TURNS = 1024
ZERO, ONE = Dim.constant(0), Dim.constant(1)


def loop(inputs: Sequence[Held | None], body: Body, state: State) -> Sequence[Held | None]:
    """The outputs of Loop: the state after the last turn, then what each turn appended.

    Raises TurnsUnknown where the number of turns is data.
    """
    most, condition = (*inputs, None, None)[:2]
    carried = [v for v in inputs[2:] if v is not None]
    limit = None if most is None else _known(most, state, "the trip count")
    goes_on = condition or state.add_constant(np.array(True))
    turns: list[Sequence[Held]] = []
    while (limit is None or len(turns) < limit) and _known(goes_on, state, "the condition"):
        _check_turns(len(turns) + 1)
        outputs = _turn(body, len(turns), goes_on, carried, state)
        made = [v for v in outputs if v is not None]
        if len(made) < len(outputs):
            return [None] * (len(outputs) - 1)
        goes_on, carried = made[0], made[1 : 1 + len(carried)]
        turns.append(made[1 + len(carried) :])
    if turns:
        return [*carried, *(_joined(_tensors(parts), state) for parts in zip(*turns, strict=True))]
    with state.builder.at(Block()):  # what a turn would append has a type; its operations go nowhere
        appended = _turn(body, 0, goes_on, carried, state)[1 + len(carried) :]
    return [*carried, *(None if v is None else _none_of(_tensors([v])[0], state) for v in appended)]


class TurnsUnknown(NodeUnsupported):
    """How many turns there are is not known while compiling, or they are too many to be written out."""


def scan(
    inputs: Sequence[Held | None], attributes: Mapping[str, Any], body: Body, state: State
) -> Sequence[Held | None]:
    """The outputs of Scan, as from version 9 on.  Raises TurnsUnknown where the number of turns is no known one."""
    given = _tensors([v for v in inputs if v is not None])
    count = int(attributes["num_scan_inputs"])
    if not 0 < count <= len(given):
        raise NodeUnsupported(f"num_scan_inputs is {count}, expected 1 to {len(given)}, as many as there are inputs")
    carried, scanned = given[: len(given) - count], given[len(given) - count :]
    axes = scanned_axes(attributes, scanned)
    backwards = each(attributes, "scan_input_directions", count)
    lengths = {tensor(x).dims[axis] for x, axis in zip(scanned, axes, strict=True)}
    if len(lengths) != 1 or not all(d.is_constant and d.value for d in lengths):
        raise TurnsUnknown(f"scans {' and '.join(sorted(map(str, lengths)))} elements, expected one known number")
    (length,) = (d.value for d in lengths)
    _check_turns(length)
    turns: list[Sequence[Value]] = []
    for turn in range(length):
        places = [Dim.constant(length - 1 - turn if b else turn) for b in backwards]
        parts = [part(x, axis, at, state) for x, axis, at in zip(scanned, axes, places, strict=True)]
        outputs = body([*carried, *parts])
        made = _tensors([v for v in outputs if v is not None])
        if len(made) < len(outputs):
            return [None] * len(outputs)
        carried = made[: len(carried)]
        turns.append(made[len(carried) :])
    columns = list(zip(*turns, strict=True))
    directions = each(attributes, "scan_output_directions", len(columns))
    ends = each(attributes, "scan_output_axes", len(columns))
    results = []
    for column, backward, axis in zip(columns, directions, ends, strict=True):
        joined = _joined(column[::-1] if backward else column, state)
        results.append(moved(joined, legal_axis(axis, tensor(joined).rank, "scan_output_axes"), state))
    return [*carried, *results]


# ---- turns -----------------------------------------------------------------------------------------------------


def _turn(body: Body, number: int, goes_on: Held, carried: Sequence[Held], state: State) -> Sequence[Held | None]:
    """The outputs of Loop's body: whether it goes on, the state, what the turn appends."""
    return body([state.add_constant(np.array(number, np.int64)), goes_on, *carried])


def _tensors(values: Sequence[Held]) -> list[Value]:
    found = [v for v in values if isinstance(v, Value)]
    if len(found) < len(values):
        raise NodeUnsupported("scans or appends a sequence or an optional, expected tensors")
    return found


def _known(value: Held, state: State, what: str) -> int:
    found = state.integers(value) if isinstance(value, Value) else None
    if found is None or len(found) != 1 or not found[0].is_constant:
        raise TurnsUnknown(f"{what} is data or a symbol, expected one that is known while compiling")
    return found[0].value


def _check_turns(count: int) -> None:
    if count > MOST_TURNS:
        raise TurnsUnknown(f"takes more than {MOST_TURNS} turns, at most so many are written out")


# ---- attributes of Scan ------------------------------------------------------------------------------------------


def each(attributes: Mapping[str, Any], name: str, count: int) -> Sequence[int]:
    """An attribute with one number for each of `count` inputs or outputs.  Raises NodeUnsupported."""
    numbers: Sequence[int] = attributes.get(name, (0,) * count)
    if len(numbers) != count:
        raise NodeUnsupported(f"{name} has {len(numbers)} numbers, expected {count}")
    return numbers


def scanned_axes(attributes: Mapping[str, Any], scanned: Sequence[Value]) -> list[int]:
    """The axis along which each input is scanned, counted from the front.  Raises NodeUnsupported."""
    axes = each(attributes, "scan_input_axes", len(scanned))
    return [legal_axis(a, tensor(x).rank, "scan_input_axes") for a, x in zip(axes, scanned, strict=True)]


def legal_axis(axis: int, rank: int, name: str) -> int:
    """The axis counted from the front.  Raises NodeUnsupported outside of the rank."""
    if not -rank <= axis < rank:
        raise NodeUnsupported(f"{name} has {axis} for a tensor of {rank} dims")
    return axis % rank


# ---- slices ----------------------------------------------------------------------------------------------------


def part(x: Value, axis: int, at: Dim, state: State) -> Value:
    """Element `at` along an axis."""
    dims = tensor(x).dims
    starts = tuple(at if i == axis else ZERO for i in range(len(dims)))
    sizes = tuple(ONE if i == axis else d for i, d in enumerate(dims))
    part = state.add(Slice(x, starts, sizes, (1,) * len(dims)))
    return state.add(Reshape(part, (*dims[:axis], *dims[axis + 1 :])))


def _joined(parts: Sequence[Value], state: State) -> Value:
    """Values along a new first axis."""
    rows = [state.add(Reshape(p, (ONE, *tensor(p).dims))) for p in parts]
    return rows[0] if len(rows) == 1 else state.add(Concat(tuple(rows), 0))


def moved(x: Value, axis: int, state: State) -> Value:
    """The first axis moved to `axis`."""
    if axis == 0:
        return x
    others = list(range(1, tensor(x).rank))
    return state.add(Transpose(x, (*others[:axis], 0, *others[axis:])))


def _none_of(x: Value, state: State) -> Value:
    """No values like x, along a new first axis."""
    kind = tensor(x)
    if not kind.is_static:
        raise NodeUnsupported(f"takes no turn, and would append values of type {kind}; expected known dims")
    return state.add_constant(np.empty((0, *(d.value for d in kind.dims)), kind.dtype.numpy))
