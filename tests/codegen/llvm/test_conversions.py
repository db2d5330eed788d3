"""Casts between all types, bitcasts, and formulas as data."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from headrace.ir.kernel.interpret import run_kernel
from headrace.ir.kernel.ops.convert import cast_array
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.text import parse_module
from headrace.ir.types import COMPUTED, DType

Array = np.ndarray[Any, Any]
LANES = 4


def samples(dtype: DType) -> Array:
    rng = np.random.default_rng(3)
    if dtype.kind == "bool":
        return np.array([False, True] * 8)
    if dtype.is_integer:
        info = np.iinfo(dtype.numpy)
        edges = [0, 1, info.max, info.min, info.max - 1, info.max // 3, 64, 127, 16777217 % info.max]
        return np.concatenate([np.array(edges, dtype.numpy), rng.integers(info.min, info.max, 55, dtype.numpy)])
    powers = [s * (2.0**p + d) for s in (1, -1) for p in (7, 8, 15, 16, 31, 32, 63, 64) for d in (-1, -0.5, 0, 0.5)]
    tiny = float(ml_dtypes.finfo(dtype.numpy).smallest_subnormal)
    # Halfway between neighbours of the 16-bit floats, above, below, and where they become denormal or infinite.
    ties = [1 + 2.0**-11, 1 + 2.0**-11 + 2.0**-40, 1 + 3 * 2.0**-11, 1 + 2.0**-8, 1 + 3 * 2.0**-8, 1 + 2.0**-8 + 2.0**-30]
    ties += [2.0**-25, 2.0**-25 + 2.0**-50, 3 * 2.0**-25, 65519.99, 65520.0, 2.0**-14 - 2.0**-26, 5 * tiny, 3.4e38, 3.3961e38]
    edges_f = [0.0, -0.0, np.inf, -np.inf, np.nan, 0.5, -0.5, 0.999, 1e300, -1e300, *powers, *ties, *(-t for t in ties)]
    random = rng.normal(0, 1, 20) * 10.0 ** rng.integers(-8, 9, 20)
    with np.errstate(over="ignore"):
        found = np.array([*edges_f, *random]).astype(dtype.numpy)
    return np.resize(found, -(-len(found) // LANES) * LANES)


def each(label: str, line: str, source: str, target: str, lanes: int) -> str:
    """`line` computes %r from %x."""
    kind = source if lanes == 1 else f"vector<{lanes}x{source}>"
    out = target if lanes == 1 else f"vector<{lanes}x{target}>"
    return f"""
    kernel.func @{label}(%in: buffer<{source}[n]>, %out: buffer<{target}[n]>) {{outputs = 1, scalars = ["n"]}} {{
      kernel.parallel (i: task n floordiv {lanes}) {{
        %x = kernel.load %in[i*{lanes}] {{lanes = {lanes}}} : {kind}
        %r = {line} : {out}
        kernel.store %r, %out[i*{lanes}]
      }}
    }}
    """


def functions(text: str) -> list[KernelFunc]:
    return list(parse_module(text).functions(KernelFunc))


@pytest.mark.parametrize("source", COMPUTED)
def test_cast(toolchain: Any, source: str) -> None:
    cases = [(target, lanes) for target in COMPUTED for lanes in (1, LANES)]
    text = "".join(each(f"{t}_{k}", f"kernel.cast %x {{dtype = {t}}}", source, t, k) for t, k in cases)
    compiled = toolchain.compile(functions(text))
    x = samples(COMPUTED[source])
    for target, lanes in cases:
        with np.errstate(all="ignore"):
            expected = cast_array(x, COMPUTED[target])
        found = compiled.run(f"{target}_{lanes}", [x])[0]
        if COMPUTED[target].is_float:
            nan = np.isnan(expected)
            np.testing.assert_array_equal(np.isnan(found), nan, f"{source} to {target}")
            found, expected = np.where(nan, 0, found), np.where(nan, 0, expected)
        np.testing.assert_array_equal(found, expected, f"{source} to {target}, {lanes} lanes")


def test_every_f16_and_bf16_survives_f32(toolchain: Any) -> None:
    names = ["f16", "bf16"]
    text = "".join(each(f"{n}_up", "kernel.cast %x {dtype = f32}", n, "f32", LANES) for n in names)
    text += "".join(each(f"{n}_down", f"kernel.cast %x {{dtype = {n}}}", "f32", n, LANES) for n in names)
    compiled = toolchain.compile(functions(text))
    bits = np.arange(1 << 16, dtype=np.uint16)
    for n in names:
        x = bits.view(COMPUTED[n].numpy)
        wide = compiled.run(f"{n}_up", [x])[0]
        with np.errstate(invalid="ignore"):
            plain = ~np.isnan(x)
        np.testing.assert_array_equal(wide[plain], x[plain].astype(np.float32))
        assert np.isnan(wide[~plain]).all()
        back = compiled.run(f"{n}_down", [wide])[0]
        np.testing.assert_array_equal(back.view(np.uint16)[plain], bits[plain])
        with np.errstate(invalid="ignore"):
            assert np.isnan(back[~plain]).all()


def test_bitcast(toolchain: Any) -> None:
    pairs = [("f32", "i32"), ("i32", "f32"), ("f64", "u64"), ("f16", "i16"), ("u16", "bf16"), ("f16", "bf16")]
    pairs += [("i8", "u8"), ("bool", "u8"), ("u8", "bool")]
    text = "".join(
        each(f"{a}_{b}_{k}", f"kernel.bitcast %x {{dtype = {b}}}", a, b, k) for a, b in pairs for k in (1, LANES)
    )
    compiled = toolchain.compile(functions(text))
    for a, b in pairs:
        x = samples(COMPUTED[a]) if a != "u8" or b != "bool" else np.resize(np.array([0, 1], np.uint8), 16)
        for lanes in (1, LANES):
            found = compiled.run(f"{a}_{b}_{lanes}", [x])[0]
            assert found.tobytes() == x.view(COMPUTED[b].numpy).tobytes()


def test_index_mask_and_holds(toolchain: Any) -> None:
    text = """
    kernel.func @index(%out: buffer<i32[n, 8]>, %short: buffer<u8[n]>) {outputs = 2, scalars = ["n"]} {
      kernel.parallel (i: task n) {
        %v = kernel.index {value = i*3 - 5, dtype = i32, lanes = 8, step = -2} : vector<8xi32>
        kernel.store %v, %out[i, 0]
        %s = kernel.index {value = i*i - 300, dtype = u8} : u8
        kernel.store %s, %short[i]
      }
    }
    kernel.func @mask(%out: buffer<bool[n, 8]>, %all: buffer<bool[n, 8]>) {outputs = 2, scalars = ["n"]} {
      kernel.parallel (i: task n) {
        %v = kernel.mask {lower = i - 4, upper = i*2, lanes = 8} : vector<8xbool>
        kernel.store %v, %out[i, 0]
        %w = kernel.mask {lower = 2, upper = 5, lanes = 8} : vector<8xbool>
        kernel.store %w, %all[i, 0]
      }
    }
    kernel.func @holds(%out: buffer<bool[n]>) {outputs = 1, scalars = ["n"]} {
      kernel.parallel (i: task n) {
        %v = kernel.holds {where = [i - 2, -i + 6]} : bool
        kernel.store %v, %out[i]
      }
    }
    """
    compiled = toolchain.compile(functions(text))
    for name, function in compiled.functions.items():
        expected = run_kernel(function, [], {"n": 14}).outputs
        for found, wanted in zip(compiled.run(name, [], {"n": 14}), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)
