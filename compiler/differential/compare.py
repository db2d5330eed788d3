"""Comparing what was computed with the interpreter.  In: a function, inputs, results.  Out: None, or where they differ.

Rounding differs between two right ways to compute a graph, and a graph may make much of it: a difference of two
numbers that are nearly equal, a `floor`, an index of a maximum.  So where results differ by more than a few units in
the last place, the interpreter runs the decomposed graph a few times, each time with noise of that size on inputs,
constants and every value in between (and, of results whose sums or differences stay inside of an operation, of the
size of the largest).  An element may be as far off as the noise moved it, a few times over; one that the noise
turned into another integer, an infinity or a NaN may be anything.  All others are as good as equal, or wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import ml_dtypes
import numpy as np

from headrace.ir.core import Operation
from headrace.ir.errors import ExecutionError
from headrace.ir.graph.families import OwnKernel, Reducing
from headrace.ir.graph.interpret import Disturb, run_graph
from headrace.ir.graph.ops.activations import Gelu
from headrace.ir.graph.ops.func import GraphFunc
from headrace.ir.graph.ops.interpolate import Interpolate
from headrace.ir.module import Module, module_of
from headrace.ir.pass_base import PassContext
from headrace.ir.rewrite import Rewriter
from headrace.passes.graph.decompose import Decompose

Array = np.ndarray[Any, Any]

RUNS = 8  # with noise
CLOSE = 16  # units in the last place that are not worth a second look
CLOSE_16 = 3  # of 16-bit floats
NOISE = 4.0  # units in the last place; elementary functions may be off by 2
NOISE_16 = 1.5  # of 16-bit floats: they are rounded to the nearest, from f32
REACH = 6.0  # how many times further than the noise moved it an element may be

_finfo: Any = ml_dtypes.finfo  # numpy's, and that of bfloat16; without types


def disagreement(
    function: GraphFunc,
    inputs: Sequence[Array],
    found: Sequence[Array],
    expected: Sequence[Array] | None = None,
    coarse: tuple[type[Operation], ...] = (),
) -> str | None:
    """`output 0 at [0, 3] is 0.25, expected 0.5`, or None.

    `expected`: what the interpreter gives, if known, or another engine; `coarse`: operations that this engine computes
    to some units in the last place of 1, however small the result is.
    """
    expected = run_graph(function, inputs) if expected is None else expected
    for number, (new, old) in enumerate(zip(found, expected, strict=True)):
        if (new.shape, new.dtype) != (old.shape, old.dtype):
            return f"output {number} is {new.dtype}{list(new.shape)}, expected {old.dtype}{list(old.shape)}"
    apart = [_apart(new, old) for new, old in zip(found, expected, strict=True)]
    if not any(a.any() for a in apart):
        return None
    simple = _decomposed(function)
    calm, runs = run_graph(simple, inputs), list(_noisy_runs(simple, inputs, coarse))
    for number, (new, old, wrong) in enumerate(zip(found, expected, apart, strict=True)):
        wrong &= ~_explained(new, old, calm[number], [run[number] for run in runs])
        if wrong.any():
            place = np.argwhere(wrong)[0]
            count = f" ({np.count_nonzero(wrong)} of {wrong.size} elements)" if wrong.size > 1 else ""
            there = tuple(place)
            return f"output {number} at {place.tolist()} is {new[there]!s}, expected {old[there]!s}{count}"
    return None


def _apart(new: Array, old: Array) -> Array:
    """Which elements are not as good as equal."""
    new, old = _as_codes(new), _as_codes(old)
    if old.dtype.kind in "iub":
        return np.asarray(new != old)
    with np.errstate(all="ignore"):
        a, b = new.astype(np.float64), old.astype(np.float64)
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        return np.asarray(~(same | (np.abs(a - b) <= _close(old))))


def _explained(new: Array, old: Array, calm: Array, runs: Sequence[Array]) -> Array:
    """Which elements are no further off than runs with noise are from the one without: as far as rounding carries."""
    new, old, calm, *runs = (_as_codes(a) for a in (new, old, calm, *runs))
    explained = np.zeros(old.shape, np.bool_)
    if old.dtype.kind in "iub":
        for run in runs:
            explained |= run != calm
        return explained
    with np.errstate(all="ignore"):
        a, b = new.astype(np.float64), old.astype(np.float64)
        moved, middle = np.zeros(old.shape), calm.astype(np.float64)
        for run in runs:
            c = run.astype(np.float64)
            explained |= np.isfinite(c) != np.isfinite(middle)
            moved = np.fmax(moved, np.abs(c - middle))
        return np.asarray(explained | (np.abs(a - b) <= REACH * moved + _close(old)))


def _noisy_runs(
    function: GraphFunc, inputs: Sequence[Array], coarse: tuple[type[Operation], ...]
) -> Iterator[Sequence[Array]]:
    for seed in range(RUNS):
        disturb = _noise(np.random.default_rng(seed), coarse)
        # An index that came of a float may be out of range now.
        with suppress(ExecutionError):
            yield run_graph(function, [disturb(None, i) for i in inputs], disturb=disturb)


def _decomposed(function: GraphFunc) -> GraphFunc:
    """A copy of the function, in the operations that it is compiled from."""
    whole = module_of(function)
    copy = whole.clone()
    assert isinstance(copy, Module)
    copy.constants = whole.constants
    Decompose().run(copy, Rewriter(), PassContext())
    found = copy.function(function.function_name)
    assert isinstance(found, GraphFunc)
    return found


def _noise(rng: np.random.Generator, coarse: tuple[type[Operation], ...]) -> Disturb:
    def disturb(operation: Operation | None, array: Array) -> Array:
        if _as_codes(array).dtype.kind in "iub":
            return array
        unit = (NOISE_16 if array.dtype.itemsize == 2 else NOISE) * float(_finfo(array.dtype).eps)
        with np.errstate(all="ignore"):
            wide = array.astype(np.float64)
            found = wide * (1 + unit * rng.uniform(-1, 1, array.shape))
            if isinstance(operation, OwnKernel | Reducing | Gelu | Interpolate):
                finite = np.abs(wide[np.isfinite(wide)])
                found = found + unit / NOISE * rng.uniform(-1, 1, array.shape) * finite.max(initial=0)
            if isinstance(operation, coarse):
                found = found + unit * rng.uniform(-1, 1, array.shape)
            return np.asarray(found).astype(array.dtype)

    return disturb


def _as_codes(array: Array) -> Array:
    """Elements of less than 8 bits, or floats of 8, as the integers that stand for them: either equal, or not."""
    return array.view(np.uint8) if array.dtype.kind == "V" and array.dtype.itemsize == 1 else array


def _close(array: Array) -> Array:
    """How far off each element may be without a second look: some units in its last place."""
    facts = _finfo(array.dtype)
    units = CLOSE_16 if array.dtype.itemsize == 2 else CLOSE
    return units * (np.abs(array.astype(np.float64)) * float(facts.eps) + float(facts.smallest_subnormal))
