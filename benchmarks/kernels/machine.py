"""What the kernels here are made of and timed with.  In: kernels as text, passes.  Out: kernels as loops."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.compiler.measure.machine import Array, Machine, aligned, shortest
from headrace.ir.facts import TargetFacts
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.rewrite import Rewriter
from headrace.ir.text import parse_module

__all__ = ["Array", "Machine", "aligned", "prepared", "shortest"]


def prepared(text: str, steps: Sequence[Pass], facts: TargetFacts) -> KernelFunc:
    """The one kernel of a module in text form, after some passes."""
    module: Module = parse_module(text)
    for step in steps:
        step.run(module, Rewriter(), PassContext(facts))
    return next(module.functions(KernelFunc))
