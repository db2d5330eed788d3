"""Bugs for as long as a `with` lasts, in processes that are forked meanwhile: in a pass, in an operation's code."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

from headrace.ir.core import Operation, walk
from headrace.ir.graph.families import Elementwise
from headrace.ir.pass_registry import find_pass


def pass_that_meets(name: str, kind: str, do: Callable[[], object]) -> AbstractContextManager[object]:
    """A pass does something bad where the module has an operation of a kind."""
    cls = find_pass(name)
    right = cls.run

    def run(self: Any, module: Any, rewriter: Any, context: Any) -> None:
        if any(o.name == kind for o in walk(module, Operation)):
            do()
        right(self, module, rewriter, context)

    return mock.patch.object(cls, "run", run)


def fail() -> None:
    raise AssertionError("planted")


def wrong_code_of(cls: type[Elementwise]) -> AbstractContextManager[object]:
    """Compiled code gives a little too much; the interpreter does not."""
    right = cls.scalar

    def scalar(self: Any, b: Any, *xs: Any) -> Any:
        return b.add(right(self, b, *xs), b.constant(0.01, xs[0]))

    return mock.patch.object(cls, "scalar", scalar)
