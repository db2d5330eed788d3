"""kernel.share-scratch: move what a workgroup keeps for itself into shared memory, as far as it fits.

Before:
    kernel.parallel (i: grid m) {
      %e = kernel.alloc {type = buffer<f32[64], stack>}
      %s = kernel.alloc {type = buffer<f32[n], stack>}
After `kernel.share-scratch{func=f bytes=32768}`:
    kernel.parallel (i: grid m) {
      %e = kernel.alloc {type = buffer<f32[64], shared>}
      %s = kernel.alloc {type = buffer<f32[n], stack>}

What is left lies in the scratch memory that the launch brings for each workgroup.  Applies to buffers of constant size
beside the loops over threads, the first ones first.  Refuses nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from headrace.ir.core import walk
from headrace.ir.kernel.ops.control import Parallel
from headrace.ir.kernel.ops.memory import Alloc
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.rewrite import Rewriter
from headrace.passes.lowering.axes import kernel_named


@dataclass(frozen=True)
class ShareScratch(Pass):
    """`func`: the kernel; `bytes`: how much shared memory a workgroup may have."""

    func: str
    bytes: int

    summary = "move what a workgroup keeps for itself into shared memory, as far as it fits"
    effect = "exact"

    def run(self, module: Module, rewriter: Rewriter, context: PassContext) -> None:
        function = kernel_named(module, self.func)
        allocs = list(walk(function, Alloc))
        left = self.bytes - sum(a.type.bytes.value for a in allocs if a.type.space == "shared")
        for alloc in allocs:
            above = alloc.parent_op
            beside = isinstance(above, Parallel) and all(a.kind == "grid" for a in above.axes)
            if alloc.type.space != "stack" or not beside or not alloc.type.bytes.is_constant:
                continue
            if alloc.type.bytes.value <= left:
                left -= alloc.type.bytes.value
                rewriter.replace_with(alloc, Alloc(replace(alloc.type, space="shared")))
