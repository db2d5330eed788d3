"""What comes before a cast of floats to a narrow type.  In: scalars or arrays of f32.  Out: the same, made to fit.

    within(b, x, dtype)      what is beyond the numbers of `dtype` becomes its last one; a NaN stays one
    power_of_two(b, x, way)  for f8e8m0fnu, whose numbers are nothing else

Each has a twin on arrays, which is its meaning.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import ml_dtypes
import numpy as np

from headrace.ir.core import Value
from headrace.ir.graph.families import Array
from headrace.ir.kernel.build import ScalarBuilder
from headrace.ir.types import F32, I32, DType

Rounding = Literal["up", "down", "nearest"]
LEAST_POWER = 2.0**-127
_ADDED = {"up": 0x7FFFFF, "down": 0, "nearest": 0x400000}  # to the bits, before those of the mantissa are cut off
_EXPONENT = 0x7F800000


def within(b: ScalarBuilder, x: Value, dtype: DType) -> Value:
    low, high = _limits(dtype)
    return b.minimum(b.maximum(x, b.constant(low, x)), b.constant(high, x))


def array_within(x: Array, dtype: DType) -> Array:
    low, high = (x.dtype.type(limit) for limit in _limits(dtype))
    return np.clip(x, low, high)


def power_of_two(b: ScalarBuilder, x: Value, way: Rounding) -> Value:
    """The power of two above, below or next to `x`; as it is where it is not above the least one."""
    bits = b.bitcast(x, I32)
    moved = b.bitcast(b.bit_and(b.add(bits, b.constant(_ADDED[way], bits)), b.constant(_EXPONENT, bits)), F32)
    least = b.constant(LEAST_POWER, x)
    return b.select(b.compare("gt", x, least), b.maximum(moved, least), x)


def array_power_of_two(x: Array, way: Rounding) -> Array:
    with np.errstate(all="ignore"):
        moved = ((x.view(np.int32) + np.int32(_ADDED[way])) & np.int32(_EXPONENT)).view(np.float32)
        return np.where(x > LEAST_POWER, np.maximum(moved, np.float32(LEAST_POWER)), x)


def _limits(dtype: DType) -> tuple[float, float]:
    """The least and the largest finite number of a narrow type."""
    of: Callable[..., Any] = ml_dtypes.finfo if dtype.is_narrow_float else ml_dtypes.iinfo
    info = of(dtype.numpy)
    return float(info.min), float(info.max)
