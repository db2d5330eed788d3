"""One LLVM module of several kernels.

In: kernels as loops, and the target's facts.  Out: LLVM IR text: the functions, visible to the linker alone, and
declarations of intrinsics.  The text depends on nothing but its input.
"""

from __future__ import annotations

from collections.abc import Sequence

from headrace.codegen.llvm.function import FunctionEmitter
from headrace.ir.facts import TargetFacts
from headrace.ir.kernel.ops.func import KernelFunc

# nounwind: no unwind tables.  no-builtins: no loop becomes a call of memcpy.  no-jump-tables: no addresses in data.
# Denormals as IEEE 754 says.  min-legal-vector-width must stay away: it splits 512-bit vectors.
_ATTRIBUTES = 'attributes #0 = { nounwind "no-builtins" "no-jump-tables"="true" "denormal-fp-math"="ieee,ieee" }'


def emit_module(functions: Sequence[KernelFunc], facts: TargetFacts) -> str:
    """LLVM IR text that defines `@NAME` for each kernel.  Raises CodegenError for what has no form here."""
    emitters = [FunctionEmitter(f, facts) for f in functions]
    texts = [emitter.emit() for emitter in emitters]
    declared: dict[str, str] = {}
    for emitter in emitters:
        declared |= emitter.code.declared
    header = f'target triple = "{facts.triple}"'
    return "\n\n".join([header, *texts, "\n".join(declared[n] for n in sorted(declared)), _ATTRIBUTES]) + "\n"
