"""Every operation that computes, on scalars and vectors, against its declaration's reference."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from operation_kernels import LANES, POINTWISE, functions, kernel, operands, padded, same

from headrace.ir.kernel.ops.scalar import COMPARISONS, Fma, MulAdd
from headrace.ir.types import COMPUTED

Array = np.ndarray[Any, Any]


@pytest.mark.parametrize("declared", POINTWISE, ids=lambda d: d.name)
def test_pointwise(toolchain: Any, declared: Any) -> None:
    count = len(declared.operand_fields)
    names = [n for n, t in COMPUTED.items() if t.kind in declared.cls.dtypes]
    fused = issubclass(declared.cls, Fma)
    if fused:
        names = ["f32", "f64"]
        if not toolchain.facts.has_fma:
            pytest.skip("no fused multiply-add")
    text = "".join(kernel(f"{n}_{lanes}", declared.name, [n] * count, n, lanes) for n in names for lanes in (1, LANES))
    compiled = toolchain.compile(functions(text))
    for n in names:
        inputs = padded(operands(declared.name, COMPUTED[n], count))
        operation = object.__new__(declared.cls)
        with np.errstate(all="ignore"):
            expected = np.asarray(operation.reference(*inputs))
        for lanes in (1, LANES):
            (found,) = compiled.run(f"{n}_{lanes}", inputs)
            if issubclass(declared.cls, MulAdd) and COMPUTED[n].is_float:
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
    names = list(COMPUTED)
    text = ""
    for n in names:
        for p in COMPARISONS:
            attributes = f"{{predicate = {p}}}"
            text += "".join(kernel(f"{n}_{p}_{k}", "kernel.compare", [n, n], "bool", k, attributes) for k in (1, LANES))
    compiled = toolchain.compile(functions(text))
    for n in names:
        inputs = padded(operands("kernel.compare", COMPUTED[n], 2))
        for p, compare in COMPARISONS.items():
            with np.errstate(invalid="ignore"):
                expected = np.asarray(compare(*inputs))
            for lanes in (1, LANES):
                same(compiled.run(f"{n}_{p}_{lanes}", inputs)[0], expected)


def test_select(toolchain: Any) -> None:
    names = list(COMPUTED)
    text = "".join(
        kernel(f"{n}_{lanes}", "kernel.select", ["bool", n, n], n, lanes) for n in names for lanes in (1, LANES)
    )
    compiled = toolchain.compile(functions(text))
    for n in names:
        x, y = padded(operands("kernel.select", COMPUTED[n], 2))
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
    names = [n for n, t in COMPUTED.items() if t.kind != "bool" or kind in ("min", "max")]
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
        dtype = COMPUTED[n]
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
            same(found, np.full(lanes, value).astype(COMPUTED[n].numpy))


def test_take_lanes(toolchain: Any) -> None:
    cases = [(n, start, taken) for n in COMPUTED for start, taken in ((0, 4), (4, 4), (3, 2), (7, 1))]
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
    compiled = toolchain.compile(functions(text))
    for n, start, taken in cases:
        x = np.random.default_rng(3).integers(0, 2, (3, 8)).astype(COMPUTED[n].numpy)
        same(compiled.run(f"{n}_{start}", [x])[0], x[:, start : start + taken])
