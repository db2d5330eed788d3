"""Kernels as loops become text in a language of the C family: one function each.

    emit_c(functions) -> str        C11 with the ABI of CPU kernels; `kernel_name` gives the C name of each
    emit_opencl(functions) -> str   OpenCL C 1.2, launched as `task_count` workgroups of `group_size` work-items

`codegen.scratch` says the scratch that a kernel needs.  C text stands alone: `<math.h>`, `<stdbool.h>`, `<stdint.h>`
and helpers for what C leaves open (rounding of division, NaN in minima, saturation).  A vector is an array and a loop
over its lanes, so any compiler takes it.  What the family shares is in `body`, `arithmetic`, `formulas` and `types`;
what sets the languages apart in `language`, and in `emit` and `opencl`, which print what stands around a body.
"""

from headrace.codegen.clike.emit import emit_c
from headrace.codegen.clike.opencl import emit_opencl, group_size
from headrace.codegen.clike.types import kernel_name

__all__ = ["emit_c", "emit_opencl", "group_size", "kernel_name"]
