"""graph.loop: what the verifier and the interpreter say of it."""

from __future__ import annotations

import numpy as np
import pytest

from headrace.ir.errors import ExecutionError, VerifyError
from headrace.ir.graph import interpret as graph_interpret
from headrace.ir.interpret import interpret
from headrace.ir.module import Module
from headrace.ir.text import parse_module
from headrace.ir.verify import verify

FACTS = 'facts = ["t in [0, inf]", "k in [0, inf]", "m in [0, inf]", "r in [0, inf]"]'
BODY = f"""
  graph.func @body(%e: f32[2], %x: f32[k]) {{{FACTS}, output_names = ["c", "y", "s"], private = true}} {{
    %y = graph.concat %x, %e {{axis = 0}} : f32[k + 2]
    %n = graph.formulas {{values = [6 - k], dims = [], dtype = i64}} : i64[]
    %z = graph.constant {{value = dense<0> : i64[]}} : i64[]
    %c = graph.compare %z, %n {{predicate = lt}} : bool[]
    graph.return %c, %y, %e
  }}
"""


def module(body: str = BODY, **changed: str) -> Module:
    """Two elements more in each turn, until one began with six or more."""
    given = {
        "condition": "%c",
        "symbols": '["k"]',
        "limit": "m",
        "types": "f32[k], f32[t, 2]",
        "sizes": "[]",
        "most": "i64[]",
    } | changed
    attributes = f'body = @body, turn = "t", symbols = {given["symbols"]}, limit = {given["limit"]}'
    types = given["types"]
    return parse_module(f"""module {{
      graph.func @main(%m: {given["most"]}, %c: bool[], %e: f32[2], %x: f32[n]) {{{FACTS}, output_names = ["y", "s"]}} {{
        %y, %s = graph.loop most(%m) condition({given["condition"]}) captures(%e) carried(%x)
            {{{attributes}, types = [{types}], sizes = {given["sizes"]}}} : {types}
        graph.return %y, %s
      }}
      {body}
    }}""")


@pytest.mark.parametrize(("most", "begins", "turns"), [(9, True, 4), (2, True, 2), (9, False, 0), (0, True, 0)])
def test_the_interpreter_takes_the_turns(most: int, begins: bool, turns: int) -> None:
    whole = module()
    verify(whole)
    e, x = np.float32([1, 2]), np.float32([7])
    y, s = interpret(whole, "main", [np.array(most), np.array(begins), e, x])
    np.testing.assert_array_equal(y, [7, *[1, 2] * turns])
    np.testing.assert_array_equal(s, np.tile(e, (turns, 1)))


def test_it_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_interpret, "MOST_TURNS", 20)
    body = BODY.replace("6 - k", "1").replace("%x, %e {axis = 0} : f32[k + 2]", "%x {axis = 0} : f32[k]")
    e, x = np.float32([1, 2]), np.float32([7])
    with pytest.raises(ExecutionError, match=r"@main: graph.loop: more than 20 turns"):
        interpret(module(body), "main", [np.array(2**62), np.array(True), e, x])


def test_rows_are_of_one_size() -> None:
    whole = module(BODY.replace("%c, %y, %e", "%c, %y, %y"), types="f32[k], f32[t, r]", sizes='["r"]')
    verify(whole)
    given = [np.array(True), np.float32([1, 2]), np.float32([7])]
    assert interpret(whole, "main", [np.array(1), *given])[1].shape == (1, 3)
    assert interpret(whole, "main", [np.array(0), *given])[1].shape == (0, 0)
    with pytest.raises(ExecutionError, match="a turn appends values of another size than the first"):
        interpret(whole, "main", [np.array(2), *given])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"most": "f32[]"}, r"most is f32\[\], expected one int"),
        ({"most": "i64[2]"}, r"most is i64\[2\], expected one int"),
        ({"limit": "m + 1"}, "limit is m \\+ 1, expected a symbol for what `most` holds"),
        ({"symbols": "[]"}, r"carried value 0 has a dim of n, in the body k, then k \+ 2"),
        ({"symbols": '["k", "r"]'}, "r is no dim of a carried value"),
        ({"sizes": '["r"]'}, "r is no dim of what is appended"),
        ({"types": "f32[k], f32[t, 3]"}, r"appends f32\[2\], expected f32\[3\]"),
        ({"types": "f32[n], f32[t, 2]"}, r"types are \(f32\[n\], .*expected \(f32\[k\], f32\[t, 2\]\)"),
        (
            {"body": BODY.replace("%e: f32[2]", "%e: f32[4]").replace("k + 2", "k + 4")},
            r"@body takes \(f32\[4\]\), but is given \(f32\[2\]\)",
        ),
        ({"body": BODY.replace("%c, %y, %e", "%c, %y")}, "its body gives 2 results"),
        ({"body": BODY.replace("%c, %y, %e", "%n, %y, %e")}, r"gives i64\[\] as the condition, expected one bool"),
        ({"body": BODY.replace(", private = true", "")}, "@body is no private graph.func"),
    ],
)
def test_what_does_not_fit(changed: dict[str, str], message: str) -> None:
    with pytest.raises(VerifyError, match=message):
        verify(module(**changed))
