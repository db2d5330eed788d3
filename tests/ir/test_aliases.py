"""One buffer for two parameters of a launch, and parts of one buffer: what is allowed, and what it then means."""

from __future__ import annotations

import numpy as np
import pytest

from headrace.ir.errors import ExecutionError, VerifyError
from headrace.ir.kernel.interpret import run_kernel
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.program.interpret import run_program
from headrace.ir.program.ops.program import ProgramFunc
from headrace.ir.text import parse_module
from headrace.ir.verify import verify

PROGRAM = """
program.func @main(%x: buffer<f32[n, 4]>, %y: buffer<f32[n, 4]>) {outputs = 1} {
  %a = program.alloc {type = buffer<f32[n, 4], arena>, offset = 0} : buffer<f32[n, 4], arena>
  program.launch buffers(%x, %x, %a) {kernel = @add, scalars = [n]}
  SECOND
  program.launch buffers(%a, %a, %y) {kernel = @add, scalars = [n]}
}
"""
SAME = "program.launch buffers(%x, %a, %a) {kernel = @add, scalars = [n]}"
VIEWED = """
  %b = program.view %a {type = buffer<f32[n*4], arena>, offset = 0} : buffer<f32[n*4], arena>
  %c = program.view %b {type = buffer<f32[n, 4], arena>, offset = 0} : buffer<f32[n, 4], arena>
  program.launch buffers(%x, %c, %a) {kernel = @add, scalars = [n]}
"""
KERNEL = """
kernel.func @add(%a: buffer<f32[n, 4]>, %b: buffer<f32[n, 4]>, %y: buffer<f32[n, 4]>)
    {outputs = 1, scalars = ["n"]IN_PLACE} {
  kernel.map (i: parallel n, j: parallel 4) reads(%a[i, j], %b[i, READ]) writes(%y[i, j]) {
  ^(%0: f32, %1: f32):
    %2 = kernel.add %0, %1 : f32
    kernel.yield %2
  }
}
"""


def module(second: str, in_place: str, read: str = "j") -> ProgramFunc:
    found = parse_module(PROGRAM.replace("SECOND", second) + KERNEL.replace("IN_PLACE", in_place).replace("READ", read))
    verify(found)
    main = found.function("main")
    assert isinstance(main, ProgramFunc)
    return main


@pytest.mark.parametrize("second", [SAME, VIEWED])
def test_a_result_in_an_operands_place(second: str) -> None:
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    (y,) = run_program(module(second, ", in_place = [1, 2]"), [x])
    np.testing.assert_array_equal(y, 6 * x)


@pytest.mark.parametrize("second", [SAME, VIEWED])
def test_a_kernel_must_allow_it(second: str) -> None:
    for allowed in ("", ", in_place = [0, 2]"):
        with pytest.raises(VerifyError, match="buffers 1 and 2 are the same, and @add does not allow that"):
            module(second, allowed)


def test_a_kernel_may_not_allow_what_it_reads_elsewhere() -> None:
    with pytest.raises(VerifyError, match="reads other elements of parameter 1 than it writes in its place"):
        module(SAME, ", in_place = [1, 2]", "3 - j")


def test_pairs_are_of_an_operand_and_a_result() -> None:
    for wrong in ("[2, 1]", "[0]", "[0, 1]", "[1, 3]"):
        with pytest.raises(VerifyError, match="expected operands, each with a result behind it"):
            module(SAME, f", in_place = {wrong}")


def test_a_kernel_alone_runs_in_place() -> None:
    """What is computed twice is wrong there: no schedule may do that to a kernel that runs in place."""
    step = "kernel.map (I: parallel n) reads(%x[I]) writes(%y[I]) {\n^(%0: f32):\n"
    step += "%1 = kernel.add %0, %0 : f32\nkernel.yield %1\n}"
    text = (
        'kernel.func @k(%x: buffer<f32[n]>, %y: buffer<f32[n]>) {outputs = 1, scalars = ["n"], in_place = [0, 1]} {'
        + step.replace("I", "i")
        + step.replace("I", "j").replace("%0", "%2").replace("%1", "%3")
        + "}"
    )
    for kernel, times in ((text, 4), (text.replace(", in_place = [0, 1]", ""), 2)):
        found = parse_module(kernel)
        verify(found)
        function = found.function("k")
        assert isinstance(function, KernelFunc)
        given = np.ones(5, np.float32)
        run = run_kernel(function, [given])
        np.testing.assert_array_equal(run.outputs[0], np.full(5, times))
        assert run.written[0].all() and (given == 1).all()


PARTS = """
program.func @main(%x: buffer<f32[n, 4]>, %y: buffer<f32[n, 8]>) {outputs = 1} {
  %a = program.view %y {type = buffer<f32[n, 4] strides [8, 1]>, offset = 0} : buffer<f32[n, 4] strides [8, 1]>
  program.launch buffers(%x, %a) {kernel = @spread, scalars = [n]}
  %b = program.view %y {type = buffer<f32[n, 4] strides [8, 1]>, offset = 16} : buffer<f32[n, 4] strides [8, 1]>
  program.launch buffers(%x, %b) {kernel = @spread, scalars = [n]}
}
kernel.func @spread(%x: buffer<f32[n, 4]>, %y: buffer<f32[n, 4] strides [8, 1]>) {outputs = 1, scalars = ["n"]} {
  kernel.map (i: parallel n, j: parallel 4) reads(%x[i, j]) writes(%y[i, j]) {
  ^(%0: f32):
    kernel.yield %0
  }
}
"""


def _parts(text: str) -> ProgramFunc:
    found = parse_module(text)
    verify(found)
    main = found.function("main")
    assert isinstance(main, ProgramFunc)
    return main


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_parts_of_a_buffer(rows: int) -> None:
    x = np.arange(rows * 4, dtype=np.float32).reshape(rows, 4)
    (y,) = run_program(_parts(PARTS), [x])
    np.testing.assert_array_equal(y, np.concatenate([x, x], 1))


def test_a_part_that_hangs_over() -> None:
    with pytest.raises(ExecutionError, match="bytes 20 and on"):
        run_program(_parts(PARTS.replace("offset = 16", "offset = 20")), [np.zeros((3, 4), np.float32)])


def test_a_part_that_nothing_writes() -> None:
    with pytest.raises(ExecutionError, match="8 of 16 elements of y were not written"):
        run_program(_parts(PARTS.replace("offset = 16", "offset = 0")), [np.zeros((2, 4), np.float32)])
