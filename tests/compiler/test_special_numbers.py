"""Single operations, compiled, on numbers that random draws miss: infinities, denormals, exact powers, the largest integers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from random_graphs.differential import target_of

from headrace.compiler.driver import compile_module
from headrace.ir.graph.interpret import run_graph
from headrace.ir.graph.ops.func import GraphFunc
from headrace.ir.text.parser import parse_module
from headrace.ir.types import dtype_of
from headrace.runtime.python import load

Array = np.ndarray[Any, Any]


def _results(tmp_path: Path, operation: str, *operands: Array, dtype: str) -> list[Array]:
    """What `operation` on rows of numbers gives on each target that this machine runs."""
    size = operands[0].size
    names = [f"x{i}" for i in range(len(operands))]
    parameters = ", ".join(f"%{n}: {dtype_of(x)}[{size}]" for n, x in zip(names, operands, strict=True))
    listed = ", ".join(f'"{n}"' for n in names)
    head = f'graph.func @main({parameters}) {{input_names = [{listed}], output_names = ["y"]}}'
    body = f"%0 = graph.{operation} {', '.join(f'%{n}' for n in names)} : {dtype}[{size}]"
    found = []
    for target in sorted({target_of(seed) for seed in range(3)}):
        module = parse_module(f"module {{\n{head} {{\n{body}\ngraph.return %0\n}}\n}}")
        compile_module(module, output=tmp_path / "m.hrm", target=target)
        found.append(load(tmp_path / "m.hrm").run(dict(zip(names, operands, strict=True)))["y"])
    return found


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_acosh_below_one_is_no_number(dtype: type, tmp_path: Path) -> None:
    facts = np.finfo(dtype)
    x = np.array([facts.min, -np.inf, -1e30, -1e8, -3000, -1, 0.5, np.nan, 1, np.inf], dtype)
    expected = np.array([np.nan] * 8 + [0, np.inf])
    for found in _results(tmp_path, "acosh", x, dtype=str(dtype_of(x))):
        np.testing.assert_array_equal(found, expected)


def test_roots_that_are_integers(tmp_path: Path) -> None:
    """Cut towards zero: a root that came out a little too small would be another integer."""
    roots = np.arange(1, 200, dtype=np.int32)
    for found in _results(tmp_path, "integer_pow", roots**2, np.full(199, 0.5, np.float32), dtype="i32"):
        np.testing.assert_array_equal(found, roots)
    for found in _results(tmp_path, "integer_pow", roots**2 + 1, np.full(199, 0.5, np.float32), dtype="i32"):
        np.testing.assert_array_equal(found, roots)
    for found in _results(tmp_path, "integer_pow", roots[1:] ** 2 - 1, np.full(198, 0.5, np.float32), dtype="i32"):
        np.testing.assert_array_equal(found, roots[:-1])


def test_powers_wrap_as_products_do(tmp_path: Path) -> None:
    """Exponents beyond the range of the base's type, and results that no float holds."""
    x, y = np.array([3, 2, 255, 1, 0], np.uint8), np.array([300, 7, 257, 999, 0], np.int32)
    expected = [pow(int(a), int(b), 256) for a, b in zip(x, y, strict=True)]
    for found in _results(tmp_path, "integer_pow", x, y, dtype="u8"):
        np.testing.assert_array_equal(found, np.array(expected, np.uint8))
    x64, y32 = np.array([7, 3, 2**63 + 1], np.uint64), np.array([22, 40, 3], np.float32)
    expected = [pow(int(a), int(b), 2**64) for a, b in zip(x64, y32, strict=True)]
    for found in _results(tmp_path, "integer_pow", x64, y32, dtype="u64"):
        np.testing.assert_array_equal(found, np.array(expected, np.uint64))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sigmoids_that_are_denormal(dtype: type, tmp_path: Path) -> None:
    """The exponential of the opposite is infinite there."""
    facts = np.finfo(dtype)
    smallest = float(np.log(facts.smallest_normal))
    x = np.linspace(smallest - 10, smallest + 3, 40).astype(dtype)
    expected = np.exp(x.astype(np.longdouble)).astype(dtype)  # 1 + exp(x) is 1
    for found in _results(tmp_path, "sigmoid", x, dtype=str(dtype_of(x))):
        np.testing.assert_allclose(found, expected, rtol=4 * float(facts.eps), atol=2 * float(facts.smallest_subnormal))


def test_of_several_nans_the_lowest_index(tmp_path: Path) -> None:
    """Whatever the order in which a window is gone through."""
    fields = "{kernel = [2, 2], strides = [1, 1], dilations = [1, 1], before = [0, 0], after = [0, 0], column_major = true}"
    module = parse_module(f"""module {{
        graph.func @main(%x: f32[1, 1, 2, 2]) {{input_names = ["x"], output_names = ["y"]}} {{
          %0 = graph.max_pool_indices %x {fields} : i64[1, 1, 1, 1]
          graph.return %0
        }}
    }}""")
    x = np.array([[[[1, np.nan], [np.nan, np.inf]]]], np.float32)
    (main,) = module.functions(GraphFunc)
    assert run_graph(main, [x])[0].item() == 1
    compile_module(module, output=tmp_path / "m.hrm")
    assert load(tmp_path / "m.hrm").run({"x": x})["y"].item() == 1
