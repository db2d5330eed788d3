"""kernel.expand-math: write exp, log, tanh, erf, sin, cos, atan and casts of narrow types out in arithmetic.

Before:
    %y = kernel.tanh %x : f16
After:
    %w = kernel.cast %x {dtype = f32} : f32
    %a = kernel.abs %w : f32
    ...                          a polynomial near 0, an exponential elsewhere, and a select: about 45 operations
    %y = kernel.cast %s {dtype = f16} : f16

Leaves: no `kernel.exp`, `kernel.exp_nonpositive`, `kernel.log`, `kernel.tanh`, `kernel.erf`, `kernel.sin`, `kernel.cos`
or `kernel.atan`, and no `kernel.cast` from or to a narrow type, whose bits integers take apart and put together.  Works
on both tiers, scalars and vectors alike.
Numbers: the largest error in f32, measured over all floats: exp 1.0 ulp, log 0.8 ulp, tanh 1.1 ulp, erf 1.1 ulp, sin
and cos 1.5 ulp, atan 2.0 ulp; docs/numerics.md has the table.  f16 and bf16 are computed in f32 and rounded.  Refuses:
an operation for which there is no expansion; a machine has no instruction for it, and no library is there to be called.
"""

from __future__ import annotations

from dataclasses import dataclass

from headrace.ir.core import Value, walk
from headrace.ir.errors import PassError
from headrace.ir.kernel.build import ScalarBuilder
from headrace.ir.kernel.ops.convert import Cast
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.kernel.ops.scalar import Transcendental
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.rewrite import Rewriter
from headrace.ir.types import F32, element_dtype
from headrace.passes.lowering import elementary, narrow, trigonometry
from headrace.passes.lowering.trigonometry import Trigonometric

FUNCTIONS = {**elementary.FUNCTIONS, **trigonometry.FUNCTIONS}


@dataclass(frozen=True)
class ExpandMath(Pass):
    """No options."""

    summary = "write functions and casts of narrow types out in arithmetic"
    effect = "approximates"
    bound_ulp = 2.0

    def run(self, module: Module, rewriter: Rewriter, context: PassContext) -> None:
        for function in module.functions(KernelFunc):
            for operation in list(walk(function, Transcendental)):
                if operation.name not in FUNCTIONS:
                    place = f"@{function.function_name}: {operation.name} at {operation.location}"
                    raise PassError(f"{place} has no expansion")
                builder = ScalarBuilder(rewriter.before(operation))
                rewriter.replace(operation, [_expanded(builder, operation.name, operation.operands[0])])
            for cast in list(walk(function, Cast)):
                if "narrow" in (element_dtype(cast.x.type).kind, cast.dtype.kind):
                    builder = ScalarBuilder(rewriter.before(cast))
                    rewriter.replace(cast, [narrow.cast(builder, cast.x, cast.dtype)])


def _expanded(builder: ScalarBuilder, name: str, x: Value) -> Value:
    dtype = element_dtype(x.type)
    if dtype.bits == 16:
        return builder.cast(FUNCTIONS[name](Trigonometric(builder, builder.cast(x, F32))), dtype)
    return FUNCTIONS[name](Trigonometric(builder, x))
