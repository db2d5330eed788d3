"""What the tests of graph passes share: parse, run passes by class, evaluate functions by the references."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from headrace.ir.core import Block, Operation, Value
from headrace.ir.graph.families import Array, GraphOp
from headrace.ir.graph.numbers import with_numbers
from headrace.ir.graph.ops.cluster import Cluster
from headrace.ir.graph.ops.constant import Constant
from headrace.ir.graph.ops.func import GraphFunc
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.rewrite import Rewriter
from headrace.ir.text.parser import parse_module
from headrace.ir.verify import verify


@dataclass(frozen=True)
class Bench:
    """A module under test."""

    module: Module

    @property
    def main(self) -> GraphFunc:
        return next(self.module.functions(GraphFunc))

    def run(self, *passes: Pass, strict: bool = False) -> bool:
        """Runs passes, verifying after each; whether the last one changed anything."""
        changed = False
        for one in passes:
            rewriter = Rewriter()
            one.run(self.module, rewriter, PassContext(strict=strict))
            verify(self.module)
            changed = rewriter.changed
        return changed

    def names(self) -> list[str]:
        """The operations of @main, constants left out."""
        body = [o for o in self.main.block.body if not isinstance(o, Constant)]
        return [o.name.partition(".")[2] for o in body]

    def evaluate(self, arrays: Sequence[Array], symbols: Mapping[str, int]) -> list[Array]:
        """What @main returns, by the references of its operations."""
        with np.errstate(all="ignore"):
            return _block(self.main.block, dict(zip(self.main.parameters, arrays, strict=True)), self.module, symbols)


def _block(block: Block, values: dict[Value, Array], module: Module, symbols: Mapping[str, int]) -> list[Array]:
    for operation in block.body:
        operands = [values[o] for o in operation.operands]
        found = _results(operation, operands, module, symbols)
        values.update(zip(operation.results, found, strict=True))
    return [values[o] for o in block.terminator.operands]


def _results(
    operation: Operation, operands: list[Array], module: Module, symbols: Mapping[str, int]
) -> list[Array]:
    if isinstance(operation, Constant):
        return [module.constants.array(operation.value)]
    if isinstance(operation, Cluster):
        inside: dict[Value, Array] = dict(zip(operation.body.block.arguments, operands, strict=True))
        return _block(operation.body.block, inside, module, symbols)
    assert isinstance(operation, GraphOp)
    found = with_numbers(operation, symbols).reference(*operands)
    return list(found) if isinstance(found, tuple) else [found]


MakeBench = Callable[[Module], Bench]


@pytest.fixture
def module_bench() -> MakeBench:
    """A bench around a module that the test has built."""

    def make(module: Module) -> Bench:
        verify(module)
        return Bench(module)

    return make


@pytest.fixture
def bench() -> Callable[[str], Bench]:
    """`bench("(%x: f32[n]) { ... }")`: a module of one function @main."""

    def make(text: str) -> Bench:
        module = parse_module("module {\n graph.func @main" + text + "\n}")
        verify(module)
        return Bench(module)

    return make

