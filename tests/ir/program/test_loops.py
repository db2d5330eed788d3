"""program.loop in the interpreter and the verifier: symbols, states, arenas of its own."""

from typing import Any

import numpy as np
import pytest

from headrace.ir.errors import ExecutionError, VerifyError
from headrace.ir.program import interpret
from headrace.ir.program.interpret import run_program
from headrace.ir.program.ops.program import ProgramFunc
from headrace.ir.text import parse_module
from headrace.ir.verify import verify

Array = np.ndarray[Any, Any]

# x doubled, appended to itself in each turn.
GROWING = """
program.func @main(%x: buffer<f32[n]>, %y: buffer<f32[k]>) {outputs = 1, facts = ["k in [0, inf]"]} {
  %s = program.state {type = buffer<f32[n], arena>} : buffer<f32[n], arena>
  program.copy %x, %s
  program.loop {symbols = ["t", "k"], starts = [0, n], limit = 3, condition = 9 - k} {
    %old = program.view %s {type = buffer<f32[k], arena>, offset = 0} : buffer<f32[k], arena>
    %a = program.alloc {type = buffer<f32[k], arena>, offset = 0} : buffer<f32[k], arena>
    program.launch buffers(%old, %old, %a) {kernel = @add, scalars = [k]}
    %new = program.view %s {type = buffer<f32[k], arena>, offset = k*4} : buffer<f32[k], arena>
    program.copy %a, %new
    program.next {values = [t + 1, 2*k]}
  }
  %all = program.view %s {type = buffer<f32[k], arena>, offset = 0} : buffer<f32[k], arena>
  program.copy %all, %y
}
kernel.func @add(%a: buffer<f32[n]>, %b: buffer<f32[n]>, %y: buffer<f32[n]>) {outputs = 1, scalars = ["n"]} {
  kernel.map (i: task n) reads(%a[i], %b[i]) writes(%y[i]) {
  ^(%0: f32, %1: f32):
    %2 = kernel.add %0, %1 : f32
    kernel.yield %2
  }
}
"""


def run(text: str, x: Array) -> Array:
    module = parse_module(text)
    verify(module)
    function = module.function("main")
    assert isinstance(function, ProgramFunc)
    (y,) = run_program(function, [x])
    return y


@pytest.mark.parametrize(("count", "turns"), [(1, 3), (3, 2), (9, 1), (10, 0)])
def test_a_state_grows_and_keeps_what_it_holds(count: int, turns: int) -> None:
    expected = x = np.arange(1, count + 1, dtype=np.float32)
    for _ in range(turns):
        expected = np.concatenate([expected, 2 * expected])
    np.testing.assert_array_equal(run(GROWING, x), expected)


def test_what_a_turn_left_in_its_arena_is_gone() -> None:
    late = GROWING.replace(
        "program.launch buffers(%old, %old, %a) {kernel = @add, scalars = [k]}", "program.copy %a, %old"
    )
    with pytest.raises(ExecutionError, match="reads element 0, which nothing has written"):
        run(late, np.ones(1, np.float32))


def test_too_many_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interpret, "MOST_TURNS", 20)
    endless = GROWING.replace("2*k]", "k]").replace("limit = 3", "limit = 1000000")
    with pytest.raises(ExecutionError, match="takes more than 20 turns"):
        run(endless, np.ones(0, np.float32))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[t + 1, 2*k]", "[t + 1]", "has 2 symbols, 2 starts and 1 next values"),
        ("starts = [0, n]", "starts = [0]", "has 2 symbols, 1 starts and 2 next values"),
        ("starts = [0, n]", "starts = [0, t]", "t mentions t, expected a symbol"),
        ("limit = 3", "limit = t", "t mentions t, expected a symbol"),
        ("program.next {values = [t + 1, 2*k]}", "", "a block has no terminator"),
    ],
)
def test_what_does_not_fit(old: str, new: str, message: str) -> None:
    with pytest.raises(VerifyError, match=message):
        verify(parse_module(GROWING.replace(old, new)))


def test_a_symbol_that_the_body_reads_is_unknown_below() -> None:
    reading = GROWING.replace(
        "program.copy %a, %new", 'program.copy %a, %new\n program.read %i {element = 0, symbol = "r", lower = 0}'
    )
    reading = reading.replace("%x: buffer<f32[n]>,", "%x: buffer<f32[n]>, %i: buffer<i64[1]>,")
    verify(parse_module(reading.replace("offset = k*4", "offset = k*4")))
    below = reading.replace(
        "program.copy %all, %y", 'program.copy %all, %y\n program.check {where = [r], message = "m"}'
    )
    with pytest.raises(VerifyError, match="r mentions r, expected a symbol"):
        verify(parse_module(below))
