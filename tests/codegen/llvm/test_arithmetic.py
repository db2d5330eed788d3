"""Every operation that computes, on scalars and vectors, against its declaration's reference."""

from collections.abc import Callable, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from headrace.ir.declare import declarations
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.kernel.ops.scalar import COMPARISONS, Fma, MulAdd, Pointwise, Transcendental
from headrace.ir.text import parse_module
from headrace.ir.types import DTYPES, DType

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
    info_f = ml_dtypes.finfo(dtype.numpy)
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


@pytest.mark.parametrize("declared", POINTWISE, ids=lambda d: d.name)
def test_pointwise(toolchain: Any, declared: Any) -> None:
    count = len(declared.operand_fields)
    names = [n for n, t in DTYPES.items() if t.kind in declared.cls.dtypes]
    fused = issubclass(declared.cls, Fma)
    if fused:
        names = ["f32", "f64"]
        if not toolchain.facts.has_fma:
            pytest.skip("no fused multiply-add")
    text = "".join(
        kernel(f"{n}_{lanes}", declared.name, [n] * count, n, lanes) for n in names for lanes in (1, LANES)
    )
    compiled = toolchain.compile(functions(text))
    for n in names:
        inputs = padded(operands(declared.name, DTYPES[n], count))
        operation = object.__new__(declared.cls)
        with np.errstate(all="ignore"):
            expected = np.asarray(operation.reference(*inputs))
        for lanes in (1, LANES):
            (found,) = compiled.run(f"{n}_{lanes}", inputs)
            if issubclass(declared.cls, MulAdd) and DTYPES[n].is_float:
                _once_or_twice(found, inputs, expected)
            else:
                same(found, expected, signs=declared.name not in ("kernel.min", "kernel.max"))


def _once_or_twice(found: Array, inputs: Sequence[Array], twice: Array) -> None:
    """muladd: the product rounded or not."""
    with np.errstate(all="ignore"):
        exact = [x.astype(np.float32) if x.itemsize == 2 else x for x in inputs]
        once = np.asarray(object.__new__(Fma).reference(*exact)).astype(found.dtype)
    either = (found == twice) | (found == once) | (np.isnan(found) & (np.isnan(once) | np.isnan(twice)))
    assert either.all(), [x[~either][:3] for x in (*inputs, found)]


def test_compare(toolchain: Any) -> None:
    names = list(DTYPES)
    text = ""
    for n in names:
        for p in COMPARISONS:
            attributes = f"{{predicate = {p}}}"
            text += "".join(kernel(f"{n}_{p}_{k}", "kernel.compare", [n, n], "bool", k, attributes) for k in (1, LANES))
    compiled = toolchain.compile(functions(text))
    for n in names:
        inputs = padded(operands("kernel.compare", DTYPES[n], 2))
        for p, compare in COMPARISONS.items():
            with np.errstate(invalid="ignore"):
                expected = np.asarray(compare(*inputs))
            for lanes in (1, LANES):
                same(compiled.run(f"{n}_{p}_{lanes}", inputs)[0], expected)


def test_select(toolchain: Any) -> None:
    names = list(DTYPES)
    text = "".join(
        kernel(f"{n}_{lanes}", "kernel.select", ["bool", n, n], n, lanes) for n in names for lanes in (1, LANES)
    )
    compiled = toolchain.compile(functions(text))
    for n in names:
        x, y = padded(operands("kernel.select", DTYPES[n], 2))
        condition = np.random.default_rng(1).integers(0, 2, len(x)).astype(bool)
        for lanes in (1, LANES):
            (found,) = compiled.run(f"{n}_{lanes}", [condition, x, y])
            same(found, np.where(condition, x, y))


def test_division_by_a_constant_zero_is_zero(toolchain: Any) -> None:
    text = """
    kernel.func @f(%x: buffer<i32[n]>, %out: buffer<i32[n]>) {outputs = 1, scalars = ["n"]} {
      kernel.parallel (i: task n) {
        %a = kernel.load %x[i] : i32
        %z = kernel.constant {value = 0, type = i32} : i32
        %r = kernel.div %a, %z : i32
        kernel.store %r, %out[i]
      }
    }
    """
    x = np.array([3, -4, 0], np.int32)
    assert toolchain.compile(functions(text)).run("f", [x])[0].tolist() == [0, 0, 0]


@pytest.mark.parametrize("kind", ["add", "mul", "min", "max"])
def test_reduce_lanes(toolchain: Any, kind: str) -> None:
    names = [n for n, t in DTYPES.items() if t.kind != "bool" or kind in ("min", "max")]
    cases = [(n, lanes) for n in names for lanes in (2, 3, 4, 8)]
    text = ""
    for n, lanes in cases:
        text += f"""
        kernel.func @{n}_{lanes}(%x: buffer<{n}[n, {lanes}]>, %out: buffer<{n}[n]>) {{outputs = 1, scalars = ["n"]}} {{
          kernel.parallel (i: task n) {{
            %a = kernel.load %x[i, 0] {{lanes = {lanes}}} : vector<{lanes}x{n}>
            %r = kernel.reduce_lanes %a {{kind = {kind}}} : {n}
            kernel.store %r, %out[i]
          }}
        }}
        """
    compiled = toolchain.compile(functions(text))
    fold: dict[str, Callable[..., Any]] = {"add": np.sum, "mul": np.prod, "min": np.min, "max": np.max}
    rng = np.random.default_rng(2)
    for n, lanes in cases:
        dtype = DTYPES[n]
        # Small whole numbers: their sums are exact in any order.
        x = rng.integers(1, 4, (12, lanes)).astype(dtype.numpy)
        if dtype.is_float and kind in ("min", "max"):
            x[3, 1], x[5, 0] = np.nan, -np.inf
        (found,) = compiled.run(f"{n}_{lanes}", [x])
        with np.errstate(invalid="ignore"):
            exact = fold[kind](x.astype(np.float64), axis=1)
        same(found, (exact.astype(np.int64) if dtype.is_integer else exact).astype(dtype.numpy))


def test_numbers_survive(toolchain: Any) -> None:
    """Constants of each type, scalar and vector, to the last bit."""
    values: dict[str, Any] = {
        "f64": 0.1, "f32": 0.1, "f16": 0.1, "bf16": 0.1, "i64": -(2**63), "u64": 2**64 - 1, "i8": -128, "bool": True
    }  # fmt: skip
    text = ""
    for n, value in values.items():
        word = str(value).lower()
        for lanes in (1, LANES):
            kind = n if lanes == 1 else f"vector<{lanes}x{n}>"
            text += f"""
            kernel.func @{n}_{lanes}(%out: buffer<{n}[{lanes}]>) {{outputs = 1}} {{
              %c = kernel.constant {{value = {word}, type = {kind}}} : {kind}
              kernel.store %c, %out[0]
            }}
            """
    compiled = toolchain.compile(functions(text))
    for n, value in values.items():
        for lanes in (1, LANES):
            (found,) = compiled.run(f"{n}_{lanes}", [])
            same(found, np.full(lanes, value).astype(DTYPES[n].numpy))
