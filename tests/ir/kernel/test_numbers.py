"""Scalar operations in the interpreter: conversions, lanes, and what numpy alone would do otherwise."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from headrace.ir.kernel.interpret import run_kernel
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.text import parse_module
from headrace.ir.types import DTYPES
from headrace.ir.verify import verify

Array = np.ndarray[Any, Any]


def compute(body: str, x: Array, source: str, target: str, *, wide: bool = False) -> Array:
    """%r, computed by `body` from each element %x."""
    text = f"""
    kernel.func @f(%in: buffer<{source}[n]>, %out: buffer<{target}[n]>) {{outputs = 1, scalars = ["n"]}} {{
      kernel.parallel (i: task n) {{
        %x = kernel.load %in[i] : {source}
        {body}
        kernel.store %r, %out[i]
      }}
    }}
    """
    module = parse_module(text)
    verify(module)
    function = next(module.functions(KernelFunc))
    return run_kernel(function, [x.astype(DTYPES[source].numpy)], wide=wide).outputs[0]


@pytest.mark.parametrize(
    ("source", "target", "values", "expected"),
    [
        ("f32", "i8", [1.9, -1.9, 300, -300, np.nan, np.inf], [1, -1, 127, -128, 0, 127]),
        ("f32", "u8", [1.9, -1.9, 300, np.nan], [1, 0, 255, 0]),
        ("f32", "i64", [1e30, -1e30, 3.5], [2**63 - 1, -(2**63), 3]),
        ("i32", "i8", [300, -129, 5], [44, 127, 5]),
        ("f32", "bool", [0.0, -0.0, 0.5, np.nan], [False, False, True, True]),
        ("f32", "f16", [1e6, 1 / 3], [np.inf, np.float16(1 / 3)]),
        ("i64", "f32", [2**24 + 1], [2.0**24]),
    ],
)
def test_casts(source: str, target: str, values: list[float], expected: list[float]) -> None:
    found = compute(f"%r = kernel.cast %x {{dtype = {target}}} : {target}", np.array(values), source, target)
    assert found.tolist() == expected


def test_a_wide_cast_between_floats_rounds_nothing() -> None:
    body = "%h = kernel.cast %x {dtype = f16} : f16  %r = kernel.cast %h {dtype = f32} : f32"
    assert compute(body, np.array([1 / 3]), "f32", "f32", wide=True)[0] == float(np.float32(1 / 3))


def test_bits() -> None:
    body = "%b = kernel.bitcast %x {dtype = i32} : i32  %c = kernel.constant {value = 1, type = i32} : i32 "
    body += "%d = kernel.add %b, %c : i32  %r = kernel.bitcast %d {dtype = f32} : f32"
    x = np.array([1.0, -2.5], np.float32)
    assert compute(body, x, "f32", "f32").tolist() == np.nextafter(x, x * 2).tolist()
    assert compute(body, x, "f32", "f32", wide=True).tolist() == np.nextafter(x, x * 2).tolist()


def test_integers_wrap_and_division_by_zero_is_zero() -> None:
    assert compute("%r = kernel.add %x, %x : i8", np.array([100, -100]), "i8", "i8").tolist() == [-56, 56]
    body = "%z = kernel.constant {value = 0, type = i32} : i32  %r = kernel.div %x, %z : i32"
    assert compute(body, np.array([7]), "i32", "i32").tolist() == [0]


def test_bfloat16_rounds_after_each_operation() -> None:
    body = "%c = kernel.constant {value = 1.0, type = bf16} : bf16  %r = kernel.add %x, %c : bf16"
    assert compute(body, np.array([2.0**-9]), "bf16", "bf16")[0] == ml_dtypes.bfloat16(1.0)


def test_fma_rounds_once_and_muladd_twice() -> None:
    x = np.float32(1 + 2**-12)
    body = "%m = kernel.constant {value = -1.0, type = f32} : f32  %r = kernel.NAME %x, %x, %m : f32"
    once = compute(body.replace("NAME", "fma"), np.array([x]), "f32", "f32")[0]
    twice = compute(body.replace("NAME", "muladd"), np.array([x]), "f32", "f32")[0]
    assert once == np.float32(2**-11 + 2**-24)
    assert twice == np.float32(2**-11)


def test_a_formula_as_data() -> None:
    body = """
      %v = kernel.index {value = i*3, dtype = i32, lanes = 4, step = 2} : vector<4xi32>
      %r = kernel.reduce_lanes %v {kind = max} : i32
    """
    assert compute(body, np.zeros(3), "f32", "i32").tolist() == [6, 9, 12]


def test_masks_conditions_and_choices() -> None:
    body = """
      %m = kernel.mask {lower = 1, upper = n - i, lanes = 4} : vector<4xbool>
      %a = kernel.broadcast %x {lanes = 4} : vector<4xf32>
      %z = kernel.constant {value = 0.0, type = f32} : f32
      %b = kernel.broadcast %z {lanes = 4} : vector<4xf32>
      %c = kernel.select %m, %a, %b : vector<4xf32>
      %h = kernel.holds {where = [i - 1, 2 - i]} : bool
      %d = kernel.select %h, %c, %a : vector<4xf32>
      %r = kernel.reduce_lanes %d {kind = add} : f32
    """
    # i = 0: four times x; i = 1: lanes 1, 2 of n - i = 3; i = 2: lane 1 of 2; i = 3: four times x
    assert compute(body, np.array([1, 1, 1, 1]), "f32", "f32").tolist() == [4, 2, 1, 4]
