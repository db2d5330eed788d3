"""The examples in the docstrings of operations are text that parses, and that prints as it stands."""

import importlib
import pkgutil
import re
import textwrap
from collections.abc import Iterator

import pytest

from headrace.ir.constants import ConstantStore
from headrace.ir.core import Operation
from headrace.ir.declare import declared
from headrace.ir.text import parse_module, print_op
from headrace.ir.text.parser import _Parser
from headrace.ir.text.syntax import OperationNode, parse_syntax


def _examples() -> Iterator[tuple[str, str]]:
    """(module, text) of each indented paragraph that names an operation of the dialect in its first line."""
    for dialect in ("graph", "kernel", "program"):
        package = importlib.import_module(f"headrace.ir.{dialect}.ops")
        for found in pkgutil.iter_modules(package.__path__):
            module = importlib.import_module(f"{package.__name__}.{found.name}")
            for block in re.findall(r"(?:^    .*\n)+", f"{module.__doc__}\n", re.MULTILINE):
                if re.match(rf"\s*(%.*= )?{dialect}\.\w", block):
                    yield f"{dialect}.{found.name}", textwrap.dedent(block)


EXAMPLES = list(_examples())


def _nodes(operations: tuple[OperationNode, ...]) -> Iterator[OperationNode]:
    for node in operations:
        yield node
        for _, region in node.regions:
            yield from _nodes(region.operations)


@pytest.mark.parametrize(("where", "text"), EXAMPLES, ids=[f"{w}-{n}" for n, (w, _) in enumerate(EXAMPLES)])
def test_example_fits_the_declarations(where: str, text: str) -> None:
    syntax = parse_syntax(text, where)
    parser = _Parser(where, ConstantStore())
    assert syntax.operations
    for node in _nodes(syntax.operations):
        declaration = declared(node.name)
        parser.attributes(declaration, node.attributes)
        groups = {f.name for f in declaration.operand_fields if f.is_group}
        assert {str(g.label) for g in node.groups} <= groups
        assert node.groups or groups or len(node.operands) == len(declaration.operand_fields)


def test_every_dialect_has_examples() -> None:
    assert {where.partition(".")[0] for where, _ in EXAMPLES} == {"graph", "kernel", "program"}
    assert len(EXAMPLES) > 30


# What the examples use without defining it: the start of a function around them.
AROUND = {
    "kernel.control": 'kernel.func @f() {outputs = 0, scalars = ["m"]} {',
    "kernel.convert": 'kernel.func @f() {outputs = 0, scalars = ["i", "j", "m", "n"]} {',
    "kernel.memory": """kernel.func @f(%x: buffer<f32[m, n]>, %w: buffer<f32[m, n]>, %s: buffer<f32[m, n]>,
        %y: buffer<f32[m, n]>) {outputs = 1, scalars = ["i", "j", "k", "m", "n"]} {
        %p = kernel.mask {lower = 0, upper = n, lanes = 16}""",
    "kernel.structured": """kernel.func @f(%x: buffer<f32[m, n]>, %w: buffer<f32[m, n]>, %b: buffer<f32[n]>,
        %y: buffer<f32[m, n]>) {outputs = 1, scalars = ["m", "n"]} {""",
    "graph.relu": "graph.func @f(%x: f32[1, 64, 56, 56]) {",
    "graph.matmul": "graph.func @f(%a: f32[batch, 128, 64], %b: f32[64, 768]) {",
    "graph.cluster": "graph.func @f(%x: f32[n, 64], %w: f32[64, 10], %b: f32[10]) {",
    "graph.concat": "graph.func @f(%a: f32[n, 64], %b: f32[n, 32]) {",
    "graph.constant": "graph.func @f() {",
}


def _squeezed(text: str) -> str:
    """Comments and line breaks do not matter."""
    return " ".join(re.sub(r"//.*", "", text).replace("(\n", "(").split())


@pytest.mark.parametrize(
    ("where", "text"), [e for e in EXAMPLES if e[0] in AROUND or ".func @" in e[1]], ids=lambda v: v.split("\n")[0]
)
def test_example_prints_as_it_stands(where: str, text: str) -> None:
    whole = text
    if ".func @" not in text:
        whole = f"{AROUND[where]} \n{text}}}"
    module = parse_module(whole)
    printed = print_op(module)
    assert print_op(parse_module(printed, constants=module.constants)) == printed
    inside = _body_text(module.block.operations[0]) if whole is not text else print_op(module.block.operations[0])
    if where != "kernel.structured":  # its example uses names twice, in regions of their own
        assert _squeezed(text) in _squeezed(inside)


def _body_text(function: Operation) -> str:
    return "".join(print_op(o) for o in function.regions[0].block.operations)
