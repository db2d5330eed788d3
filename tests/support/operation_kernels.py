"""Kernels of one operation each, and operands at the edges of every type: what tests of code generation share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np

from headrace.ir.declare import declarations
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.kernel.ops.scalar import Pointwise, Transcendental
from headrace.ir.text import parse_module
from headrace.ir.types import DType

Array = np.ndarray[Any, Any]
LANES = 4
FLOATS = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.5, 3.0, 1e-3, 7.25, 65504.0, 1e30, -1e30, np.inf, -np.inf, np.nan]


def samples(dtype: DType) -> Array:
    """Values at the edges of the type, and random ones."""
    rng = np.random.default_rng(5)
    if dtype.kind == "bool":
        return np.array([False, True])
    if dtype.is_integer:
        info = np.iinfo(dtype.numpy)
        edges = [0, 1, 2, 3, 5, 7, info.max, info.max - 1, info.min, info.min + 1, info.max // 2]
        if dtype.kind == "int":
            edges += [-1, -2, -7]
        return np.concatenate([np.array(edges, dtype.numpy), rng.integers(info.min, info.max, 20, dtype.numpy)])
    info_f: Any = ml_dtypes.finfo(dtype.numpy)  # type: ignore[no-untyped-call]
    edges_f = [*FLOATS, float(info_f.tiny), float(info_f.smallest_subnormal), float(info_f.max), 3 * float(info_f.tiny) / 7]
    with np.errstate(over="ignore"):
        wide = np.array([*edges_f, *rng.normal(0, 3, 10), *rng.normal(0, 1e5, 6)])
        return wide.astype(dtype.numpy)


def operands(name: str, dtype: DType, count: int) -> list[Array]:
    """All pairs of samples; a third operand in another order."""
    one = samples(dtype)
    if name in ("kernel.shl", "kernel.shr"):
        shifts = np.arange(dtype.bits).astype(dtype.numpy)
        return [g.ravel() for g in np.meshgrid(one, shifts, indexing="ij")]
    grid = [g.ravel() for g in np.meshgrid(*[one] * min(count, 2), indexing="ij")]
    return grid if count < 3 else [*grid, np.random.default_rng(6).permutation(grid[0])]


def padded(arrays: Sequence[Array]) -> list[Array]:
    """To a whole number of vectors."""
    size = -(-len(arrays[0]) // LANES) * LANES
    return [np.resize(a, size) for a in arrays]


def kernel(label: str, name: str, kinds: Sequence[str], result: str, lanes: int, attributes: str = "") -> str:
    """A kernel that applies one operation to each element, or to each vector."""
    spelled = [k if lanes == 1 else f"vector<{lanes}x{k}>" for k in [*kinds, result]]
    parameters = ", ".join(f"%p{i}: buffer<{k}[n]>" for i, k in enumerate(kinds))
    loads = "\n".join(
        f"%a{i} = kernel.load %p{i}[i*{lanes}] {{lanes = {lanes}}} : {spelled[i]}" for i in range(len(kinds))
    )
    listed = ", ".join(f"%a{i}" for i in range(len(kinds)))
    return f"""
    kernel.func @{label}({parameters}, %out: buffer<{result}[n]>) {{outputs = 1, scalars = ["n"]}} {{
      kernel.parallel (i: task n floordiv {lanes}) {{
        {loads}
        %r = {name} {listed} {attributes} : {spelled[-1]}
        kernel.store %r, %out[i*{lanes}]
      }}
    }}
    """


def functions(text: str) -> list[KernelFunc]:
    return list(parse_module(text).functions(KernelFunc))


def same(found: Array, expected: Array, *, signs: bool = True) -> None:
    """Equal bits, but that all NaN are one; with `signs` off also both zeros."""
    found, expected = found.astype(expected.dtype), expected
    if expected.dtype.kind in "iub":
        np.testing.assert_array_equal(found, expected)
        return
    f, e = found.astype(np.float64), expected.astype(np.float64)
    np.testing.assert_array_equal(np.isnan(f), np.isnan(e))
    np.testing.assert_array_equal(np.where(np.isnan(f), 0, f), np.where(np.isnan(e), 0, e))
    if signs:
        plain = ~np.isnan(e)
        np.testing.assert_array_equal(np.signbit(f[plain]), np.signbit(e[plain]))


POINTWISE = [
    d for d in declarations("kernel") if issubclass(d.cls, Pointwise) and not issubclass(d.cls, Transcendental)
]
