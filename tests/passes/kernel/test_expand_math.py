"""exp, log, tanh, erf, sin, cos and atan written out: their error over all floats, measured in the interpreter."""

import importlib
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headrace.ir.core import walk
from headrace.ir.kernel.interpret import run_kernel
from headrace.ir.kernel.ops.convert import Cast, cast_array
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.kernel.ops.scalar import LARGEST_ANGLE, Transcendental
from headrace.ir.pass_base import PassContext
from headrace.ir.rewrite import Rewriter
from headrace.ir.text import parse_module
from headrace.ir.types import DTYPES, element_dtype
from headrace.passes.kernel.expand_math import ExpandMath

Array = np.ndarray[Any, Any]
ROOT = Path(__file__).parents[3]
NAMES = ("exp", "exp_nonpositive", "log", "tanh", "erf", "sin", "cos", "atan")
MOST_ULP = {"exp": 1.05, "exp_nonpositive": 1.05, "log": 0.9, "tanh": 1.1, "erf": 1.3, "sin": 1.6, "cos": 1.6, "atan": 2.0}  # docs/numerics.md


def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module that derives the polynomials; it has erf to 80 digits."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("minimax")


def expanded(name: str, dtype: str) -> KernelFunc:
    text = f"""
    kernel.func @f(%x: buffer<{dtype}[n]>, %y: buffer<{dtype}[n]>) {{outputs = 1, scalars = ["n"]}} {{
      kernel.parallel (i: task n) {{
        %0 = kernel.load %x[i] : {dtype}
        %1 = kernel.{name} %0 : {dtype}
        kernel.store %1, %y[i]
      }}
    }}
    """
    module = parse_module(text)
    ExpandMath().run(module, Rewriter(), PassContext())
    function = next(module.functions(KernelFunc))
    assert not list(walk(function, Transcendental))
    return function


def exact(name: str, x: Array) -> Array:
    """In long double, or for erf in float64 (enough for f32)."""
    with np.errstate(all="ignore"):
        if name == "erf":
            return np.asarray(np.vectorize(math.erf, otypes=[np.float64])(x.astype(np.float64)))
        if name == "exp_nonpositive":
            return np.asarray(np.exp(np.minimum(x, 0).astype(np.longdouble)))
        function: Any = getattr(np, "arctan" if name == "atan" else name)
        found = np.asarray(function(x.astype(np.longdouble)))
        return np.where(np.abs(x) > LARGEST_ANGLE, np.nan, found) if name in ("sin", "cos") else found


def errors(found: Array, wanted: Array) -> Array:
    """In units of the last place of the rounded exact value; what is not finite must be equal."""
    with np.errstate(all="ignore"):
        rounded = wanted.astype(found.dtype)
    finite = np.isfinite(rounded)
    np.testing.assert_array_equal(found[~finite], rounded[~finite])
    unit = np.spacing(np.abs(np.where(finite, rounded, 1)))
    with np.errstate(invalid="ignore"):
        return np.where(finite, np.abs(found - wanted) / unit, 0)


@pytest.mark.parametrize("name", NAMES)
def test_f32_over_all_floats(name: str) -> None:
    x = np.arange(0, 1 << 32, 40009, dtype=np.uint64).astype(np.uint32).view(np.float32)
    x = np.concatenate([x, np.linspace(-12, 12, 50001, dtype=np.float32)])
    with np.errstate(all="ignore"):
        found = run_kernel(expanded(name, "f32"), [x]).outputs[0]
    assert errors(found, exact(name, x)).max() <= MOST_ULP[name]


@pytest.mark.parametrize("name", NAMES)
def test_edges(name: str) -> None:
    edges = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 1e-45, -1e-45, 1e-38, 3e38, -3e38, 88.7228, 88.7229]
    x = np.array([*edges, -87.3, -103.9, -103.98, 9.0, 9.02, 3.8, 4.0, 0.7, 0.9], np.float32)
    with np.errstate(all="ignore"):
        found = run_kernel(expanded(name, "f32"), [x]).outputs[0]
        wanted = exact(name, x).astype(np.float32)
    np.testing.assert_allclose(found, wanted, rtol=2.0**-22, atol=2.0**-149)
    plain = ~np.isnan(wanted)
    np.testing.assert_array_equal(np.signbit(found[plain]), np.signbit(wanted[plain]))


@pytest.mark.parametrize("name", ["exp", "exp_nonpositive", "log", "tanh", "sin", "cos", "atan"])
def test_f64(name: str) -> None:
    if np.finfo(np.longdouble).nmant < 63:
        pytest.skip("long double is no wider than float64")
    rng = np.random.default_rng(4)
    spread = rng.uniform(-1, 1, 20000) * 2.0 ** rng.integers(-1080, 11, 20000)
    x = np.concatenate([spread, rng.uniform(-3, 3, 40000), [0.0, -0.0, np.inf, -np.inf, np.nan, 5e-324]])
    with np.errstate(all="ignore"):
        found = run_kernel(expanded(name, "f64"), [x]).outputs[0]
    assert errors(found, exact(name, x)).max() <= max(1.3, MOST_ULP[name])


