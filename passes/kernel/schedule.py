"""kernel.schedule: run the steps that the target's schedule takes for each kernel.

Before:
    kernel.reduce (i0: parallel m, i1: parallel n, k: reduction 768) ...
After, on a target with 16 lanes:
    kernel.reduce (i1_o: task n floordiv 64, i0_o: task ..., k: reduction 768, i0_i: unroll 6, i1_i: vector 16) ...

The steps are ordinary passes (`kernel.tile{func=f axis=i0 by=6}`), so that each can be printed, checked and
replayed by `headrace opt`.  Needs: structured kernels.  Leaves: axes in an order that `kernel.realize` takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from headrace.ir.errors import PassError
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.module import Module
from headrace.ir.pass_base import Expanding, PassContext


@dataclass(frozen=True)
class ScheduleKernels(Expanding):
    """No options."""

    summary = "run the steps of the target's schedule for each kernel"
    effect = "exact"

    def expand(self, module: Module, context: PassContext) -> Sequence[str]:
        if context.facts is None or context.schedule is None:
            raise PassError("kernel.schedule: no target given; its schedule decides the steps")
        steps: list[str] = []
        for function in module.functions(KernelFunc):
            steps += context.schedule(function, context.facts)
        return steps
