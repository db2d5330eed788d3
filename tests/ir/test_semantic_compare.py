"""What the semantic check takes for equal: bits for exact passes, else errors against float64 on both sides."""

from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from headrace.ir.semantic.compare import Outcome, difference, emptiness

Array = np.ndarray[Any, Any]


def outcome(array: Array) -> Outcome:
    return Outcome.whole([array])


def test_bits_and_nan() -> None:
    old = np.array([1.0, np.nan, 0.0], np.float32)
    other_nan = np.array([0x7FC00001], np.uint32).view(np.float32)[0]
    assert difference(outcome(old), outcome(np.array([1.0, other_nan, 0.0], np.float32)), None, "exact", 0) is None
    found = difference(outcome(old), outcome(np.array([1.0, np.nan, -0.0], np.float32)), None, "exact", 0)
    assert found == "output 0 at [2] is -0.0, was 0.0 before"
    half = old.astype(ml_dtypes.bfloat16)
    assert difference(outcome(half), outcome(half.copy()), None, "exact", 0) is None


def test_reordered_sums_may_differ_by_rounding_only() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((8, 5000))
    old = np.cumsum(x.astype(np.float32), axis=1, dtype=np.float32)[:, -1]
    new = np.cumsum(x[:, ::-1].astype(np.float32), axis=1, dtype=np.float32)[:, -1]
    exact = x.astype(np.float32).astype(np.float64).sum(axis=1)
    assert (old != new).any()
    assert difference(outcome(old), outcome(new), outcome(exact), "reorders", 0) is None
    lost = (exact - x[:, 17]).astype(np.float32)
    assert difference(outcome(old), outcome(lost), outcome(exact), "reorders", 0) is not None
    over = np.array([np.inf, 1.0], np.float32)
    assert difference(outcome(over), outcome(over.copy()), outcome(np.array([1e39, 1.0])), "reorders", 0) is None
    back = difference(outcome(over), outcome(np.array([7, 1], np.float32)), outcome(np.array([1e39, 1])), "reorders", 0)
    assert back == "output 0 at [0] is 7.0, was inf before, and is 1e+39 in float64"
    nan = new.copy()
    nan[3] = np.nan
    found = difference(outcome(old), outcome(nan), outcome(exact), "reorders", 0)
    assert found is not None and found.startswith("output 0 at [3] is nan")


def test_integers_of_rounded_floats() -> None:
    old = np.arange(1000, dtype=np.int8)
    new = old.copy()
    new[5] += 1
    assert difference(outcome(old), outcome(new), outcome(old), "reorders", 0) is None
    assert difference(outcome(old), outcome(new), None, "exact", 0) == "output 0 at [5] is 6, was 5 before"
    assert difference(outcome(old), outcome(old + np.int8(1)), outcome(old), "reorders", 0) is not None


def test_other_shapes_and_elements() -> None:
    old = np.zeros((2, 3), np.float32)
    found = difference(outcome(old), outcome(old.T), None, "exact", 0)
    assert found == "output 0 is float32[3, 2], was float32[2, 3] before"
    found = difference(Outcome([old], [old == 0]), Outcome([old], [old != 0]), None, "exact", 0)
    assert found == "output 0 at [0, 0] was written before and is no longer"


def test_results_that_say_nothing() -> None:
    assert emptiness(outcome(np.array([1.0, 2.0, np.nan]))) is None
    assert emptiness(outcome(np.array([1.0, np.nan, np.inf]))) == "the result is mostly not finite"
    assert emptiness(outcome(np.zeros(5, np.int32))) == "the result is constant"
    assert emptiness(replace(outcome(np.zeros(5, np.int32)), fixed=True)) is None
    assert emptiness(outcome(np.zeros((0, 3)))) == "the result has no elements"


@pytest.mark.parametrize("dtype", [ml_dtypes.float8_e4m3fn, ml_dtypes.int4, ml_dtypes.float8_e8m0fnu])
@pytest.mark.parametrize("effect", ["exact", "approximates"])
def test_narrow_elements_are_compared_by_their_codes(dtype: Any, effect: Any) -> None:
    codes = np.arange(1, 5, dtype=np.uint8)
    before, other = codes.copy(), codes.copy()
    other[2] += 3
    old, same, new = (Outcome.whole([c.view(dtype)]) for c in (before, codes, other))
    assert difference(old, same, old, effect, 1.0) is None
    assert "output 0 at [2]" in str(difference(old, new, old, effect, 1.0))
    assert emptiness(old) is None
