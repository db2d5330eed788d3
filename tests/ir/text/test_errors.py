"""What the parser says about wrong text: place, what was found, what was expected."""

import pytest

from headrace.ir.constants import ConstantStore
from headrace.ir.errors import ParseError
from headrace.ir.text import parse_module, parse_type

HEAD = "graph.func @f(%x: f32[n]) {\n"
KERNEL = 'kernel.func @k(%x: buffer<f32[n]>) {outputs = 0, scalars = ["n"]} {\n'

CASES = {
    # syntax
    "}": "1:1: found '}', expected 'module', an operation or the end",
    HEAD: "2:1: found the end of the text, expected '^', '}' or an operation",
    HEAD + "  %y = graph.relu $x": "2:19: found '$', expected",
    HEAD + "  %y = graph.relu %x {a = }": "2:27: found '}', expected",
    HEAD + "  graph.return %x\n} trailing": "3:3: found 'trailing', expected",
    # names
    HEAD + "  %y = graph.relu %z": "2:19: %z is not defined here; did you mean '%x'?",
    HEAD + "  %x = graph.relu %x": "2:3: %x is defined twice in one block",
    HEAD + "  %y = graph.rely %x": "2:8: unknown operation 'graph.rely'; did you mean 'graph.relu'?",
    "module {source = 3} {}": "1:18: source: found '3', expected a string",
    'module {sauce = "3"} {}': "1:9: module has no attribute 'sauce'; did you mean 'source'?",
    # operands and results
    HEAD + "  %y = graph.relu %x, %x": "2:8: graph.relu takes 1 operand (x), found 2",
    HEAD + "  %y = graph.relu": "2:8: graph.relu takes 1 operand (x), found 0",
    HEAD + "  %y = graph.relu %x[i]": "2:19: x: found an index behind %x, expected none",
    HEAD + "  %y, %z = graph.relu %x": "2:12: graph.relu has 1 result, found 2 names",
    HEAD + "  graph.relu %x": "2:3: graph.relu has 1 result, found 0 names",
    HEAD + "  %y = graph.relu %x : f32[m]": "2:8: graph.relu gives f32[n], found f32[m]",
    HEAD + "  %y = graph.relu inputs(%x)": "2:8: graph.relu takes 1 operand (x), found 0",
    KERNEL + "  %y = kernel.load %x": "2:20: source: expected an index behind %x, like [i, j]",
    KERNEL + "  %y = kernel.load %x[0] mask(%x, %x)": "2:26: mask takes one operand, found 2",
    KERNEL + "  %y = kernel.load %x[0] else none": "2:31: found 'none', expected a number",
    # heads and regions
    "graph.func {}": "1:1: graph.func: expected a name like @f behind it",
    HEAD + "  %y = graph.relu @f() %x": "2:19: graph.relu: expected no name behind it",
    HEAD + "  %y = graph.relu (i: parallel 3) %x": "2:8: graph.relu has no axes",
    HEAD + "  %y = graph.relu %x { }": "2:8: graph.relu does not take a region here",
    KERNEL + "  kernel.map () reads(%x[0])": "2:3: kernel.map needs a region 'body'",
    KERNEL + "  kernel.reduce (i: reduction 3) init { } stop { }": "2:43: kernel.reduce does not take a region 'stop'; "
    "did you mean 'step'?",
    # attributes
    KERNEL + "  %y = kernel.constant {value = 1.0}": "2:8: kernel.constant needs an attribute 'type'",
    KERNEL + "  %y = kernel.constant {valeu = 1.0}": "2:25: kernel.constant has no attribute 'valeu'; "
    "did you mean 'value'?",
    KERNEL + "  %y = kernel.load %x[0] {lanes = 2, lanes = 2}": "2:38: attribute 'lanes' stands here twice",
    KERNEL + "  %y = kernel.load %x[0] {lanes = 2.0}": "2:35: lanes: found '2.0', expected an integer",
    KERNEL + "  %y = kernel.load %x[0] {steps = [1, a]}": "2:39: steps: found 'a', expected an integer",
    KERNEL + "  %y = kernel.load %x[0] {steps = 1}": "2:35: steps: found '1', expected a list of: an integer",
    KERNEL
    + "  %y = kernel.constant {value = 1.0, type = buffer<f32[3]}": "2:58: found '}', expected ',', '>' or 'strides'",
    KERNEL + "  %y = kernel.constant {value = 1.0, type = f33}": "2:45: type: found 'f33', expected a type",
    KERNEL + "  %y = kernel.alloc {type = f32}": "2:29: type: found 'f32', expected a buffer type like buffer<f32[n]>",
    KERNEL + "  %y = kernel.alloc {type = buffer<f32[3], heap>}": "2:44: space is heap, expected one of global, arena, "
    "stack, register, shared",
    KERNEL + "  %y = kernel.index {value = 1.5}": "2:30: value: found '1.5', expected a formula",
    KERNEL + "  %y = kernel.index {value = n floordiv 0}": "2:30: division by 0; expected a positive divisor",
    KERNEL + "  %y = kernel.index {value = sqrt(n)}": "2:30: found sqrt of 1 values, expected min(...), max(...) or "
    "ceildiv(a, b)",
    KERNEL + "  %y = kernel.holds {where = [f32[3]]}": "2:31: where: found a type, expected a formula",
    # types and constants
    "graph.func @f(%x: f23[n]) {": "1:28: found the end of the text",
    "graph.func @f(%x: f23[n]) {}": "1:19: found 'f23', expected a type; did you mean 'f32'?",
    HEAD + "  %y = graph.constant {value = #12: f32[3]}": "2:32: constant #12 has 2 digits, expected 64",
    HEAD + "  %y = graph.constant {value = #12}": "2:32: constant #12: 0 constants of that digest in the store",
    HEAD + "  %y = graph.constant {value = dense<[1.0]> : f32[2]}": "2:39: the elements of a dense constant do not "
    "have the shape of f32[2]",
    HEAD + "  %y = graph.constant {value = dense<[300]> : u8[1]}": "2:39: element 300 does not fit u8",
    HEAD + "  %y = graph.constant {value = dense<[1.0]> : f32[n]}": "2:39: a constant is of type f32[n], expected a "
    "tensor type with constant dims",
    # operations that refuse
    HEAD + "  %y = graph.matmul %x, %k": "2:25: %k is not defined here",
    KERNEL + "  %a = kernel.constant {value = 1.0, type = f32} %b = kernel.not %a": "2:55: kernel.not: operand is f32",
}


