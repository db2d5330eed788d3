"""Loads and stores under interpretation: index formulas to elements, with every check.

In: a buffer, a `Plan` (the formulas, taken apart once), perhaps a mask.  Out: numbers, or a KernelFault.

Most accesses move regularly along the lanes and lie inside: these are views of memory and cost little.  All
others, and those to memory that lanes share, are gathered element by element and checked one by one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from headrace.ir.core import Operation
from headrace.ir.dims import Dim
from headrace.ir.kernel.interpret.faults import fault
from headrace.ir.kernel.interpret.lanes import Array, Lanes, Number, both
from headrace.ir.kernel.interpret.memory import OVERWRITTEN, PENDING, UNDEFINED, WRITTEN, Buffer, Spot

Formula = int | Dim

_WHY_NOT = {
    UNDEFINED: "which nothing has written",
    PENDING: "the target of a copy that was not waited for",
    OVERWRITTEN: "which another buffer in the same memory has overwritten",
}


@dataclass(frozen=True, slots=True)
class Term:
    """`factor` times the axis at `position`."""

    position: int
    factor: Formula


@dataclass(frozen=True, slots=True)
class Index:
    """One index: the formula, and as rest + sum of terms where it has that form; `step` from vector lane to lane."""

    formula: Dim
    rest: Formula
    terms: tuple[Term, ...]
    step: int


@dataclass(frozen=True, slots=True)
class Plan:
    """All indices of an access."""

    indices: tuple[Index, ...]
    lanes: int  # 1: a scalar
    regular: bool  # every index is a sum over the axes of lanes

    def spot(self, lanes: Lanes, buffer: Buffer) -> Spot | None:
        """Where the elements of all lanes lie; None unless they are regularly spaced and inside the buffer."""
        if not self.regular:
            return None
        base = 0
        strides = list(buffer.instance_strides)
        across = 0
        for index, extent, stride in zip(self.indices, buffer.dims, buffer.strides, strict=True):
            at = _number(index.rest, lanes.env)
            low = high = at
            for term in index.terms:
                factor = _number(term.factor, lanes.env)
                reach = factor * (lanes.shape[term.position] - 1)
                low, high = (low + reach, high) if reach < 0 else (low, high + reach)
                strides[term.position] += factor * stride
            reach = index.step * (self.lanes - 1)
            low, high = (low + reach, high) if reach < 0 else (low, high + reach)
            if low < 0 or high >= extent:
                return None
            across += index.step * stride
            base += at * stride
        shape = tuple(n if s else 1 for n, s in zip(lanes.shape, strides, strict=True))
        if self.lanes == 1:
            return Spot(shape, base, tuple(strides))
        return Spot((*shape, self.lanes), base, (*strides, across))


def _number(formula: Formula, env: Mapping[str, Any]) -> int:
    return formula if isinstance(formula, int) else int(formula.evaluate(env))


def plan(indices: Sequence[Dim], steps: Sequence[int], lanes: int, scope: Mapping[str, int | None]) -> Plan:
    """Takes index formulas apart.  `scope`: position of each axis of lanes, None where its points are chosen."""
    taken = [_taken_apart(i, s if lanes > 1 else 0, scope) for i, s in zip(indices, steps, strict=True)]
    regular = all(t is not None for t in taken)
    whole = [t or Index(i, i, (), s if lanes > 1 else 0) for t, i, s in zip(taken, indices, steps, strict=True)]
    return Plan(tuple(whole), lanes, regular)


def _taken_apart(formula: Dim, step: int, scope: Mapping[str, int | None]) -> Index | None:
    rest = formula
    terms: list[Term] = []
    for name in formula.symbols:
        if name not in scope:
            continue
        position, split = scope[name], rest.linear(name)
        if split is None or position is None or any(s in scope for s in split[0].symbols):
            return None
        factor, rest = split
        terms.append(Term(position, factor.value if factor.is_constant else factor))
    return Index(formula, rest.value if rest.is_constant else rest, tuple(terms), step)


# ---- loading ---------------------------------------------------------------------------------------------------


def load(operation: Operation, lanes: Lanes, buffer: Buffer, plan: Plan, mask: Array | None, otherwise: Any) -> Array:
    """The elements; where the mask is False, `otherwise`."""
    if not buffer.shared_by(lanes):
        spot = plan.spot(lanes, buffer)
        if spot is not None and buffer.is_written(spot):
            found = buffer.at(spot)
            if buffer.writable:
                found = found.copy()  # the value stays what it is when memory changes
            return found if mask is None else np.where(mask, found, _filling(buffer, otherwise))
    return _gather(operation, lanes, buffer, plan, mask, otherwise, padded=False)


def load_padded(operation: Operation, lanes: Lanes, buffer: Buffer, plan: Plan, otherwise: Any) -> Array:
    """The elements; outside the buffer, `otherwise`."""
    if not buffer.shared_by(lanes):
        spot = plan.spot(lanes, buffer)
        if spot is not None and buffer.is_written(spot):
            return buffer.at(spot).copy() if buffer.writable else buffer.at(spot)
        found = _window(lanes, buffer, plan, otherwise) if buffer.complete and plan.regular else None
        if found is not None:
            return found
    return _gather(operation, lanes, buffer, plan, None, otherwise, padded=True)


def _window(lanes: Lanes, buffer: Buffer, plan: Plan, otherwise: Any) -> Array | None:
    """A padded read in which each index moves with at most one axis: what is inside is then a box."""
    low, high = [0] * lanes.rank, list(lanes.shape)
    strides = list(buffer.instance_strides)
    moved: set[int] = set()
    base = 0
    for index, extent, stride in zip(plan.indices, buffer.dims, buffer.strides, strict=True):
        at = _number(index.rest, lanes.env)
        factor = 0
        if len(index.terms) > 1:
            return None
        for term in index.terms:
            factor = _number(term.factor, lanes.env)
            if factor <= 0 or term.position in moved:
                return None
            moved.add(term.position)
            low[term.position] = max(low[term.position], -(at // factor))
            high[term.position] = min(high[term.position], (extent - 1 - at) // factor + 1)
            strides[term.position] += factor * stride
        if factor == 0 and not 0 <= at < extent:
            high[0] = low[0]  # nothing is inside
        base += at * stride
    shape = tuple(n if s else 1 for n, s in zip(lanes.shape, strides, strict=True))
    filled = np.full(shape, _filling(buffer, otherwise))
    box = tuple(slice(a, max(a, min(b, n))) for a, b, n in zip(low, high, shape, strict=True))
    inner = filled[box]
    if inner.size:
        start = base + sum(a * s for a, s in zip(low, strides, strict=True))
        inner[...] = buffer.at(Spot(inner.shape, start, tuple(strides)))
    return filled


def _filling(buffer: Buffer, otherwise: Any) -> Any:
    return np.asarray(otherwise).astype(buffer.dtype)


def _gather(
    operation: Operation, lanes: Lanes, buffer: Buffer, plan: Plan, mask: Array | None, otherwise: Any, *, padded: bool
) -> Array:
    elements, valid = locate(operation, lanes, buffer, plan, mask, padded=padded)
    if buffer.shared_by(lanes):
        elements, who = spread(lanes, elements, plan.lanes > 1)
        note_read(operation, lanes, buffer, elements, who, valid)
    check_written(operation, lanes, buffer, elements, valid)
    if not buffer.storage.size:
        return np.full(elements.shape, _filling(buffer, otherwise))
    found = buffer.storage[elements]
    return found if valid is None else np.where(valid, found, _filling(buffer, otherwise))


# ---- storing ---------------------------------------------------------------------------------------------------


def store(operation: Operation, lanes: Lanes, buffer: Buffer, plan: Plan, value: Array, mask: Array | None) -> None:
    """Writes the elements of active lanes where the mask holds."""
    if not buffer.writable:
        raise fault(operation, lanes, f"writes {buffer.name}, an input of the kernel")
    if not buffer.shared_by(lanes) and not buffer.pending:
        spot = plan.spot(lanes, buffer)
        if spot is not None:
            valid = both(lanes.running(plan.lanes > 1), mask)
            where: Any = True if valid is None else valid
            np.copyto(buffer.at(spot), value, where=where)
            if not buffer.complete:
                np.copyto(buffer.state_at(spot), WRITTEN, where=where)
            return
    elements, valid = locate(operation, lanes, buffer, plan, mask, padded=False)
    elements, who = spread(lanes, elements, plan.lanes > 1)
    if buffer.pending:
        check_idle(operation, lanes, buffer, elements, valid)
    kept = slice(None) if valid is None else np.broadcast_to(valid, elements.shape)
    flat = elements[kept].reshape(-1)
    note_write(operation, lanes, buffer, elements, who, valid)
    buffer.storage[flat] = np.broadcast_to(value, elements.shape)[kept].reshape(-1)
    buffer.state[flat] = WRITTEN


# ---- elements one by one ---------------------------------------------------------------------------------------


def locate(
    operation: Operation, lanes: Lanes, buffer: Buffer, plan: Plan, mask: Array | None, *, padded: bool
) -> tuple[Array, Array | None]:
    """(number of each element in the flat storage, which of them count), checked against the bounds.

    What does not count (inactive, masked; with `padded` also what is outside) has a number that is inside.
    """
    valid = both(lanes.running(plan.lanes > 1), mask)
    outside: Array | None = None
    total: Number = buffer.offsets
    if plan.lanes > 1 and not isinstance(total, int):
        total = total[..., None]
    for dim, (index, extent, stride) in enumerate(zip(plan.indices, buffer.dims, buffer.strides, strict=True)):
        at = index_values(index, plan.lanes, lanes.env)
        beyond = _beyond(at, extent)
        if beyond is not None:
            if not padded:
                _check_bounds(operation, lanes, buffer, dim, at, beyond, valid)
            outside = beyond if outside is None else np.logical_or(outside, beyond)
        total = total + at * stride
    elements = np.asarray(total).reshape((1,) * (lanes.rank + (plan.lanes > 1))) if isinstance(total, int) else total
    if outside is not None:
        elements = np.where(outside, 0, elements)
        valid = both(valid, ~outside) if padded else valid
    return elements, valid


def index_values(index: Index, count: int, env: Mapping[str, Any]) -> Number:
    """The values of an index: a number, or an array over lanes (and over the lanes of a vector)."""
    at: Number = index.formula.evaluate(env)
    if count == 1:
        return at
    if not isinstance(at, int):
        at = at[..., None]
    return at + index.step * np.arange(count) if index.step else at


def _beyond(at: Number, extent: int) -> Array | None:
    if isinstance(at, int):
        return None if 0 <= at < extent else np.asarray(True)
    if at.size == 0 or (at.min() >= 0 and at.max() < extent):
        return None
    return np.asarray((at < 0) | (at >= extent))


def _check_bounds(
    operation: Operation, lanes: Lanes, buffer: Buffer, dim: int, at: Number, beyond: Array, valid: Array | None
) -> None:
    wrong = beyond if valid is None else np.logical_and(beyond, valid)
    if wrong.any():
        whole, wrong = np.broadcast_arrays(at, wrong.reshape(wrong.shape or (1,) * lanes.rank))
        found = f"index {dim} of {buffer.name} is {whole[wrong][0]}"
        raise fault(operation, lanes, f"{found}, expected 0 to {buffer.dims[dim] - 1}", wrong)


def spread(lanes: Lanes, elements: Array, vector: bool) -> tuple[Array, Array]:
    """Elements, and the lane that touches each, with a dim for every lane even if all touch the same."""
    shape = (*lanes.shape, elements.shape[-1]) if vector else lanes.shape
    ids = lanes.ids[..., None] if vector else lanes.ids
    return np.broadcast_to(elements, shape), np.broadcast_to(ids, shape)


def check_written(operation: Operation, lanes: Lanes, buffer: Buffer, elements: Array, valid: Array | None) -> None:
    """Faults if one of the elements is undefined or the target of a copy under way."""
    if buffer.complete or not buffer.storage.size:
        return
    state = buffer.state[elements]
    bad = state != WRITTEN if valid is None else (state != WRITTEN) & valid
    if bad.any():
        what = _WHY_NOT[int(np.broadcast_to(state, bad.shape)[bad][0])]
        raise fault(operation, lanes, f"reads {element_text(buffer, elements, bad)}, {what}", bad)


def check_idle(operation: Operation, lanes: Lanes, buffer: Buffer, elements: Array, valid: Array | None) -> None:
    """Faults if one of the elements is the target of a copy under way."""
    state = buffer.state[elements]
    bad = state == PENDING if valid is None else (state == PENDING) & valid
    if bad.any():
        text = element_text(buffer, elements, bad)
        raise fault(operation, lanes, f"writes {text}, the target of a copy that was not waited for", bad)


def note_write(
    operation: Operation, lanes: Lanes, buffer: Buffer, elements: Array, who: Array, valid: Array | None
) -> None:
    """Tells the shadow memory of a write; faults if it is a race."""
    if buffer.shared_by(lanes):
        _note(operation, lanes, buffer, elements, who, valid, write=True)


def note_read(
    operation: Operation, lanes: Lanes, buffer: Buffer, elements: Array, who: Array, valid: Array | None
) -> None:
    """Tells the shadow memory of a read; faults if it is a race."""
    if buffer.shared_by(lanes):
        _note(operation, lanes, buffer, elements, who, valid, write=False)


def _note(
    operation: Operation, lanes: Lanes, buffer: Buffer, elements: Array, who: Array, valid: Array | None, *, write: bool
) -> None:
    places = np.arange(elements.size) if valid is None else np.flatnonzero(np.broadcast_to(valid, elements.shape))
    flat, ids = elements.reshape(-1)[places], who.reshape(-1)[places]
    if not len(flat):
        return
    shadow = buffer.watched(lanes.depth_of_kernel)
    race = shadow.write(lanes, flat, ids) if write else shadow.read(lanes, flat, ids)
    if race is not None:
        bad = np.zeros(elements.size, np.bool_)
        bad[places[race.access]] = True
        bad = bad.reshape(elements.shape)
        verb = "writes" if write else "reads"
        text = element_text(buffer, elements, bad)
        raise fault(operation, lanes, f"race: {verb} {text}, which {race.other} with nothing to order the two", bad)


def element_text(buffer: Buffer, elements: Array, bad: Array) -> str:
    """`%y[3, 4]` for the first bad access."""
    whole = np.broadcast_to(elements, np.broadcast_shapes(elements.shape, bad.shape))
    number = int(whole[np.broadcast_to(bad, whole.shape)][0])
    indices = []
    rest = number % _instance_span(buffer)
    for stride, extent in zip(buffer.strides, buffer.dims, strict=True):
        indices.append(rest // stride % max(extent, 1) if stride else 0)
        rest -= indices[-1] * stride
    return f"{buffer.name}[{', '.join(map(str, indices))}]"


def _instance_span(buffer: Buffer) -> int:
    steps = [s for s in buffer.instance_strides if s]
    return min(steps) if steps else max(len(buffer.storage), 1)
