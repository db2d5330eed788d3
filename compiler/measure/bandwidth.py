"""How fast memory can be read, cache by cache: sums over arrays of several sizes.

In: a machine, how many threads.  Out: GB/s of all threads together, by the bytes that they read over and over.
Sixteen independent sums hide the latency of an addition; one result in `BLOCK` reads is stored.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from headrace.compiler.measure.machine import Machine, aligned, shortest
from headrace.compiler.measure.threads import on_threads

SIZES = tuple(2**n for n in (14, 16, 18, 20, 22, 24, 27))  # bytes: from half a first-level cache to far beyond all
SUMS, STEPS = 16, 16
WORTH = 2**22  # bytes read in a call at least, so that the call itself costs nothing


def bandwidth(machine: Machine, threads: int = 1) -> Mapping[int, float]:
    """GB/s by size; a thread reads its part of the size."""
    lanes = machine.facts.lanes(4)
    block = SUMS * STEPS * lanes  # elements
    vector = f"vector<{lanes}xf32>"
    text = f"""
    kernel.func @read(%x: buffer<f32[blocks, {STEPS}, {SUMS}, {lanes}]>, %y: buffer<f32[blocks, {lanes}]>)
        {{outputs = 1, scalars = ["blocks", "times"]}} {{
      kernel.parallel (t: task times, b: task blocks) {{
        %a = kernel.alloc {{type = buffer<f32[{SUMS}, {lanes}], register>}} : buffer<f32[{SUMS}, {lanes}], register>
        kernel.for (z: unroll {SUMS}) {{
          %p = kernel.load %x[b, 0, z, 0] {{lanes = {lanes}}} : {vector}
          kernel.store %p, %a[z, 0]
        }}
        kernel.for (s: sequential {STEPS - 1}) {{
          kernel.for (u: unroll {SUMS}) {{
            %p = kernel.load %x[b, s + 1, u, 0] {{lanes = {lanes}}} : {vector}
            %q = kernel.load %a[u, 0] {{lanes = {lanes}}} : {vector}
            %r = kernel.add %p, %q : {vector}
            kernel.store %r, %a[u, 0]
          }}
        }}
        kernel.for (w: unroll {SUMS - 1}) {{
          %p = kernel.load %a[0, 0] {{lanes = {lanes}}} : {vector}
          %q = kernel.load %a[w + 1, 0] {{lanes = {lanes}}} : {vector}
          %r = kernel.add %p, %q : {vector}
          kernel.store %r, %a[0, 0]
        }}
        %v = kernel.load %a[0, 0] {{lanes = {lanes}}} : {vector}
        kernel.store %v, %y[b, 0]
      }}
    }}
    """
    kernel = machine.load_text(text)

    def at(size: int) -> float:
        blocks = max(1, size // threads // (4 * block))
        times = max(1, WORTH // (4 * block * blocks))

        def one() -> float:
            x = aligned(np.ones(blocks * block, np.float32))
            y = aligned(np.zeros(blocks * lanes, np.float32))
            seconds = shortest(kernel, [x, y], [blocks, times], blocks * times, 0.05)
            return 4 * block * blocks * times / seconds / 1e9

        return sum(on_threads(one, threads))

    return {size: at(size) for size in SIZES}
