"""kernel.merge-alike: compile kernels that compute the same once.

Before:
    program.launch buffers(%a, %b) {kernel = @relu, scalars = [n]}
    program.launch buffers(%b, %c) {kernel = @relu_1, scalars = [n]}      @relu and @relu_1 differ in name only
After:
    program.launch buffers(%a, %b) {kernel = @relu, scalars = [n]}
    program.launch buffers(%b, %c) {kernel = @relu, scalars = [n]}

Needs: kernels at any tier.  Leaves: the first of those alike.  Names of values and the nodes that a kernel comes
from do not count; each launch keeps its own nodes, so reports lose nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from headrace.ir.access import SymbolRef
from headrace.ir.core import UNKNOWN, walk
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.program.ops.program import Launch
from headrace.ir.rewrite import Rewriter
from headrace.ir.text import print_op


@dataclass(frozen=True)
class MergeAlike(Pass):
    """No options."""

    summary = "compile kernels that compute the same once"

    def run(self, module: Module, rewriter: Rewriter, context: PassContext) -> None:
        first: dict[str, KernelFunc] = {}
        merged: dict[str, SymbolRef] = {}
        for function in module.functions(KernelFunc):
            kept = first.setdefault(_anonymous(function), function)
            if kept is not function:
                merged[function.function_name] = kept.symbol
                rewriter.erase(function)
        for launch in walk(module, Launch):
            if launch.kernel.name in merged:
                rewriter.set_attribute(launch, "kernel", merged[launch.kernel.name])


def _anonymous(function: KernelFunc) -> str:
    """The kernel's text without the names and places that mean nothing."""
    copy = function.clone()
    copy.attributes["symbol"] = SymbolRef("kernel")
    for operation in copy.walk():
        operation.location = UNKNOWN
        values = [*operation.results, *(a for region in operation.regions for a in region.block.arguments)]
        for value in values:
            value.hint = None
    return print_op(copy)
