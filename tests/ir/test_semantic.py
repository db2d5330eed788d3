"""The semantic check: passes that change the meaning are named, with the first element that differs."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import pytest

from headrace.ir.errors import SemanticError
from headrace.ir.module import Module
from headrace.ir.pass_base import Effect, Pass, PassContext
from headrace.ir.rewrite import Rewriter
from headrace.ir.semantic import SemanticCheck
from headrace.ir.semantic import check as check_module
from headrace.ir.text import parse_module, print_op
from headrace.ir.verify import verify

Array = np.ndarray[Any, Any]


def checked(before: str, after: str, effect: Effect = "exact", bound: float = 0.0) -> SemanticCheck:
    """The check of a pass that turns one text into the other."""

    @dataclass(frozen=True)
    class Replace(Pass):
        name: ClassVar[str] = "test.replace"
        summary: ClassVar[str] = "put one text in the place of another"

        def run(self, module: Module, rewriter: Rewriter, context: PassContext) -> None:
            raise AssertionError("the texts are given")

    Replace.effect = effect
    Replace.bound_ulp = bound
    old, new = parse_module(before), parse_module(after)
    verify(old)
    verify(new)
    check = SemanticCheck()
    check.before(old, Replace())
    check.after(new, Replace())
    return check


def kernel(where: str, *, n: str = "n", scalars: str = '["n"]') -> str:
    """y[i] = x[i] * x[i] by tiles of 8."""
    return f"""
    kernel.func @square(%x: buffer<f32[{n}]>, %y: buffer<f32[{n}]>) {{outputs = 1, scalars = {scalars}}} {{
      kernel.map (io: task ({n} + 7) floordiv 8, ii: vector 8) reads(%x[io*8 + ii]) writes(%y[io*8 + ii])
      {{where = [{where}]}} {{
      ^(%a: f32):
        %b = kernel.mul %a, %a : f32
        kernel.yield %b
      }}
    }}
    """


TILED = kernel("n - 1 - io*8 - ii")
PLAIN = """
kernel.func @square(%x: buffer<f32[n]>, %y: buffer<f32[n]>) {outputs = 1, scalars = ["n"]} {
  kernel.map (i: parallel n) reads(%x[i]) writes(%y[i]) {
  ^(%a: f32):
    %b = kernel.mul %a, %a : f32
    kernel.yield %b
  }
}
"""


def test_a_right_pass() -> None:
    check = checked(PLAIN, TILED)
    assert check.summary() == "checked 1 of 1 functions (100.0 %)"


def test_nothing_changed_nothing_checked() -> None:
    assert checked(PLAIN, PLAIN).checked == 0


@pytest.mark.parametrize(
    ("after", "message"),
    [
        (kernel(""), "test.replace: @square at n = 1: @square: kernel.map .*index 0 of %x is 1, expected 0 to 0"),
        (kernel("n - 2 - io*8 - ii"), r"@square at n = 1: output 0 at \[0\] was written before and is no longer"),
        (TILED.replace("%x[io*8 + ii]", "%x[io*8 + 7 - ii]"), r"index 0 of %x is 7, expected 0 to 0"),
        (TILED.replace("kernel.mul", "kernel.add"), r"@square at n = 1: output 0 at \[0\] is .*, was .* before$"),
        (TILED.replace("io: task (n + 7)", "io: task (n + 6)"), r"@square at n = 1: output 0 at \[0\] was written"),
        (TILED.replace("io: task (n + 7) floordiv 8", "io: task 1"), r"@square at n = 9: output 0 at \[8\] was"),
    ],
)
def test_a_wrong_kernel(after: str, message: str) -> None:
    with pytest.raises(SemanticError, match=message):
        checked(PLAIN, after)


SUM = """
  init { %z = kernel.constant {value = 0.0, type = f32} : f32   kernel.yield %z }
  step { ^(%a: f32, %acc: f32):  %s = kernel.add %acc, %a : f32   kernel.yield %s }
  combine { ^(%p: f32, %q: f32):  %s = kernel.add %p, %q : f32   kernel.yield %s }
  finish { ^(%acc: f32):  kernel.yield %acc }
