"""The program interpreter: memory that is planned, shared, viewed and read."""

from typing import Any

import numpy as np
import pytest

from headrace.ir.errors import ExecutionError, KernelFault
from headrace.ir.module import Module
from headrace.ir.program.interpret import run_program
from headrace.ir.program.ops.program import ProgramFunc
from headrace.ir.text import parse_module
from headrace.ir.verify import verify

Array = np.ndarray[Any, Any]

KERNELS = """
kernel.func @add(%a: buffer<f32[n]>, %b: buffer<f32[n]>, %y: buffer<f32[n]>) {outputs = 1, scalars = ["n"]} {
  kernel.map (i: task n) reads(%a[i], %b[i]) writes(%y[i]) {
  ^(%0: f32, %1: f32):
    %2 = kernel.add %0, %1 : f32
    kernel.yield %2
  }
}
"""

CHAIN = """
program.func @main(%x: buffer<f32[n]>, %y: buffer<f32[n]>) {outputs = 1} {
  %a = program.alloc {type = buffer<f32[n], arena>, offset = 0} : buffer<f32[n], arena>
  program.launch buffers(%x, %x, %a) {kernel = @add, scalars = [n]}
  %b = program.alloc {type = buffer<f32[n], arena>, offset = 64} : buffer<f32[n], arena>
  program.launch buffers(%a, %x, %b) {kernel = @add, scalars = [n]}
  %c = program.alloc {type = buffer<f32[n], arena>, offset = 0} : buffer<f32[n], arena>
  program.launch buffers(%b, %b, %c) {kernel = @add, scalars = [n]}
  program.launch buffers(%b, %c, %y) {kernel = @add, scalars = [n]}
}
"""


def run(text: str, *inputs: Array, **options: Any) -> list[Array]:
    module = parse_module(text + KERNELS)
    verify(module)
    return run_program(main(module), inputs, **options)


def main(module: Module) -> ProgramFunc:
    function = module.function("main")
    assert isinstance(function, ProgramFunc)
    return function


def numbers(count: int) -> Array:
    return np.arange(1, count + 1, dtype=np.float32)


@pytest.mark.parametrize("wide", [False, True])
def test_buffers_that_share_memory_one_after_the_other(wide: bool) -> None:
    (y,) = run(CHAIN, numbers(16), wide=wide)
    assert y.dtype == (np.float64 if wide else np.float32)
    assert np.array_equal(y, 9 * numbers(16))


def test_without_a_plan_each_buffer_has_its_own_memory() -> None:
    text = CHAIN.replace(", offset = 0}", "}").replace(", offset = 64}", "}")
    assert np.array_equal(run(text, numbers(5))[0], 9 * numbers(5))


def test_buffers_that_overlap_while_both_are_alive() -> None:
    lost = r"@add: kernel.map.*: reads %a\[0\], which another buffer in the same memory has overwritten"
    with pytest.raises(KernelFault, match=lost):
        run(CHAIN.replace("offset = 64", "offset = 0"), numbers(16))


def test_buffers_that_overlap_for_some_sizes_only() -> None:
    with pytest.raises(KernelFault, match=r"reads %a\[16\], which another buffer in the same memory has"):
        run(CHAIN.replace("%c = program.alloc {type = buffer<f32[n], arena>, offset = 0}",
                          "%c = program.alloc {type = buffer<f32[n], arena>, offset = 128}"), numbers(33))  # fmt: skip
    assert np.array_equal(run(CHAIN, numbers(15))[0], 9 * numbers(15))


def test_an_offset_that_is_not_aligned() -> None:
    with pytest.raises(ExecutionError, match=r"@main: program.alloc: offset is 60, expected a multiple of 64"):
        run(CHAIN.replace("offset = 64", "offset = 60"), numbers(3))