@pytest.mark.parametrize(("text", "message"), list(CASES.items()))
def test_message(text: str, message: str) -> None:
    whole = text + "\n}" if text.startswith((HEAD, KERNEL)) and text != HEAD and "trailing" not in text else text
    with pytest.raises(ParseError) as caught:
        parse_module(whole, "m.hir")
    assert str(caught.value).startswith(f"m.hir:{message}"), str(caught.value)
    assert "\n" not in str(caught.value)


def test_empty_text_is_an_empty_module() -> None:
    assert parse_module("// nothing\n").block.operations == []


def test_type() -> None:
    with pytest.raises(ParseError, match="<text>:1:5: found the end of the text, expected"):
        parse_type("f32[")


def test_a_constant_of_another_type_than_the_store_has() -> None:
    text = "graph.func @f() { %y = graph.constant {value = dense<[1.0, 2.0]> : f32[2]} graph.return %y }"
    module = parse_module(text)
    ref = next(iter(module.constants))
    wrong = f"graph.func @f() {{ %y = graph.constant {{value = #{ref.digest}: f32[3]}} graph.return %y }}"
    with pytest.raises(ParseError, match=r"is f32\[3\] here and f32\[2\] in the store"):
        parse_module(wrong, constants=module.constants)
    short = f"graph.func @f() {{ %y = graph.constant {{value = #{ref.digest[:9]}}} graph.return %y }}"
    assert parse_module(short, constants=module.constants).block.operations
    with pytest.raises(ParseError, match="0 constants of that digest"):
        parse_module(short, constants=ConstantStore())
