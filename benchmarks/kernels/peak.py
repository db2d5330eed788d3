"""The core's multiply-add peak, measured: a kernel of independent fused multiply-adds and nothing else.

In: a preset's facts.  Out: the text of a `.hir` file whose only kernel does that, and how many operations it is.
"""

from __future__ import annotations

from dataclasses import dataclass

from headrace.ir.facts import TargetFacts

STEPS = 100_000


@dataclass(frozen=True, slots=True)
class Peak:
    """A program `.hir` from x f32[lanes] to y f32[lanes], and its floating-point operations a run."""

    text: str
    operations: int


def peak_kernel(facts: TargetFacts) -> Peak:
    """Enough accumulators to hide the latency of an fma (4 cycles, two a cycle), few enough for the registers."""
    lanes = facts.lanes(4)
    sums = 12 if facts.vector_registers < 32 else 24
    text = f"""
module {{
  program.func @main(%x: buffer<f32[{lanes}]>, %y: buffer<f32[{lanes}]>) {{outputs = 1, input_names = ["x"], output_names = ["y"]}} {{
    program.launch buffers(%x, %y) {{kernel = @peak, scalars = []}}
  }}
  kernel.func @peak(%x: buffer<f32[{lanes}]>, %y: buffer<f32[{lanes}]>) {{outputs = 1}} {{
    %v = kernel.load %x[0] {{lanes = {lanes}}} : vector<{lanes}xf32>
    %acc = kernel.alloc {{type = buffer<f32[{sums}, {lanes}], register>}} : buffer<f32[{sums}, {lanes}], register>
    kernel.for (i: unroll {sums}) {{ kernel.store %v, %acc[i, 0] }}
    kernel.for (k: sequential {STEPS}) {{
      kernel.for (j: unroll {sums}) {{
        %a = kernel.load %acc[j, 0] {{lanes = {lanes}}} : vector<{lanes}xf32>
        %b = kernel.fma %v, %v, %a : vector<{lanes}xf32>
        kernel.store %b, %acc[j, 0]
      }}
    }}
    %total = kernel.alloc {{type = buffer<f32[{lanes}], register>}} : buffer<f32[{lanes}], register>
    kernel.store %v, %total[0]
    kernel.for (l: unroll {sums}) {{
      %c = kernel.load %acc[l, 0] {{lanes = {lanes}}} : vector<{lanes}xf32>
      %d = kernel.load %total[0] {{lanes = {lanes}}} : vector<{lanes}xf32>
      %e = kernel.add %c, %d : vector<{lanes}xf32>
      kernel.store %e, %total[0]
    }}
    %f = kernel.load %total[0] {{lanes = {lanes}}} : vector<{lanes}xf32>
    kernel.store %f, %y[0]
  }}
}}
"""  # noqa: E501
    return Peak(text, 2 * STEPS * sums * lanes)
