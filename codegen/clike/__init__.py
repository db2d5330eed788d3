"""Kernels as loops become C11 text: one function each, with the kernel ABI.

    emit_c(functions) -> str        `kernel_name` gives the C name of each, `codegen.scratch` the scratch it needs

The text stands alone: `<math.h>`, `<stdbool.h>`, `<stdint.h>` and helpers for what C leaves open (rounding of
division, NaN in minima, saturation).  A vector is an array and a loop over its lanes, so any C compiler takes it.
What the C family shares, and what OpenCL or Ascend C will vary, is in `types`, `formulas` and `arithmetic`.
"""

from headrace.codegen.clike.emit import emit_c
from headrace.codegen.clike.types import kernel_name

__all__ = ["emit_c", "kernel_name"]
