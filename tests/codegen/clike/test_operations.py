"""Every operation that computes, in each language of the C family, on scalars and vectors, against its declaration's reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from operation_kernels import LANES, POINTWISE, functions, kernel, operands, padded, same, samples

from headrace.ir.kernel.ops.convert import cast_array
from headrace.ir.kernel.ops.scalar import COMPARISONS
from headrace.ir.types import COMPUTED

NAMES = list(COMPUTED)


@pytest.mark.parametrize("declared", POINTWISE, ids=lambda d: d.name)
def test_pointwise(in_each: Any, declared: Any) -> None:
    """Bit by bit, but for the sign of zeros where languages leave it open; a muladd may round once or twice."""
    count = len(declared.operand_fields)
    fused = declared.name == "kernel.fma"  # which 16-bit floats have no form of
    names = [n for n in NAMES if COMPUTED[n].kind in declared.cls.dtypes and not (fused and COMPUTED[n].is_half)]
    compiled = in_each(
        functions("".join(kernel(f"{n}_{k}", declared.name, [n] * count, n, k) for n in names for k in (1, LANES)))
    )
    for n in names:
        inputs = padded(operands(declared.name, COMPUTED[n], count))
        with np.errstate(all="ignore"):
            expected = np.asarray(object.__new__(declared.cls).reference(*inputs))
        for lanes in (1, LANES):
            (found,) = compiled.run(f"{n}_{lanes}", inputs)
            if declared.name == "kernel.muladd" and COMPUTED[n].is_float:
                expected = np.where(_is_rounded_once(found, inputs), found, expected)
            same(found, expected, signs=declared.name not in ("kernel.min", "kernel.max"))


def _is_rounded_once(found: Any, inputs: Any) -> Any:
    """Whether it is a*b + c in a wider type, to the last place."""
    a, b, c = (x.astype(np.longdouble) for x in inputs)
    with np.errstate(all="ignore"):
        once = (a * b + c).astype(found.dtype)
        return (found == once) | (np.abs(found - once) <= np.spacing(np.abs(once)))


def test_compare(in_each: Any) -> None:
    cases = [(n, p, k) for n in NAMES for p in COMPARISONS for k in (1, LANES)]
    text = "".join(
        kernel(f"{n}_{p}_{k}", "kernel.compare", [n, n], "bool", k, f"{{predicate = {p}}}") for n, p, k in cases
    )
    compiled = in_each(functions(text))
    for n, p, lanes in cases:
        inputs = padded(operands("kernel.compare", COMPUTED[n], 2))
        with np.errstate(invalid="ignore"):
            same(compiled.run(f"{n}_{p}_{lanes}", inputs)[0], np.asarray(COMPARISONS[p](*inputs)))


def test_select(in_each: Any) -> None:
    cases = [(n, k) for n in NAMES for k in (1, LANES)]
    compiled = in_each(functions("".join(kernel(f"{n}_{k}", "kernel.select", ["bool", n, n], n, k) for n, k in cases)))
    for n, lanes in cases:
        x, y = padded(operands("kernel.select", COMPUTED[n], 2))
        condition = np.random.default_rng(1).integers(0, 2, len(x)).astype(bool)
        same(compiled.run(f"{n}_{lanes}", [condition, x, y])[0], np.where(condition, x, y))


def test_cast(in_each: Any) -> None:
    """Integers wrap, floats saturate, NaN gives 0."""
    cases = [(a, b, k) for a in NAMES for b in NAMES for k in (1, LANES)]
    text = "".join(kernel(f"{a}_{b}_{k}", "kernel.cast", [a], b, k, f"{{dtype = {b}}}") for a, b, k in cases)
    compiled = in_each(functions(text))
    edges = [s * (2.0**p + d) for s in (1, -1) for p in (7, 8, 15, 16, 31, 32, 63, 64) for d in (-1, -0.5, 0, 0.5)]
    for a, b, lanes in cases:
        values = samples(COMPUTED[a])
        if COMPUTED[a].is_float:
            with np.errstate(over="ignore"):
                values = np.concatenate([values, np.array(edges).astype(values.dtype)])
        (x,) = padded([values])
        with np.errstate(all="ignore"):
            same(compiled.run(f"{a}_{b}_{lanes}", [x])[0], cast_array(x, COMPUTED[b]))


def test_bitcast(in_each: Any) -> None:
    pairs = [("f32", "i32"), ("i32", "f32"), ("f64", "u64"), ("i64", "f64"), ("i8", "u8"), ("bool", "u8")]
    text = "".join(
        kernel(f"{a}_{b}_{k}", "kernel.bitcast", [a], b, k, f"{{dtype = {b}}}") for a, b in pairs for k in (1, LANES)
    )
    compiled = in_each(functions(text))
    for a, b in pairs:
        (x,) = padded([samples(COMPUTED[a])])
        for lanes in (1, LANES):
            assert compiled.run(f"{a}_{b}_{lanes}", [x])[0].tobytes() == x.view(COMPUTED[b].numpy).tobytes()


@pytest.mark.parametrize("kind", ["add", "mul", "min", "max"])
def test_reduce_lanes(in_each: Any, kind: str) -> None:
    cases = [(n, k) for n in NAMES if n != "bool" or kind in ("min", "max") for k in (2, 3, 8)]
    text = "".join(
        f"""
        kernel.func @{n}_{k}(%x: buffer<{n}[n, {k}]>, %out: buffer<{n}[n]>) {{outputs = 1, scalars = ["n"]}} {{
          kernel.parallel (i: task n) {{
            %a = kernel.load %x[i, 0] {{lanes = {k}}} : vector<{k}x{n}>
            %r = kernel.reduce_lanes %a {{kind = {kind}}} : {n}
            kernel.store %r, %out[i]
          }}
        }}
        """
        for n, k in cases
    )
    compiled = in_each(functions(text))
    rng = np.random.default_rng(2)
    for n, lanes in cases:
        dtype = COMPUTED[n]
        # Small whole numbers: exact in any order.
        x = rng.integers(0 if n == "bool" else 1, 2 if n == "bool" else 4, (12, lanes)).astype(dtype.numpy)
        if dtype.is_float and kind in ("min", "max"):
            x[3, 1], x[5, 0] = np.nan, -np.inf
        fold = {"add": np.sum, "mul": np.prod, "min": np.min, "max": np.max}[kind]
        with np.errstate(invalid="ignore"):
            same(compiled.run(f"{n}_{lanes}", [x])[0], fold(x, axis=1).astype(dtype.numpy))


def test_numbers_survive(in_each: Any) -> None:
    """Constants of each type, to the last bit."""
    values: dict[str, list[Any]] = {
        "f64": [0.1, -1e-320, float("inf"), float("-inf"), 1.7976931348623157e308],
        "f32": [0.1, 1e-45, float("-inf"), 3.4028234663852886e38],
        "i64": [-(2**63), 2**63 - 1],
        "u64": [2**64 - 1, 0],
        "i32": [-(2**31), 2**31 - 1],
        "u32": [2**32 - 1],
        "i16": [-(2**15), 2**15 - 1],
        "i8": [-128, 127],
        "u8": [255],
        "f16": [0.1, 6e-8, float("-inf"), 65504.0],
        "bf16": [0.1, 1e-40, float("inf"), -3.38953139e38],
        "bool": [True, False],
    }
    cases = [(n, v, k) for n, vs in values.items() for v in vs for k in (1, LANES)]
    text = ""
    for number, (n, value, lanes) in enumerate(cases):
        kind = n if lanes == 1 else f"vector<{lanes}x{n}>"
        word = str(value).lower() if isinstance(value, bool) else str(value)
        text += f"""
        kernel.func @f{number}(%out: buffer<{n}[{lanes}]>) {{outputs = 1}} {{
          %c = kernel.constant {{value = {word}, type = {kind}}} : {kind}
          kernel.store %c, %out[0]
        }}
        """
    compiled = in_each(functions(text))
    for number, (n, value, lanes) in enumerate(cases):
        same(compiled.run(f"f{number}", [])[0], np.full(lanes, value, COMPUTED[n].numpy))


@pytest.mark.parametrize(
    ("operator", "x", "y", "expected"),
    [
        ("kernel.div", -(2**31), -1, -(2**31)),
        ("kernel.rem", -(2**31), -1, 0),
        ("kernel.div", 7, 0, 0),
        ("kernel.rem", 7, 0, 0),
        ("kernel.div", -7, 2, -3),
        ("kernel.rem", -7, 2, -1),
        ("kernel.add", 2**31 - 1, 1, -(2**31)),
        ("kernel.mul", 2**30, 6, -(2**31)),
        ("kernel.shr", -8, 1, -4),
    ],
)
def test_integers_as_promised(in_each: Any, operator: str, x: int, y: int, expected: int) -> None:
    compiled = in_each(functions(kernel("f", operator, ["i32", "i32"], "i32", 1)))
    operands_ = [np.array([v], np.int32) for v in (x, y)]
    assert compiled.run("f", operands_)[0].tolist() == [expected]


def test_take_lanes(in_each: Any) -> None:
    cases = [(n, start, taken) for n in NAMES for start, taken in ((0, 4), (4, 4), (3, 2), (7, 1))]
    text = ""
    for n, start, taken in cases:
        kind = n if taken == 1 else f"vector<{taken}x{n}>"
        text += f"""
        kernel.func @{n}_{start}(%x: buffer<{n}[n, 8]>, %out: buffer<{n}[n, {taken}]>) {{outputs = 1, scalars = ["n"]}} {{
          kernel.parallel (i: task n) {{
            %a = kernel.load %x[i, 0] {{lanes = 8}} : vector<8x{n}>
            %r = kernel.take_lanes %a {{start = {start}, lanes = {taken}}} : {kind}
            kernel.store %r, %out[i, 0]
          }}
        }}
        """
    compiled = in_each(functions(text))
    for n, start, taken in cases:
        x = np.random.default_rng(3).integers(0, 2, (3, 8)).astype(COMPUTED[n].numpy)
        same(compiled.run(f"{n}_{start}", [x])[0], x[:, start : start + taken])
