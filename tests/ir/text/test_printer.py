"""What printed text looks like."""

from headrace.ir.core import walk
from headrace.ir.kernel.ops.structured import Map
from headrace.ir.text import parse_module, print_op

KERNEL = """\
module {source = "ab", options = ["target=x"]} {
  kernel.func @k(%x: buffer<f32[m, n]>, %y: buffer<f32[m]>) {outputs = 1, scalars = ["m", "n"]} {
    kernel.reduce (i: task m, k: reduction n) reads(%x[i, k] else -inf) writes(%y[i])
      init {
        %z = kernel.constant {value = 0.0, type = f32} : f32
        kernel.yield %z
      }
      step {
      ^(%a: f32, %acc: f32):
        %s = kernel.add %a, %acc : f32
        kernel.yield %s
      }
      combine {
      ^(%p: f32, %q: f32):
        %s_1 = kernel.add %p, %q : f32
        kernel.yield %s_1
      }
      finish {
      ^(%acc_1: f32):
        kernel.yield %acc_1
      }
      loc("sum", "a \\"quoted\\" node")
    kernel.if {where = [m - 1]} {
      kernel.barrier
    }
    kernel.if {where = [m - 1]} {
    } else {
      kernel.barrier
    } loc("c")
  }
}
"""

GRAPH = """\
module {
  graph.func @main(%x: f32[n, 4], %0: f32[4]) {input_names = ["x"]} {
    %c = graph.constant {value = dense<[[1.0, -0.5], [inf, 1e-07]]> : f32[2, 2]} : f32[2, 2]
    %t = graph.constant {value = dense<true> : bool[]} : bool[]
    %1 = graph.relu %x : f32[n, 4] loc("r")
    %2 = graph.cluster inputs(%1, %0) {
    ^(%0: f32[n, 4], %1: f32[4]):
      %2 = graph.add %0, %1 : f32[n, 4]
      graph.yield %2
    } : f32[n, 4] loc("a", "b")
    graph.return %2, %c, %t
  }
}
"""


def test_a_kernel_prints_as_it_was_written() -> None:
    assert print_op(parse_module(KERNEL)) == KERNEL


def test_a_graph_prints_as_it_was_written() -> None:
    assert print_op(parse_module(GRAPH)) == GRAPH


def test_an_operation_alone() -> None:
    module = parse_module(
        'kernel.func @k(%x: buffer<f32[n]>, %y: buffer<f32[n]>) {outputs = 1, scalars = ["n"]} {\n'
        "kernel.map (i: parallel n) reads(%x[i]) writes(%y[i]) { ^(%a: f32): kernel.yield %a } }"
    )
    text = print_op(next(walk(module, Map)))
    assert text.startswith("kernel.map (i: parallel n) reads(%x[i]) writes(%y[i]) {\n^(%a: f32):\n  kernel.yield %a\n}")


def test_hints_become_names_and_stay_unique() -> None:
    module = parse_module("graph.func @f(%x: f32[n]) { %y = graph.relu %x %z = graph.relu %y graph.return %z }")
    first, second, _ = module.function("f").block.operations
    first.result.hint = "conv/Relu:0"
    second.result.hint = "conv_Relu_0"
    text = print_op(module)
    assert "%conv_Relu_0 = graph.relu %x" in text
    assert "%conv_Relu_0_1 = graph.relu %conv_Relu_0" in text
    assert print_op(parse_module(text)) == text
