"""Comparing what a function computed before and after a pass.

In: two runs, for passes that change rounding a third in float64, and what the pass says it does to numbers.
Out: None, or where they first differ, in words.

    exact                    the same bits; a NaN equals a NaN
    reorders, approximates   the error against float64, at worst over an output, is at most
                             4 * (error before) + 2 * eps * scale + (256 + 4 * bound_ulp) * eps' * scale

where scale is the output's largest magnitude, eps its type's, and eps' that of float32, or of float64 for
float64: sums of narrower floats are not done in these.  What overflowed before must still be infinite, NaN, or
within 1/16 of that.  The bound leaves rounding alone: one product that is
lost in a sum of thousands, or one element that is taken twice, is far above it.  Narrow elements are compared by their
codes, like integers: a rounding before the cast may lead to the neighbour.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from headrace.ir.pass_base import Effect

Array = np.ndarray[Any, Any]
_finfo: Any = ml_dtypes.finfo  # numpy's, and that of bfloat16; without types


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a function computed, and which elements of it were written.

    `fixed`: of a function without inputs, which has one result and no other.
    """

    outputs: list[Array]
    written: list[Array]
    fixed: bool = False

    @staticmethod
    def whole(outputs: list[Array]) -> Outcome:
        return Outcome(outputs, [np.ones(o.shape, np.bool_) for o in outputs])


def difference(before: Outcome, after: Outcome, exact: Outcome | None, effect: Effect, bound_ulp: float) -> str | None:
    """`output 0 at [0, 3] is 0.25, was 0.5 before`, or None.  `exact` is the float64 run, unless bits must agree."""
    if len(before.outputs) != len(after.outputs):
        return f"gives {len(after.outputs)} outputs, gave {len(before.outputs)} before"
    for number, (old, new) in enumerate(zip(before.outputs, after.outputs, strict=True)):
        if (old.shape, old.dtype) != (new.shape, new.dtype):
            return f"output {number} is {new.dtype}{list(new.shape)}, was {old.dtype}{list(old.shape)} before"
        was, is_ = before.written[number], after.written[number]
        if not np.array_equal(was, is_):
            place = np.argwhere(was != is_)[0].tolist()
            change = ("was written", "is no longer") if was[tuple(place)] else ("was not written", "is now")
            return f"output {number} at {place} {change[0]} before and {change[1]}"
        reference = None if exact is None else _codes(exact.outputs[number])
        old, new = _codes(old), _codes(new)
        wrong = _wrong(old, new, reference, effect, bound_ulp) & was
        if wrong.any():
            place = np.argwhere(wrong)[0].tolist()
            there = tuple(place)
            told = "" if reference is None else f", and is {reference[there]!s} in float64"
            return f"output {number} at {place} is {new[there]!s}, was {old[there]!s} before{told}"
    return None


def _codes(array: Array) -> Array:
    """The bytes of narrow elements; any others as they are."""
    return array.view(np.int8) if array.dtype.itemsize == 1 and array.dtype.isbuiltin == 2 else array


def _wrong(old: Array, new: Array, exact: Array | None, effect: Effect, bound_ulp: float) -> Array:
    """Which elements are not what they should be."""
    floating = old.dtype.kind not in "iub"
    if effect == "exact" or (exact is None and not floating):
        return _bits_differ(old, new)
    if not floating:
        return _integers_differ(old, new)
    assert exact is not None
    with np.errstate(all="ignore"):
        reference, was, is_ = (a.astype(np.float64) for a in (exact, old, new))
        sound = np.isfinite(reference) & np.isfinite(was)
        lost = ~np.isfinite(was) & (np.abs(is_) < _largest(old.dtype) / 16)
        if not sound.any():
            return lost
        error_before = float(np.abs(was - reference)[sound].max())
        scale = float(np.abs(reference[sound]).max())
        own = _epsilon(old.dtype)
        fine = np.finfo(np.float64).eps if old.dtype == np.float64 else np.finfo(np.float32).eps
        allowed = 4 * error_before + 2 * own * scale + (256 + 4 * bound_ulp) * float(fine) * scale
        return np.asarray(lost | (sound & ~(np.abs(is_ - reference) <= allowed)))


def _epsilon(dtype: np.dtype[Any]) -> float:
    """The distance from 1 to the next number."""
    return float(_finfo(dtype).eps)


def _largest(dtype: np.dtype[Any]) -> float:
    return float(_finfo(dtype).max)


def _bits_differ(old: Array, new: Array) -> Array:
    if old.dtype.kind in "iub":
        return np.asarray(old != new)
    integer = {2: np.uint16, 4: np.uint32, 8: np.uint64}[old.dtype.itemsize]
    same = np.ascontiguousarray(old).view(integer) == np.ascontiguousarray(new).view(integer)
    with np.errstate(all="ignore"):
        nan = (old != old) & (new != new)
    return np.asarray(~(same | nan)).reshape(old.shape)


def _integers_differ(old: Array, new: Array) -> Array:
    """Integers made of rounded floats may fall on the other side of a step: by one, and seldom."""
    differ = np.asarray(old != new)
    if old.dtype.kind == "b" or np.count_nonzero(differ) * 100 > differ.size:
        return differ
    return differ & (np.abs(old.astype(np.float64) - new.astype(np.float64)) > 1)


def emptiness(outcome: Outcome) -> str | None:
    """Why agreeing with this outcome would mean little, or None."""
    total = sum(int(np.count_nonzero(w)) for w in outcome.written)
    if not total:
        return "the result has no elements"
    if outcome.fixed:
        return None
    finite, varied = 0, False
    for output, written in zip(outcome.outputs, outcome.written, strict=True):
        kept = _codes(output)[written]
        with np.errstate(all="ignore"):
            good = kept if kept.dtype.kind in "iub" else kept[np.isfinite(kept)]
        finite += len(good)
        varied = varied or len(good) == 1 or bool(len(good) and (good != good[0]).any())
    if finite * 2 < total:
        return "the result is mostly not finite"
    return None if varied else "the result is constant"
