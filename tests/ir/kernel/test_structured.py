"""kernel.map and kernel.reduce in the interpreter."""

import time
from typing import Any

import numpy as np
import pytest

from headrace.ir.errors import ExecutionError, KernelFault, VerifyError
from headrace.ir.kernel.interpret import KernelRun, run_kernel
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.text import parse_module
from headrace.ir.verify import verify

Array = np.ndarray[Any, Any]


def run(text: str, *inputs: Array, **options: Any) -> KernelRun:
    module = parse_module(text)
    verify(module)
    function = next(module.functions(KernelFunc))
    return run_kernel(function, inputs, **options)


def floats(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


SUM = """
      init { %z = kernel.constant {value = 0.0, type = f32} : f32   kernel.yield %z }
      step { ^(%a: f32, %w: f32, %acc: f32):  %s = kernel.muladd %a, %w, %acc : f32   kernel.yield %s }
      combine { ^(%p: f32, %q: f32):  %s = kernel.add %p, %q : f32   kernel.yield %s }
      finish { ^(%acc: f32, %b: f32):  %s = kernel.add %acc, %b : f32   kernel.yield %s }
"""

CONV = f"""
kernel.func @conv(%x: buffer<f32[n, 32, 20, 20]>, %w: buffer<f32[32, 32, 3, 3]>, %b: buffer<f32[32]>,
                  %y: buffer<f32[n, 32, 20, 20]>) {{outputs = 1, scalars = ["n"]}} {{
  kernel.reduce (i: parallel n, o: parallel 32, h: parallel 20, v: parallel 20,
                 c: reduction 32, r: reduction 3, s: reduction 3)
    reads(%x[i, c, h + r - 1, v + s - 1] else 0.0, %w[o, c, r, s]) late(%b[o]) writes(%y[i, o, h, v]) {SUM}
}}
"""


def convolved(x: Array, w: Array, b: Array) -> Array:
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    return np.asarray(np.einsum("ichvrs,ocrs->iohv", windows, w.astype(np.float64)) + b[:, None, None])


def test_convolution_with_padding() -> None:
    x, w, b = floats(2, 32, 20, 20), floats(32, 32, 3, 3), floats(32)
    result = run(CONV, x, w, b)
    assert result.written[0].all()
    assert result.outputs[0].dtype == np.float32
    np.testing.assert_allclose(result.outputs[0], convolved(x, w, b), rtol=1e-4, atol=1e-4)


def test_a_wide_run_computes_in_float64() -> None:
    x, w, b = floats(1, 32, 20, 20), floats(32, 32, 3, 3), floats(32)
    wide = run(CONV, x, w, b, wide=True).outputs[0]
    assert wide.dtype == np.float64
    np.testing.assert_allclose(wide, convolved(x, w, b), rtol=1e-12, atol=1e-12)


def test_a_convolution_takes_well_under_a_second() -> None:
    inputs = floats(1, 32, 20, 20), floats(32, 32, 3, 3), floats(32)
    seconds = []
    for _ in range(3):
        start = time.process_time()
        run(CONV, *inputs)
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.5


def test_sums_follow_the_order_of_the_axes_in_their_own_type() -> None:
    text = """
    kernel.func @sum(%x: buffer<f16[2, 3]>, %y: buffer<f16[]>) {outputs = 1} {
      kernel.reduce (i: reduction 2, j: reduction 3) reads(%x[i, j]) writes(%y[])
        init { %z = kernel.constant {value = 0.0, type = f16} : f16   kernel.yield %z }
        step { ^(%a: f16, %acc: f16):  %s = kernel.add %acc, %a : f16   kernel.yield %s }
        combine { ^(%p: f16, %q: f16):  %s = kernel.add %p, %q : f16   kernel.yield %s }
        finish { ^(%acc: f16):  kernel.yield %acc }
    }
    """
    x = np.array([[2048, 1, 1], [-2048, 1, 0.5]], np.float16)  # 2048 + 1 is 2048 in f16
    assert run(text, x).outputs[0] == np.float16(1.5)
    swapped = text.replace("i: reduction 2, j: reduction 3", "j: reduction 3, i: reduction 2")
    assert run(swapped, x).outputs[0] == np.float16(3.5)
    assert run(text, x, wide=True).outputs[0] == 3.5


def test_where_masks_points_and_steps() -> None:
    text = f"""
    kernel.func @dense(%x: buffer<f32[m, k]>, %w: buffer<f32[k, 5]>, %b: buffer<f32[5]>, %y: buffer<f32[m, 5]>)
        {{outputs = 1, scalars = ["k", "m"]}} {{
      kernel.reduce (io: parallel (m + 3) floordiv 4, ii: unroll 4, j: vector 5, ko: reduction (k + 1) floordiv 2,
                     ki: reduction 2)
        reads(%x[io*4 + ii, ko*2 + ki], %w[ko*2 + ki, j]) late(%b[j]) writes(%y[io*4 + ii, j])
        {{where = [m - 1 - io*4 - ii, k - 1 - ko*2 - ki]}} {SUM}
    }}
    """
    x, w, b = floats(6, 7), floats(7, 5), floats(5)
    np.testing.assert_allclose(run(text, x, w, b).outputs[0], x @ w + b, rtol=1e-5, atol=1e-5)
    lost = text.replace("where = [m - 1 - io*4 - ii, ", "where = [")
    with pytest.raises(KernelFault, match=r"kernel.reduce.*: index 0 of %x is 6, expected 0 to 5; at .*io = 1, ii = 2"):
        run(lost, x, w, b)


SCAN = """
kernel.func @scan(%x: buffer<f32[3, n]>, %y: buffer<f32[3, n]>) {outputs = 1, scalars = ["n"]} {
  kernel.map (i: parallel 3, t: sequential n) reads(%x[i, t], %y[i, t - 1] else 0.0) writes(%y[i, t]) {
  ^(%a: f32, %before: f32):
    %s = kernel.add %a, %before : f32
    kernel.yield %s
  }
}
"""


def test_a_sequential_axis_reads_what_it_wrote() -> None:
    x = floats(3, 6)
    np.testing.assert_allclose(run(SCAN, x).outputs[0], np.cumsum(x, axis=1), rtol=1e-5)


def test_a_parallel_axis_must_not_read_what_its_neighbour_writes() -> None:
    with pytest.raises(KernelFault, match=r"race|nothing has written"):
        run(SCAN.replace("t: sequential", "t: parallel"), floats(3, 6))


def test_two_points_that_write_one_element() -> None:
    text = """
    kernel.func @f(%x: buffer<f32[6]>, %y: buffer<f32[3]>) {outputs = 1} {
      kernel.map (i: parallel 6) reads(%x[i]) writes(%y[i floordiv 2]) {
      ^(%a: f32):
        kernel.yield %a
      }
    }
    """
    with pytest.raises(KernelFault, match=r"race: writes %y\[0\], which another lane writes.*at i = 0"):
        run(text, floats(6))


ARGMAX = """
kernel.func @argmax(%x: buffer<f32[3, 8]>, %y: buffer<i64[3]>) {outputs = 1} {
  kernel.reduce (i: parallel 3, j: reduction 8) reads(%x[i, j]) writes(%y[i])
    init {
      %low = kernel.constant {value = -1000.0, type = f32} : f32
      %none = kernel.constant {value = 0, type = i64} : i64
      kernel.yield %low, %none
    }
    step {
    ^(%a: f32, %best: f32, %at: i64):
      %more = kernel.compare %a, %best {predicate = gt} : bool
      %here = kernel.index {value = j} : i64
      %value = kernel.select %more, %a, %best : f32
      %place = kernel.select %more, %here, %at : i64
      kernel.yield %value, %place
    }
    combine { ^(%p: f32, %pi: i64, %q: f32, %qi: i64):  kernel.yield %p, %pi }
    finish { ^(%best: f32, %at: i64):  kernel.yield %at }
}
"""


def test_several_accumulators() -> None:
    x = floats(3, 8)
    assert run(ARGMAX, x).outputs[0].tolist() == x.argmax(axis=1).tolist()


def test_a_reduction_in_two_parts() -> None:
    x, w, b = floats(1, 32, 20, 20), floats(32, 32, 3, 3), floats(32)
    np.testing.assert_allclose(run(CONV, x, w, b, split=True).outputs[0], convolved(x, w, b), rtol=1e-4, atol=1e-4)
    wrong = CONV.replace("%s = kernel.add %p, %q", "%s = kernel.sub %p, %q")
    assert np.array_equal(run(wrong, x, w, b).outputs[0], run(CONV, x, w, b).outputs[0])
    assert not np.allclose(run(wrong, x, w, b, split=True).outputs[0], convolved(x, w, b))


def test_no_elements_no_steps() -> None:
    x, w, b = floats(0, 32, 20, 20), floats(32, 32, 3, 3), floats(32)
    assert run(CONV, x, w, b).outputs[0].shape == (0, 32, 20, 20)


def test_only_wanted_elements() -> None:
    x, w, b = floats(2, 32, 20, 20), floats(32, 32, 3, 3), floats(32)
    wanted = np.zeros((2, 32, 20, 20), np.bool_)
    wanted[1, 3:5, 0, 19] = True
    result = run(CONV, x, w, b, wanted=[wanted])
    assert np.array_equal(result.written[0], wanted)
    assert np.array_equal(result.outputs[0][wanted], run(CONV, x, w, b).outputs[0][wanted])


def test_only_some_points_by_number() -> None:
    result = run(ARGMAX, floats(3, 8), tasks=[0, 2])
    assert result.written[0].tolist() == [True, False, True]


def test_inputs_must_fit() -> None:
    w, b = floats(32, 32, 3, 3), floats(32)
    with pytest.raises(
        ExecutionError, match=r"@conv: parameter 0 has shape \[1, 32, 20, 21\], expected buffer<f32\[n, 32"
    ):
        run(CONV, floats(1, 32, 20, 21), w, b)
    with pytest.raises(ExecutionError, match=r"input 0 has elements float64, expected f32"):
        run(CONV, floats(1, 32, 20, 20).astype(np.float64), w, b)
    with pytest.raises(ExecutionError, match=r"2 inputs, expected 3"):
        run(CONV, w, b)


def test_points_with_accumulators_of_their_own_are_joined_by_halves() -> None:
    text = """
    kernel.func @sum(%x: buffer<f16[n]>, %y: buffer<f16[]>) {outputs = 1, scalars = ["n"]} {
      kernel.reduce (k: reduction (n + 3) floordiv 4, u: reduction_split 2, l: reduction_vector 2)
          reads(%x[k*4 + u*2 + l]) writes(%y[]) {where = [n - 1 - k*4 - u*2 - l]}
        init { %z = kernel.constant {value = 0.0, type = f16} : f16   kernel.yield %z }
        step { ^(%a: f16, %acc: f16):  %s = kernel.add %acc, %a : f16   kernel.yield %s }
        combine { ^(%p: f16, %q: f16):  %s = kernel.add %p, %q : f16   kernel.yield %s }
        finish { ^(%acc: f16):  kernel.yield %acc }
    }
    """
    x = np.array([2048, 1, -2048, 1, 1, 0.5], np.float16)  # 2048 + 1 is 2048 in f16
    assert run(text, x).outputs[0] == np.float16(2.5)  # ((2048 + 1) - 2048) + ((1 + 0.5) + 1)
    with pytest.raises(VerifyError, match="axis l is reduction_vector with extent 3, expected a power of two"):
        run(text.replace("l: reduction_vector 2", "l: reduction_vector 3"), x)
    with pytest.raises(VerifyError, match="expected reduction_split, then reduction_vector, one each, to be last"):
        run(text.replace("k: reduction (n", "k: reduction_vector (n"), x)
