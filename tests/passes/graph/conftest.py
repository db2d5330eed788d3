"""What the tests of graph passes share: a module, passes to run on it, and what its function computes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pytest

from headrace.ir.graph.families import Array
from headrace.ir.graph.ops.constant import Constant
from headrace.ir.graph.ops.func import GraphFunc
from headrace.ir.interpret import interpret
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
        """What @main returns, in its dialect's interpreter."""
        return interpret(self.module, "main", arrays, symbols)


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
