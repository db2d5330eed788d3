"""Any function of a module by name: the three dialects give the same numbers."""

import numpy as np
import pytest

from headrace.ir.errors import ExecutionError, IRError
from headrace.ir.interpret import interpret
from headrace.ir.text import parse_module

TEXT = """
graph.func @graph(%x: f32[n]) {
  %y = graph.relu %x : f32[n]
  graph.return %y
}
program.func @program(%x: buffer<f32[n]>, %y: buffer<f32[n]>) {outputs = 1} {
  program.launch buffers(%x, %y) {kernel = @kernel, scalars = [n]}
}
kernel.func @kernel(%x: buffer<f32[n]>, %y: buffer<f32[n]>) {outputs = 1, scalars = ["n"]} {
  kernel.map (i: task n) reads(%x[i]) writes(%y[i]) {
  ^(%a: f32):
    %z = kernel.constant {value = 0.0, type = f32} : f32
    %m = kernel.max %a, %z : f32
    kernel.yield %m
  }
}
"""


@pytest.mark.parametrize("name", ["graph", "program", "kernel"])
def test_every_dialect(name: str) -> None:
    x = np.array([-1, 2, np.nan], np.float32)
    (y,) = interpret(parse_module(TEXT), name, [x])
    assert np.array_equal(y, np.array([0, 2, np.nan], np.float32), equal_nan=True)


def test_an_unknown_name() -> None:
    with pytest.raises(IRError, match=r"no function @kernal in the module; did you mean 'kernel'"):
        interpret(parse_module(TEXT), "kernal", [])


def test_a_kernel_that_leaves_elements_out() -> None:
    module = parse_module(TEXT.replace("(i: task n)", "(i: task n - 1)"))
    with pytest.raises(ExecutionError, match=r"@kernel: 1 of 3 elements of output 0 were not written"):
        interpret(module, "kernel", [np.zeros(3, np.float32)])
