"""Loops, conditions, task ranges, and formulas wherever they stand."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.codegen.llvm import emit_module
from headrace.ir.dims import Dim, dim_max, dim_min
from headrace.ir.errors import CodegenError
from headrace.ir.kernel.interpret import run_kernel
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.text import parse_module
from headrace.ir.verify import verify
from headrace.targets import find_target

Array = np.ndarray[Any, Any]


def functions(text: str) -> list[KernelFunc]:
    module = parse_module(text)
    verify(module)
    return list(module.functions(KernelFunc))


TASKS = """
kernel.func @one(%y: buffer<i64[a]>) {outputs = 1, scalars = ["a"]} {
  kernel.parallel (i: task a) {
    %v = kernel.index {value = i*7 + 1} : i64
    kernel.store %v, %y[i]
  }
}
kernel.func @two(%y: buffer<i64[a, b]>) {outputs = 1, scalars = ["a", "b"]} {
  kernel.parallel (i: task a, j: task b) {
    %v = kernel.index {value = i*1000 + j} : i64
    kernel.store %v, %y[i, j]
  }
}
kernel.func @four(%y: buffer<i64[a, b, 2, c]>) {outputs = 1, scalars = ["a", "b", "c"]} {
  kernel.parallel (i: task a, j: task b, k: task 2, l: task c) {
    %v = kernel.index {value = i*1000 + j*100 + k*10 + l} : i64
    kernel.store %v, %y[i, j, k, l]
  }
}
kernel.func @none(%y: buffer<i64[a]>) {outputs = 1, scalars = ["a"]} {
  kernel.parallel (i: parallel a) {
    %v = kernel.index {value = i*7 + 1} : i64
    kernel.store %v, %y[i]
  }
}
"""


@pytest.mark.parametrize(("name", "sizes"), [("one", (11,)), ("two", (3, 5)), ("two", (4, 1)), ("four", (2, 3, 4))])
def test_any_split_of_the_tasks_does_all_of_them(toolchain: Any, name: str, sizes: tuple[int, ...]) -> None:
    compiled = toolchain.compile(functions(TASKS))
    symbols = dict(zip("abc", sizes, strict=False))
    (expected,) = run_kernel(compiled.functions[name], [], symbols).outputs
    count = expected.size
    for cuts in ([], [0, 1, 2, count - 1], range(count), [count // 2], [3, 4, 7]):
        edges = sorted({0, *(c for c in cuts if c < count), count})
        ranges = list(pairwise(edges))
        (found,) = compiled.run(name, [], symbols, ranges[::-1])
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("range_", [(0, 0), (4, 4), (5, 3)])
def test_an_empty_range_does_nothing(toolchain: Any, range_: tuple[int, int]) -> None:
    compiled = toolchain.compile(functions(TASKS))
    for name, symbols in (("one", {"a": 6}), ("two", {"a": 2, "b": 3}), ("none", {"a": 6})):
        (found,) = compiled.run(name, [], symbols, [range_])
        assert (found.view(np.uint8) == 0xA5).all()


def test_part_of_the_tasks_writes_their_elements_alone(toolchain: Any) -> None:
    compiled = toolchain.compile(functions(TASKS))
    (found,) = compiled.run("two", [], {"a": 3, "b": 5}, [(4, 11)])
    flat = found.ravel()
    assert flat[4:11].tolist() == [4, 1000, 1001, 1002, 1003, 1004, 2000]
    assert (np.delete(flat, range(4, 11)).view(np.uint8) == 0xA5).all()


def test_without_task_axes_a_kernel_is_task_0(toolchain: Any) -> None:
    compiled = toolchain.compile(functions(TASKS))
    (found,) = compiled.run("none", [], {"a": 3}, [(0, 1)])
    assert found.tolist() == [1, 8, 15]
    (found,) = compiled.run("none", [], {"a": 3}, [(1, 2)])
    assert (found.view(np.uint8) == 0xA5).all()


@pytest.mark.parametrize("sizes", [{"a": 0, "b": 3}, {"a": 3, "b": 0}, {"a": 0, "b": 0}])
def test_empty_extents(toolchain: Any, sizes: dict[str, int]) -> None:
    toolchain.compile(functions(TASKS)).run("two", [], sizes)


LOOPS = """
kernel.func @f(%x: buffer<i64[n, m]>, %y: buffer<i64[n]>, %z: buffer<i64[n, 6]>) {outputs = 2, scalars = ["n", "m"]} {
  kernel.parallel (i: task n) {
    %t = kernel.alloc {type = buffer<i64[1], register>} : buffer<i64[1], register>
    %0 = kernel.constant {value = 0, type = i64} : i64
    kernel.store %0, %t[0]
    kernel.for (j: sequential m) {
      kernel.for (k: sequential j) {
        kernel.for (l: sequential 1) {
          %v = kernel.load %x[i, max(k - l, j - k - 1)] : i64
          kernel.if {where = [-k + 2, j - 3]} {
            %o = kernel.load %t[0] : i64
            %w = kernel.index {value = i + j*n + l} : i64
            %p = kernel.muladd %v, %w, %o : i64
            kernel.store %p, %t[0]
          } else {
            %c = kernel.compare %v, %0 {predicate = gt} : bool
            kernel.if condition(%c) {where = [i]} {
              %o = kernel.load %t[0] : i64
              %p = kernel.add %v, %o : i64
              kernel.store %p, %t[0]
            } else { }
          }
        }
      }
    }
    %r = kernel.load %t[0] : i64
    kernel.store %r, %y[i]
    kernel.for (u: unroll 2) {
      kernel.for (w: unroll 3) {
        kernel.if {where = [u + w - 2]} {
          %q = kernel.index {value = u*10 + w} : i64
          kernel.store %q, %z[i, u*3 + w]
        } else {
          kernel.store %r, %z[i, u*3 + w]
        }
      }
    }
  }
}
"""


@pytest.mark.parametrize(("n", "m"), [(1, 0), (2, 1), (3, 7)])
def test_loops_and_conditions(toolchain: Any, n: int, m: int) -> None:
    (function,) = functions(LOOPS)
    x = np.random.default_rng(1).integers(-5, 6, (n, m))
    expected = run_kernel(function, [x]).outputs
    for found, wanted in zip(toolchain.compile([function]).run("f", [x]), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


# ---- formulas --------------------------------------------------------------------------------------------------

SYMBOLS = ("n", "m", "i", "j", "k")  # two scalars and three loops


@st.composite
def formulas(draw: st.DrawFn) -> Dim:
    """Sums, products and compounds of small formulas."""

    def of(depth: int) -> Dim:
        kind = draw(st.integers(0, 7 if depth else 1))
        if kind == 0:
            return Dim.constant(draw(st.integers(-9, 9)))
        if kind == 1:
            return Dim.symbol(draw(st.sampled_from(SYMBOLS)))
        left = of(depth - 1)
        match kind:
            case 2 | 3:
                return left + of(depth - 1)
            case 4:
                return left * of(depth - 1)
            case 5:
                return draw(st.sampled_from([dim_min, dim_max]))(left, of(depth - 1))
        # A divisor is positive: a constant, a scalar, or one more than an axis.
        symbol = Dim.symbol(draw(st.sampled_from(SYMBOLS)))
        by = draw(st.sampled_from([Dim.constant(draw(st.integers(1, 9))), symbol + 1, Dim.symbol("n")]))
        return left // by if kind == 6 else left % by

    return of(4)


def formula_kernel(number: int, formula: Dim) -> str:
    return f"""
    kernel.func @f{number}(%y: buffer<i64[2, n, 3]>) {{outputs = 1, facts = ["n in [1, inf]"], scalars = ["n", "m"]}} {{
      kernel.parallel (i: task 2, j: task n) {{
        kernel.for (k: sequential 3) {{
          %v = kernel.index {{value = {formula}}} : i64
          kernel.store %v, %y[i, j, k]
        }}
      }}
    }}
    """


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(found=st.lists(formulas(), min_size=25, max_size=25))
def test_formulas_at_every_level(toolchain: Any, found: list[Dim]) -> None:
    compiled = toolchain.compile(functions("".join(formula_kernel(i, f) for i, f in enumerate(found))))
    for number, formula in enumerate(found):
        for n, m in ((4, 5), (1, 0)):
            i, j, k = np.ogrid[:2, :n, :3]
            values = {"i": i, "j": j, "k": k, "n": n, "m": m}
            expected = np.broadcast_to(formula.evaluate(values), (2, n, 3))
            np.testing.assert_array_equal(compiled.run(f"f{number}", [], {"n": n, "m": m})[0], expected, str(formula))


def test_what_an_inner_loop_does_not_change_stands_outside() -> None:
    text = """
    kernel.func @f(%x: buffer<f32[n, m]>, %y: buffer<f32[n, m]>) {outputs = 1, scalars = ["n", "m"]} {
      kernel.parallel (i: task n) {
        kernel.for (j: sequential m) {
          %v = kernel.load %x[min(i + 1, n - 1), j] : f32
          kernel.store %v, %y[i, j]
        }
      }
    }
    """
    printed = emit_module(functions(text), find_target("x86-64-v3")[1].presets["x86-64-v3"])
    inner = next(b for b in printed.split("\nb") if "load float" in b)
    assert "mul" not in inner
    assert "smin" not in inner
    assert inner.count("getelementptr") == 2
    assert inner.count(" add ") == 1  # the loop variable


def test_a_symbol_that_is_not_there() -> None:
    text = """
    kernel.func @f(%y: buffer<i64[4]>) {outputs = 1} {
      %v = kernel.index {value = q} : i64
      kernel.store %v, %y[0]
    }
    """
    function = next(parse_module(text).functions(KernelFunc))
    with pytest.raises(CodegenError, match="kernel @f: symbol 'q' is neither one of its scalars nor an open loop"):
        emit_module([function], find_target("x86-64-v3")[1].presets["x86-64-v3"])


def test_same_kernels_same_text() -> None:
    facts = find_target("x86-64-v4")[1].presets["x86-64-v4"]
    assert emit_module(functions(LOOPS + TASKS), facts) == emit_module(functions(LOOPS + TASKS), facts)
