"""What a core can do at most: multiply-adds on registers alone.

In: a machine, how many threads.  Out: GFLOP/s of all of them.  Twelve independent sums hide a multiply-add's latency.
"""

from __future__ import annotations

import numpy as np

from headrace.compiler.measure.machine import Machine, aligned, shortest
from headrace.compiler.measure.threads import on_threads

SUMS, TIMES = 12, 20000


def peak(machine: Machine, threads: int = 1) -> float:
    lanes = machine.facts.lanes(4)
    vector = f"vector<{lanes}xf32>"
    text = f"""
    kernel.func @peak(%x: buffer<f32[{2 * lanes}]>, %y: buffer<f32[{SUMS}, {lanes}]>) {{outputs = 1}} {{
      %a = kernel.alloc {{type = buffer<f32[{SUMS}, {lanes}], register>}} : buffer<f32[{SUMS}, {lanes}], register>
      %p = kernel.load %x[0] {{lanes = {lanes}}} : {vector}
      %q = kernel.load %x[{lanes}] {{lanes = {lanes}}} : {vector}
      kernel.for (s: unroll {SUMS}) {{ kernel.store %p, %a[s, 0] }}
      kernel.for (t: sequential {TIMES}) {{
        kernel.for (u: unroll {SUMS}) {{
          %v = kernel.load %a[u, 0] {{lanes = {lanes}}} : {vector}
          %w = kernel.muladd %p, %q, %v : {vector}
          kernel.store %w, %a[u, 0]
        }}
      }}
      kernel.for (w: unroll {SUMS}) {{
        %v = kernel.load %a[w, 0] {{lanes = {lanes}}} : {vector}
        kernel.store %v, %y[w, 0]
      }}
    }}
    """
    kernel = machine.load_text(text)

    def one() -> float:
        buffers = [aligned(np.full(2 * lanes, 0.5, np.float32)), aligned(np.zeros((SUMS, lanes), np.float32))]
        return 2 * SUMS * lanes * TIMES / shortest(kernel, buffers, [], 1, 0.1) / 1e9

    return sum(on_threads(one, threads))