def test_views_are_the_same_memory() -> None:
    text = """
    program.func @main(%x: buffer<f32[2, n]>, %y: buffer<f32[2, n]>) {outputs = 1} {
      %top = program.view %x {type = buffer<f32[n]>, offset = 0} : buffer<f32[n]>
      %low = program.view %x {type = buffer<f32[n]>, offset = 4*n} : buffer<f32[n]>
      %first = program.view %y {type = buffer<f32[n]>, offset = 0} : buffer<f32[n]>
      %second = program.view %y {type = buffer<f32[n]>, offset = 4*n} : buffer<f32[n]>
      program.launch buffers(%low, %low, %first) {kernel = @add, scalars = [n]}
      program.launch buffers(%top, %top, %second) {kernel = @add, scalars = [n]}
    }
    """
    x = numbers(6).reshape(2, 3)
    for wide in (False, True):
        assert np.array_equal(run(text, x, wide=wide)[0], 2 * x[::-1])
    with pytest.raises(ExecutionError, match=r"program.view: bytes 24 and on of \[2, 3\] cannot hold \[3\]"):
        run(text.replace("offset = 4*n}", "offset = 8*n}", 1), x)


def test_a_result_that_is_not_written_completely() -> None:
    text = """
    program.func @main(%x: buffer<f32[n]>, %y: buffer<f32[2*n]>) {outputs = 1} {
      %half = program.view %y {type = buffer<f32[n]>, offset = 0} : buffer<f32[n]>
      program.launch buffers(%x, %x, %half) {kernel = @add, scalars = [n]}
    }
    """
    with pytest.raises(ExecutionError, match=r"@main: 3 of 6 elements of y were not written"):
        run(text, numbers(3))


def test_constants_of_the_store_and_those_that_are_computed() -> None:
    text = """
    program.func @main(%x: buffer<f32[2]>, %y: buffer<f32[2]>) {outputs = 1} {
      %a = program.constant {value = @twice, type = buffer<f32[2]>} : buffer<f32[2]>
      program.launch buffers(%x, %a, %y) {kernel = @add, scalars = [2]}
    }
    graph.func @twice() {
      %0 = graph.constant {value = dense<[1.0, 2.0]> : f32[2]} : f32[2]
      %1 = graph.add %0, %0 : f32[2]
      graph.return %1
    }
    """
    assert run(text, numbers(2))[0].tolist() == [3, 6]
    stored = text.replace("value = @twice", "value = dense<[10.0, 20.0]> : f32[2]")
    assert run(stored, numbers(2))[0].tolist() == [11, 22]


def test_a_number_that_is_data_becomes_a_symbol() -> None:
    text = """
    program.func @main(%x: buffer<f32[4]>, %n: buffer<i64[1]>, %y: buffer<f32[m]>)
        {outputs = 1, facts = ["m in [0, 4]"]} {
      program.read %n {element = 0, symbol = "m", lower = 1, upper = 4}
      program.check {where = [3 - m], message = "four is one too many"}
      %part = program.view %x {type = buffer<f32[m]>, offset = 0} : buffer<f32[m]>
      program.launch buffers(%part, %part, %y) {kernel = @add, scalars = [m]}
    }
    """
    module = parse_module(text + KERNELS)
    function = main(module)
    assert run_program(function, [numbers(4), np.array([3])])[0].tolist() == [2, 4, 6]
    with pytest.raises(ExecutionError, match=r"@main: program.read: m is 9, expected 1 to 4"):
        run_program(function, [numbers(4), np.array([9])])
    with pytest.raises(ExecutionError, match=r"@main: program.check: four is one too many"):
        run_program(function, [numbers(4), np.array([4])])


def test_copies() -> None:
    text = """
    program.func @main(%x: buffer<f32[n]>, %y: buffer<f32[n]>) {outputs = 1} {
      %a = program.alloc {type = buffer<f32[n], arena>} : buffer<f32[n], arena>
      program.copy %x, %a
      program.copy %a, %y
    }
    """
    assert np.array_equal(run(text, numbers(3))[0], numbers(3))
    with pytest.raises(ExecutionError, match=r"program.copy: reads element 0, which nothing has written"):
        run(text.replace("program.copy %x, %a", ""), numbers(3))
