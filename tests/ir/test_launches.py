"""The semantic check's memory of launches: the same results as running them, and only the changed ones run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from headrace.ir.kernel.interpret import execute
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.program.interpret import run_program
from headrace.ir.program.ops.program import ProgramFunc
from headrace.ir.semantic import launches as launches_module
from headrace.ir.semantic.launches import Launches
from headrace.ir.text import parse_module, print_op

TEXT = """
program.func @main(%x: buffer<f32[n]>, %y: buffer<f32[n]>) {outputs = 1} {
  %a = program.alloc {type = buffer<f32[n], arena>, offset = 0} : buffer<f32[n], arena>
  program.launch buffers(%x, %a) {kernel = @double, scalars = [n]}
  program.launch buffers(%a, %a) {kernel = @double, scalars = [n]}
  program.launch buffers(%a, %y) {kernel = @LAST, scalars = [n]}
}
kernel.func @double(%a: buffer<f32[n]>, %y: buffer<f32[n]>) {outputs = 1, scalars = ["n"], in_place = [0, 1]} {
  kernel.map (i: parallel n) reads(%a[i]) writes(%y[i]) {
  ^(%0: f32):
    %1 = kernel.add %0, %0 : f32
    kernel.yield %1
  }
}
kernel.func @square(%a: buffer<f32[n]>, %y: buffer<f32[n]>) {outputs = 1, scalars = ["n"]} {
  kernel.map (i: parallel n) reads(%a[i]) writes(%y[i]) {
  ^(%0: f32):
    %1 = kernel.mul %0, %0 : f32
    kernel.yield %1
  }
}
"""
X = np.arange(5, dtype=np.float32)


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the kernels that ran."""
    names: list[str] = []

    def counted(function: KernelFunc, *arguments: Any, **options: Any) -> None:
        names.append(function.function_name)
        execute(function, *arguments, **options)

    monkeypatch.setattr(launches_module, "execute", counted)
    return names


def run(known: Launches, last: str, x: np.ndarray[Any, Any], *, wide: bool = False) -> list[float]:
    module = parse_module(TEXT.replace("LAST", last))
    texts: Mapping[str, str] = {f.function_name: print_op(f) for f in module.functions(KernelFunc)}
    main = module.function("main")
    assert isinstance(main, ProgramFunc)
    (y,) = run_program(main, [x], wide=wide, execute=known.executor(texts))
    (expected,) = run_program(main, [x], wide=wide)
    np.testing.assert_array_equal(y, expected)
    result: list[float] = y.tolist()
    return result


def test_only_what_changed_runs_again(ran: list[str]) -> None:
    known = Launches()
    assert run(known, "square", X) == [0, 16, 64, 144, 256]
    assert ran == ["double", "double", "square"]
    assert run(known, "double", X) == [0, 8, 16, 24, 32]
    assert ran[3:] == ["double"], "the last one, on what two others left"
    run(known, "double", X, wide=True)
    run(known, "double", 2 * X)
    assert ran[4:] == ["double"] * 6


def test_what_nothing_asks_for_is_forgotten(ran: list[str]) -> None:
    known = Launches()
    run(known, "square", X)
    known.forget()
    run(known, "double", X)
    known.forget()
    del ran[:]
    run(known, "double", X)
    assert ran == []
    run(known, "square", X)
    assert ran == ["square"]
