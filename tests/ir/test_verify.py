"""The verifier names what is wrong: function, operation, node, and the value by its name."""

from collections.abc import Callable

import pytest

from headrace.ir.core import Operation, walk
from headrace.ir.errors import VerifyError
from headrace.ir.graph.ops.func import Return
from headrace.ir.graph.ops.relu import Relu
from headrace.ir.module import Module
from headrace.ir.text import parse_module, parse_type
from headrace.ir.verify import verify

GRAPH = """
graph.func @main(%x: f32[n, 4]) {
  %a = graph.relu %x loc("Relu_0")
  %b = graph.cluster inputs(%a) {
  ^(%p: f32[n, 4]):
    %q = graph.relu %p
    graph.yield %q
  }
  graph.return %b
}
"""


def _operations(module: Module) -> list[Operation]:
    return module.function("main").block.operations


def test_valid() -> None:
    verify(parse_module(GRAPH))


def _swap_order(module: Module) -> None:
    block = module.function("main").block
    block.operations[0], block.operations[1] = block.operations[1], block.operations[0]


def _use_from_outside(module: Module) -> None:
    outer = next(walk(module, Relu))
    cluster = _operations(module)[1]
    cluster.regions[0].block.operations[0].set_operands(outer.operands)


def _use_from_a_closed_region(module: Module) -> None:
    inner = list(walk(module, Relu))[1]
    _operations(module)[2].set_operands([inner.result])


def _forget_a_use(module: Module) -> None:
    relu = next(walk(module, Relu))
    relu.operands[0].uses.clear()


def _claim_a_use(module: Module) -> None:
    relu = next(walk(module, Relu))
    relu.result.uses[relu, 0] = None


def _use_what_was_removed(module: Module) -> None:
    relu = next(walk(module, Relu))
    module.function("main").block.remove(relu)


def _wrong_type(module: Module) -> None:
    next(walk(module, Relu)).result.type = parse_type("f32[n, 5]")


def _wrong_attribute(module: Module) -> None:
    module.function("main").attributes["input_names"] = ["x"]


def _no_terminator(module: Module) -> None:
    block = module.function("main").block
    last = block.operations[-1]
    assert isinstance(last, Return)
    block.remove(last)
    last.drop()


def _terminator_inside(module: Module) -> None:
    block = module.function("main").block
    block.insert(0, Return(()))


def _wrong_parent(module: Module) -> None:
    next(walk(module, Relu)).parent = _operations(module)[1].regions[0].block


def _wrong_region(module: Module) -> None:
    _operations(module)[1].regions[0].parent = None


CASES: list[tuple[Callable[[Module], None], str]] = [
    (_swap_order, "@main: graph.cluster: operand 0 (%a) is defined below its use"),
    (_use_from_outside, "@main: graph.relu: operand 0 (%x) is defined outside of the function or cluster"),
    (_use_from_a_closed_region, "@main: graph.return: operand 0 (%q) is defined in a region that is closed here"),
    (_forget_a_use, "@main: graph.relu (node 'Relu_0'): operand 0 (%x) does not know this use"),
    (_claim_a_use, "@main: graph.relu (node 'Relu_0'): graph.relu is noted as a user of %a, but does not use it"),
    (_use_what_was_removed, "@main: graph.func: graph.relu uses %x, but was removed"),
    (_wrong_type, "@main: graph.relu (node 'Relu_0'): gives f32[n, 5], expected f32[n, 4]"),
    (_wrong_attribute, "@main: graph.func: input_names is ['x'], expected a list of: a string"),
    (_no_terminator, "@main: graph.func: a block has no terminator where one is needed"),
    (_terminator_inside, "@main: graph.return: ends a block, but operations follow"),
    (_wrong_parent, "@main: graph.relu (node 'Relu_0'): stands in a block that is not its parent"),
    (_wrong_region, "@main: graph.cluster: a region is owned by another operation"),
]


@pytest.mark.parametrize(("damage", "message"), CASES, ids=[d.__name__ for d, _ in CASES])
def test_damage(damage: Callable[[Module], None], message: str) -> None:
    module = parse_module(GRAPH)
    damage(module)
    with pytest.raises(VerifyError) as caught:
        verify(module)
    assert str(caught.value) == message


KERNEL = 'kernel.func @k(%x: buffer<f32[n, m]>) {outputs = 1, scalars = ["n", "m"]} {'

TEXTS = {
    # functions and their names
    "graph.func @f() { graph.return } graph.func @f() { graph.return }": "graph.func: @f is the name of two functions",
    "kernel.barrier": "kernel.barrier: stands in the module, expected a function",
    "program.func @main(%x: buffer<f32[n]>) {outputs = 1} "
    "{ program.launch buffers(%x) {kernel = @relu, scalars = [n]} } "
    'kernel.func @relu0(%x: buffer<f32[n]>) {outputs = 1, scalars = ["n"]} {}': "@main: program.launch: kernel is "
    "@relu, which is no function; did you mean 'relu0'?",
    # symbols of kernels
    KERNEL + "%v = kernel.load %x[i, 0] }": "@k: kernel.load: i mentions i, expected an axis around it or a scalar of "
    "the kernel",
    KERNEL + "kernel.for (i: sequential n) { } %v = kernel.load %x[i, 0] }": "@k: kernel.load: i mentions i, expected",
    KERNEL + "kernel.for (i: sequential n) { %v = kernel.load %x[i*2, m - 1] } }": "",
    KERNEL + "kernel.parallel (i: parallel n, j: parallel i) { } }": "@k: kernel.parallel: i mentions i, expected",
    KERNEL + "kernel.for (i: sequential n) { kernel.for (i: sequential n) { } } }": "@k: kernel.for: axis i is named "
    "like another axis or scalar of the function",
    KERNEL + "kernel.for (i: sequential n) { } kernel.for (i: sequential n) { } }": "@k: kernel.for: axis i is named",
    KERNEL + "kernel.for (n: sequential 3) { } }": "@k: kernel.for: axis n is named like another axis or scalar",
    # symbols of graphs and programs
    "graph.func @f(%x: f32[n]) { %y = graph.expand %x {dims = [k, n]} graph.return %y }": "@f: graph.expand: k mentions "
    "k, expected a symbol of a parameter's type, of the facts or of a program.read above",
    'graph.func @f(%x: f32[n]) {facts = ["k in [1, 9]"]} { %y = graph.expand %x {dims = [k, n]} graph.return %y }': "",
    "program.func @f(%x: buffer<i64[2]>) {outputs = 0} { %t = program.alloc {type = buffer<f32[k], arena>} "
    'program.read %x {element = 0, symbol = "k", lower = 0} }': "@f: program.alloc: k mentions k, expected a symbol of",
    'program.func @f(%x: buffer<i64[2]>) {outputs = 0} { program.read %x {element = 0, symbol = "k", lower = 0} '
    "%t = program.alloc {type = buffer<f32[k], arena>} }": "",
}


@pytest.mark.parametrize(("text", "message"), list(TEXTS.items()))
def test_text(text: str, message: str) -> None:
    module = parse_module(text)
    if not message:
        verify(module)
        return
    with pytest.raises(VerifyError) as caught:
        verify(module)
    assert str(caught.value).startswith(message), str(caught.value)


def test_a_function_alone() -> None:
    verify(parse_module(GRAPH).function("main"))
