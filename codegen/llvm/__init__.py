"""Kernels as loops in, LLVM IR text out.  No LLVM IR pass needs to run on it; code generation alone is enough.

`function` walks a kernel and its control flow, `code` holds the text under construction and places index
formulas as far out of the loops as they may stand, `memory` prints loads and stores, `registers` turns register
buffers into SSA values, `arithmetic` and `half` print what computes.
"""

from headrace.codegen.llvm.module import emit_module
from headrace.codegen.scratch import SCRATCH_ALIGNMENT, scratch_bytes

__all__ = ["SCRATCH_ALIGNMENT", "emit_module", "scratch_bytes"]
