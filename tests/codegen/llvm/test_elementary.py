"""exp, log, tanh, erf, sin, cos and atan as machine code, with fused multiply-adds and without: the bounds of docs/numerics.md."""

import math
from typing import Any

import numpy as np
import pytest

from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.kernel.ops.scalar import LARGEST_ANGLE
from headrace.ir.pass_base import PassContext
from headrace.ir.rewrite import Rewriter
from headrace.ir.text import parse_module
from headrace.passes.kernel.expand_math import ExpandMath

MOST_ULP = {"exp": 1.05, "exp_nonpositive": 1.05, "log": 0.9, "tanh": 1.1, "erf": 1.3, "sin": 1.6, "cos": 1.6, "atan": 2.0}


@pytest.mark.parametrize("name", MOST_ULP)
def test_f32(toolchain: Any, name: str) -> None:
    lanes = toolchain.facts.lanes(4)
    text = f"""
    kernel.func @f(%x: buffer<f32[n]>, %y: buffer<f32[n]>) {{outputs = 1, scalars = ["n"]}} {{
      kernel.parallel (i: task n floordiv {lanes}) {{
        %0 = kernel.load %x[i*{lanes}] {{lanes = {lanes}}} : vector<{lanes}xf32>
        %1 = kernel.{name} %0 : vector<{lanes}xf32>
        kernel.store %1, %y[i*{lanes}]
      }}
    }}
    """
    module = parse_module(text)
    ExpandMath().run(module, Rewriter(), PassContext())
    x = np.arange(0, 1 << 32, 40961, dtype=np.uint64).astype(np.uint32).view(np.float32)
    x = np.concatenate([x, np.linspace(-12, 12, 50001, dtype=np.float32)])
    x = x[: len(x) // lanes * lanes]
    (found,) = toolchain.compile(list(module.functions(KernelFunc))).run("f", [x])
    functions: dict[str, Any] = {
        "erf": np.vectorize(math.erf, otypes=[np.float64]),
        "exp_nonpositive": lambda x: np.exp(np.minimum(x, 0)),
        "sin": lambda x: np.where(np.abs(x) <= LARGEST_ANGLE, np.sin(x), np.nan),
        "cos": lambda x: np.where(np.abs(x) <= LARGEST_ANGLE, np.cos(x), np.nan),
        "atan": np.arctan,
    }
    with np.errstate(all="ignore"):
        wanted = functions.get(name, getattr(np, name, None))(x.astype(np.float64))
        rounded = wanted.astype(np.float32)
    finite = np.isfinite(rounded)
    np.testing.assert_array_equal(found[~finite], rounded[~finite])
    unit = np.spacing(np.abs(rounded[finite])).astype(np.float64)
    assert (np.abs(found[finite] - wanted[finite]) / unit).max() <= MOST_ULP[name]