"""
BIG = f"""
kernel.func @rows(%x: buffer<f32[700, 9]>, %y: buffer<f32[700, 1000]>) {{outputs = 1}} {{
  kernel.reduce (i: parallel 700, j: parallel 1000, k: reduction 9) reads(%x[i, k]) writes(%y[i, j]) {SUM}
}}
"""
BIG_TILED = f"""
kernel.func @rows(%x: buffer<f32[700, 9]>, %y: buffer<f32[700, 1000]>) {{outputs = 1}} {{
  kernel.reduce (i: task 700, jo: task 63, k: reduction 9, ji: vector 16)
    reads(%x[i, k]) writes(%y[i, jo*16 + ji]) {{where = [999 - jo*16 - ji]}} {SUM}
}}
"""


def test_a_big_kernel_is_checked_in_places() -> None:
    assert checked(BIG, BIG_TILED).checked == 1
    with pytest.raises(SemanticError, match=r"@rows: output 0 at \[.*, 999\] was written before and is no longer"):
        checked(BIG, BIG_TILED.replace("999 - jo", "998 - jo"))
    with pytest.raises(SemanticError, match=r"index 1 of %y is 1000, expected 0 to 999"):
        checked(BIG, BIG_TILED.replace("999 - jo", "1000 - jo"))
    with pytest.raises(SemanticError, match=r"@rows: output 0 at \[0, 0\] is .* before"):
        checked(BIG, BIG_TILED.replace("kernel.add %acc, %a", "kernel.sub %acc, %a"))


BIG_LOOPS = """
kernel.func @rows(%x: buffer<f32[700, 9]>, %y: buffer<f32[700, 1000]>) {outputs = 1} {
  kernel.parallel (i: task 700, jo: task 63) {
    %acc = kernel.alloc {type = buffer<f32[1, 16], register>} : buffer<f32[1, 16], register>
    %z = kernel.constant {value = 0.0, type = f32} : f32
    %zs = kernel.broadcast %z {lanes = 16} : vector<16xf32>
    kernel.store %zs, %acc[0, 0]
    kernel.for (k: sequential 9) {
      %a = kernel.load %x[i, k] : f32
      %as = kernel.broadcast %a {lanes = 16} : vector<16xf32>
      %old = kernel.load %acc[0, 0] {lanes = 16} : vector<16xf32>
      %new = kernel.add %old, %as : vector<16xf32>
      kernel.store %new, %acc[0, 0]
    }
    %m = kernel.mask {lower = 0, upper = 1000 - jo*16, lanes = 16} : vector<16xbool>
    %r = kernel.load %acc[0, 0] {lanes = 16} : vector<16xf32>
    kernel.store %r, %y[i, jo*16] mask(%m)
  }
}
"""


def test_loops_of_a_big_kernel_are_checked_by_tasks() -> None:
    assert checked(BIG_TILED, BIG_LOOPS).checked == 1
    assert checked(BIG_LOOPS, BIG_LOOPS.replace("kernel.add %old, %as", "kernel.add %as, %old")).checked == 1
    with pytest.raises(SemanticError, match=r"index 1 of %y is 1000, expected 0 to 999"):
        checked(BIG_TILED, BIG_LOOPS.replace("%y[i, jo*16] mask(%m)", "%y[i, jo*16]"))
    with pytest.raises(SemanticError, match=r"@rows: output 0 at \[.*\] was written before and is no longer"):
        checked(BIG_TILED, BIG_LOOPS.replace("upper = 1000 - jo*16", "upper = min(15, 1000 - jo*16)"))
    with pytest.raises(SemanticError, match=r"@rows: output 0 at \[0, 0\]"):
        checked(BIG_LOOPS, BIG_LOOPS.replace("k: sequential 9", "k: sequential 8"))


def test_tasks_that_share_an_index_leave_no_holes() -> None:
    """The neighbours of a block lie a block away: what other tasks of the block write in between is not lost."""
    blocks = BIG_LOOPS.replace("jo: task 63", "jb: task 9, jo: task 7").replace("jo*16", "(jo*16 + jb*112)")
    assert checked(BIG, blocks).checked == 1
    with pytest.raises(SemanticError, match=r"@rows: output 0 at \[.*\] was written before and is no longer"):
        checked(BIG, blocks.replace("upper = 1000 -", "upper = min(15, 1000 -").replace("112), lanes", "112)), lanes"))


GRAPH = """
graph.func @main(%x: f32[n, m], %w: f32[m, 4]) {facts = ["m mod 2 == 0"]} {
  %y = graph.matmul %x, %w : f32[n, 4]
  %z = graph.relu %y : f32[n, 4]
  graph.return %z
}
"""


def test_a_graph_pass_that_drops_an_operation() -> None:
    wrong = r"test.replace: @main at m = 2, n = 2: output 0 at \[\d, \d\] is -.*, was 0.0"
    with pytest.raises(SemanticError, match=wrong):
        checked(GRAPH, GRAPH.replace("graph.return %z", "graph.return %y"))


def test_a_graph_that_swaps_dims_is_seen_where_they_differ() -> None:
    square = "graph.func @main(%x: f32[n, n]) { BODY }"
    kept = square.replace("BODY", "graph.return %x")
    turned = square.replace("BODY", "%y = graph.transpose %x {perm = [1, 0]} : f32[n, n]  graph.return %y")
    with pytest.raises(SemanticError, match=r"@main at n = 2: output 0 at \[0, 1\]"):
        checked(kept, turned)


PROGRAM = """
program.func @main(%x: buffer<f32[n]>, %y: buffer<f32[n]>) {outputs = 1} {
  %t = program.alloc {type = buffer<f32[n], arena>} : buffer<f32[n], arena>
  program.launch buffers(%x, %t) {kernel = @square, scalars = [n]}
  %u = program.alloc {type = buffer<f32[n], arena>} : buffer<f32[n], arena>
  program.launch buffers(%t, %u) {kernel = @square, scalars = [n]}
  %v = program.alloc {type = buffer<f32[n], arena>} : buffer<f32[n], arena>
  program.launch buffers(%u, %v) {kernel = @square, scalars = [n]}
  program.launch buffers(%t, %y) {kernel = @square, scalars = [n]}
}
"""


def planned(offsets: tuple[int, int, int]) -> str:
    text = PROGRAM
    for offset in offsets:
        text = text.replace("arena>} :", f"arena>, offset = {offset}}} :", 1)
    return text


def test_a_memory_plan_that_overlaps() -> None:
    assert checked(PROGRAM + PLAIN, planned((0, 64, 128)) + PLAIN).checked == 1
    lost = r"@main at n = 2: @square: .*another buffer in the same memory has overwritten"
    with pytest.raises(SemanticError, match=lost):
        checked(PROGRAM + PLAIN, planned((0, 64, 0)) + PLAIN)


def test_lowering_is_compared_through_its_launches() -> None:
    graph = """graph.func @main(%x: f32[n]) {
      %y = graph.mul %x, %x : f32[n]
      %z = graph.mul %y, %y : f32[n]
      graph.return %z
    }"""
    check = checked(graph, planned((0, 64, 128)) + PLAIN, "reorders")
    assert check.summary() == "checked 1 of 1 functions (100.0 %)"
    wrong = r"@main at n = 2: output 0 at \[0\] is .*, was .* before, and is .* in float64"
    with pytest.raises(SemanticError, match=wrong):
        checked(graph, planned((0, 64, 128)) + PLAIN.replace("kernel.mul", "kernel.add"), "reorders")


def test_a_kernel_that_takes_other_parameters_is_compared_in_its_program() -> None:
    """As packing does: the parameter changes, and the constant that launches pass changes with it."""
    program = """
    program.func @main(%x: buffer<f32[2]>, %y: buffer<f32[2]>) {outputs = 1} {
      %w = program.constant {value = @weight, type = buffer<f32[2, 3]>} : buffer<f32[2, 3]>
      program.launch buffers(%x, %w, %y) {kernel = @scale, scalars = []}
    }
    kernel.func @scale(%x: buffer<f32[2]>, %w: buffer<f32[2, 3]>, %y: buffer<f32[2]>) {outputs = 1} {
      kernel.map (i: parallel 2) reads(%x[i], %w[i, 1]) writes(%y[i]) {
      ^(%a: f32, %b: f32):
        %c = kernel.mul %a, %b : f32
        kernel.yield %c
      }
    }
    graph.func @weight() {
      %0 = graph.constant {value = dense<[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]> : f32[2, 3]} : f32[2, 3]
      graph.return %0
    }
    """
    packed = program.replace("%w[i, 1]", "%w[1, i]").replace("buffer<f32[2, 3]>", "buffer<f32[3, 2]>")
    packed = packed.replace("graph.return %0", "%1 = graph.transpose %0 {perm = [1, 0]} : f32[3, 2]  graph.return %1")
    assert checked(program, packed.replace("@weight", "@turned")).checked == 1
    with pytest.raises(SemanticError, match=r"@main: output 0 at \[0\]"):
        checked(program, packed.replace("@weight", "@turned").replace("%w[1, i]", "%w[0, i]"))


def test_what_cannot_be_checked_is_counted() -> None:
    zero = PLAIN.replace("kernel.mul %a, %a", "kernel.sub %a, %a")
    check = checked(zero, zero.replace("i: parallel", "i: task"))
    assert check.checked == 1  # the one element of n = 1 is nothing that could be constant
    constant = zero.replace("[n]", "[7]").replace("parallel n", "parallel 7").replace('"n"', "")
    check = checked(constant, constant.replace("i: parallel", "i: task"))
    assert (check.checked, len(check.unchecked)) == (0, 1)
    assert check.summary() == (
        "checked 0 of 1 functions (0.0 %)\n  not checked: test.replace: @square: the result is constant"
    )


def test_a_maximum_that_leaves_out_an_end() -> None:
    text = """
    kernel.func @top(%x: buffer<f32[40]>, %y: buffer<f32[1]>) {outputs = 1} {
      kernel.reduce (i: parallel 1, k: reduction 40) reads(%x[k]) writes(%y[i])
        init { %z = kernel.constant {value = -100.0, type = f32} : f32   kernel.yield %z }
        step { ^(%a: f32, %acc: f32):  %s = kernel.max %acc, %a : f32   kernel.yield %s }
        combine { ^(%p: f32, %q: f32):  %s = kernel.max %p, %q : f32   kernel.yield %s }
        finish { ^(%acc: f32):  kernel.yield %acc }
    }
    """
    for wrong in (text.replace("k: reduction 40", "k: reduction 39"), text.replace("%x[k]", "%x[max(k, 1)]")):
        with pytest.raises(SemanticError, match=r"@top: output 0 at \[0\] is .*, was .* before"):
            checked(text, wrong)


def test_a_reduction_whose_parts_do_not_join() -> None:
    text = BIG.replace("700", "3").replace("1000", "4")
    wrong = text.replace("%s = kernel.add %p, %q", "%s = kernel.max %p, %q")
    with pytest.raises(SemanticError, match=r"@rows: reduced in two parts, output 0 at \[0, 0\] is"):
        checked(text, wrong)


def test_functions_of_positive_numbers_get_some() -> None:
    log = PLAIN.replace("%b = kernel.mul %a, %a", "%b = kernel.log %a")
    assert checked(log, log.replace("i: parallel", "i: task")).checked == 1


def test_indices_from_data_are_drawn_so_that_they_are_legal() -> None:
    gather = """
    kernel.func @pick(%x: buffer<f32[4]>, %i: buffer<i64[6]>, %y: buffer<f32[6]>) {outputs = 1} {
      kernel.parallel (a: KIND 6) {
        %n = kernel.load %i[a] : i64
        %zero = kernel.constant {value = 0, type = i64} : i64
        %first = kernel.compare %n, %zero {predicate = eq} : bool
        %p = kernel.load %x[0] : f32
        %q = kernel.load %x[1] : f32
        %r = kernel.select %first, %p, %q : f32
        kernel.store %r, %y[a]
      }
    }
    """
    assert checked(gather.replace("KIND", "parallel"), gather.replace("KIND", "task")).checked == 1


def test_a_loop_as_long_as_data_decide() -> None:
    """0, 1, 2 ..., of which the first are another number: legal for each count that may be drawn."""

    def first(number: int, kind: str = "parallel") -> str:
        return f"""
        kernel.func @first(%n: buffer<i64[1]>, %y: buffer<i64[8]>) {{outputs = 1}} {{
          kernel.map (i: parallel 8) writes(%y[i]) {{
            %z = kernel.index {{value = i}} : i64
            kernel.yield %z
          }}
          %0 = kernel.load %n[0] : i64
          kernel.let (last: given 8) %0 {{
            kernel.map (j: {kind} last + 1) writes(%y[j]) {{
              %o = kernel.constant {{value = {number}, type = i64}} : i64
              kernel.yield %o
            }}
          }}
        }}
        """

    assert checked(first(8), first(8, "sequential")).checked == 1
    with pytest.raises(SemanticError, match="first"):
        checked(first(8), first(9))


def test_the_same_inputs_every_time() -> None:
    messages = []
    for _ in range(2):
        with pytest.raises(SemanticError) as caught:
            checked(GRAPH, GRAPH.replace("graph.return %z", "graph.return %y"))
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


def test_what_a_pass_left_runs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[str] = []
    original: Callable[..., Any] = check_module.run_kernel

    def counting(function: Any, *arguments: Any, **named: Any) -> Any:
        runs.append(print_op(function))
        return original(function, *arguments, **named)

    monkeypatch.setattr(check_module, "run_kernel", counting)

    @dataclass(frozen=True)
    class Nothing(Pass):
        name: ClassVar[str] = "test.nothing"
        summary: ClassVar[str] = "nothing"

        def run(self, module: Module, rewriter: Rewriter, context: PassContext) -> None:
            raise AssertionError

    check = SemanticCheck()
    texts = [PLAIN, PLAIN.replace("i: parallel", "i: task"), PLAIN.replace("i: parallel", "i: grid")]
    for before, after in pairwise(texts):
        check.before(parse_module(before), Nothing())
        check.after(parse_module(after), Nothing())
    assert len(runs) == len(set(runs)) * 9 == 27  # three sizes each, with three draws
    assert check.checked == 2
