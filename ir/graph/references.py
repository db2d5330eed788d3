"""What the numpy references of several operations share.  In: arrays.  Out: arrays."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from headrace.ir.graph.families import Array


def through_f64(function: Callable[..., Any], *operands: Array) -> Array:
    """`function` in float64, rounded once to the first operand's type."""
    with np.errstate(all="ignore"):
        found = function(*(o.astype(np.float64) for o in operands))
        return np.asarray(found).astype(operands[0].dtype)


def erf(x: Array) -> Array:
    """The error function on float64."""
    return np.vectorize(math.erf, otypes=[np.float64])(x) if x.size else x