def test_f64_erf(monkeypatch: pytest.MonkeyPatch) -> None:
    minimax = script(monkeypatch)
    x = np.random.default_rng(4).uniform(-6.5, 6.5, 400)
    found = run_kernel(expanded("erf", "f64"), [x]).outputs[0]
    worst = max(
        abs(Decimal(float(y)) - minimax.erf(Decimal(float(v)))) / Decimal(float(np.spacing(abs(y))))
        for v, y in zip(x, found, strict=True)
    )
    assert worst <= Decimal("1.3")


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
@pytest.mark.parametrize("name", NAMES)
def test_every_16_bit_float(name: str, dtype: str) -> None:
    kind = DTYPES[dtype].numpy
    x = np.arange(1 << 16, dtype=np.uint16).view(kind)
    with np.errstate(all="ignore"):
        found = run_kernel(expanded(name, dtype), [x]).outputs[0]
        wide = exact(name, x.astype(np.float32)).astype(np.float32)
        step = np.abs(found.view(np.int16).astype(int) - wide.astype(kind).view(np.int16).astype(int))
        nan = np.isnan(wide)
        assert np.isnan(found[nan]).all()
    assert step[~nan].max() <= 1  # the value in f32 may lie across a tie
    assert (step[~nan] == 0).mean() > 0.999


def test_the_script_derives_the_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    script(monkeypatch).main()
    assert capsys.readouterr().out == (ROOT / "passes/lowering/coefficients.py").read_text()


# ---- narrow types ----------------------------------------------------------------------------------------------------

NARROW = [n for n, d in DTYPES.items() if d.kind == "narrow"]


def cast_expanded(source: str, target: str) -> KernelFunc:
    text = f"""
    kernel.func @f(%x: buffer<{source}[n]>, %y: buffer<{target}[n]>) {{outputs = 1, scalars = ["n"]}} {{
      kernel.parallel (i: task n) {{
        %0 = kernel.load %x[i] : {source}
        %1 = kernel.cast %0 {{dtype = {target}}} : {target}
        kernel.store %1, %y[i]
      }}
    }}
    """
    module = parse_module(text)
    ExpandMath().run(module, Rewriter(), PassContext())
    function = next(module.functions(KernelFunc))
    assert not [c for c in walk(function, Cast) if "narrow" in (element_dtype(c.x.type).kind, c.dtype.kind)]
    return function


@pytest.mark.parametrize("name", NARROW)
def test_to_narrow_over_all_floats(name: str) -> None:
    ties = (np.arange(1 << 16, dtype=np.uint32) << 16).view(np.float32)  # all of bf16: halves between small floats too
    x = np.concatenate([np.arange(0, 1 << 32, 40009, dtype=np.uint64).astype(np.uint32).view(np.float32), ties])
    with np.errstate(all="ignore"):
        found, wanted = run_kernel(cast_expanded("f32", name), [x]).outputs[0], cast_array(x, DTYPES[name])
    np.testing.assert_array_equal(found.view(np.uint8), wanted.view(np.uint8))


@pytest.mark.parametrize("name", NARROW)
def test_integers_to_narrow(name: str) -> None:
    x = np.arange(-300, 300, dtype=np.int32)
    found = run_kernel(cast_expanded("i32", name), [x]).outputs[0]
    np.testing.assert_array_equal(found.view(np.uint8), cast_array(x, DTYPES[name]).view(np.uint8))


@pytest.mark.parametrize("target", ["f32", "f16", "i32", "bool", "f8e5m2", "i4"])
@pytest.mark.parametrize("name", NARROW)
def test_from_every_code(name: str, target: str) -> None:
    codes = np.arange(1 << DTYPES[name].bits, dtype=np.uint8).view(DTYPES[name].numpy)
    with np.errstate(all="ignore"):
        found = run_kernel(cast_expanded(name, target), [codes]).outputs[0]
        wanted = cast_array(codes, DTYPES[target])
        if target in ("f32", "f8e5m2"):  # numbers by their bits, which tell -0 from 0
            bits = np.int32 if target == "f32" else np.uint8
            found, wanted = (np.where(np.isnan(a), a.dtype.type(1), a).view(bits) for a in (found, wanted))
        np.testing.assert_array_equal(found, wanted)


def test_codes_with_bits_above() -> None:
    """Memory of a caller's may have anything there."""
    codes = np.array([0xF7, 0x1F, 0x80], np.uint8)
    found = run_kernel(cast_expanded("i4", "i32"), [codes.view(DTYPES["i4"].numpy)]).outputs[0]
    np.testing.assert_array_equal(found, [7, -1, 0])
