"""What the numpy references of several operations share.  In: arrays.  Out: arrays."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from headrace.ir.graph.families import Array
from headrace.ir.types import BF16, F16


def through_f64(function: Callable[..., Any], *operands: Array) -> Array:
    """`function` in float64, rounded once to the first operand's type."""
    with np.errstate(all="ignore"):
        found = function(*(o.astype(np.float64) for o in operands))
        return np.asarray(found).astype(operands[0].dtype)


def widened(array: Array) -> Array:
    """The array in the element type in which sums of its elements are kept: 16-bit floats as f32."""
    return array.astype(np.float32) if array.dtype in (F16.numpy, BF16.numpy) else array


def erf(x: Array) -> Array:
    """The error function on float64."""
    return np.vectorize(math.erf, otypes=[np.float64])(x) if x.size else x
