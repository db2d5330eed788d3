"""Functions that graph.if chooses from: what the verifier and the interpreter say of them."""

from __future__ import annotations

import numpy as np
import pytest

from headrace.ir.errors import VerifyError
from headrace.ir.interpret import interpret
from headrace.ir.module import Module
from headrace.ir.text import parse_module
from headrace.ir.verify import verify

FUNCTIONS = """
  graph.func @then(%x: f32[n]) {output_names = ["y"], private = true} {
    %0 = graph.relu %x : f32[n]
    graph.return %0
  }
  graph.func @other(%x: f32[n]) {output_names = ["y"], private = true} {
    %0 = graph.concat %x, %x {axis = 0} : f32[2*n]
    graph.return %0
  }
"""


def module(
    functions: str = FUNCTIONS, then: str = "@then", kind: str = "f32[2*n - holds*n]", condition: str = "bool[]"
) -> Module:
    attributes = f'then = {then}, otherwise = @other, symbol = "holds", types = [{kind}]'
    return parse_module(f"""module {{
      graph.func @main(%c: {condition}, %x: f32[n]) {{facts = ["holds in [0, 1]"], output_names = ["y"]}} {{
        %y = graph.if %c captures(%x) {{{attributes}}} : {kind}
        graph.return %y
      }}
      {functions}
    }}""")


@pytest.mark.parametrize("holds", [True, False])
def test_the_interpreter_runs_one(holds: bool) -> None:
    whole = module()
    verify(whole)
    x = np.float32([-1, 2])
    (y,) = interpret(whole, "main", [np.array(holds), x])
    np.testing.assert_array_equal(y, [0, 2] if holds else [-1, 2, -1, 2])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"then": "@main"}, "@main is no private graph.func"),
        ({"kind": "f32[2*n]"}, r"types are \(f32\[n\*2\]\), expected \(f32\[-holds\*n \+ n\*2\]\)"),
        ({"condition": "bool[2]"}, r"the condition is bool\[2\], expected one bool"),
        ({"condition": "f32[]"}, r"the condition is f32\[\], expected one bool"),
        ({"functions": FUNCTIONS.replace("f32[n]", "f32[4]", 2)}, r"@then takes \(f32\[4\]\), but is given \(f32\[n\]\)"),
        ({"functions": FUNCTIONS.replace("graph.return %0", "graph.return %0, %0", 1)}, "give 2 and 1 results"),
    ],
)
def test_what_does_not_fit(given: dict[str, str], message: str) -> None:
    with pytest.raises(VerifyError, match=message):
        verify(module(**given))


def test_a_function_that_calls_itself() -> None:
    call = """graph.if %c captures(%x) {then = @then, otherwise = @then, symbol = "h", types = [f32[n]]} : f32[n]"""
    loop = FUNCTIONS.replace(
        """%0 = graph.relu %x : f32[n]""",
        f"""%c = graph.constant {{value = dense<true> : bool[]}} : bool[]
    %0 = {call}""",
    )
    with pytest.raises(VerifyError, match="@then calls itself"):
        verify(module(loop))
