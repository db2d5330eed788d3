"""exp, log, tanh, erf on an array in the second-level cache.  In: a machine.  Out: nanoseconds an element, by name."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.kernels.machine import Machine, aligned, prepared, shortest
from headrace.passes.kernel.expand_math import ExpandMath

ELEMENTS = 16384


def functions(machine: Machine) -> Iterator[tuple[str, float]]:
    lanes = machine.facts.lanes(4)
    vector = f"vector<{lanes}xf32>"
    for name in ("exp", "log", "tanh", "erf"):
        text = f"""
        kernel.func @f(%x: buffer<f32[n]>, %y: buffer<f32[n]>) {{outputs = 1, scalars = ["n"]}} {{
          kernel.parallel (i: task n floordiv {lanes}) {{
            %a = kernel.load %x[i*{lanes}] {{lanes = {lanes}}} : {vector}
            %b = kernel.{name} %a : {vector}
            kernel.store %b, %y[i*{lanes}]
          }}
        }}
        """
        kernel = machine.load(prepared(text, [ExpandMath()], machine.facts))
        x = aligned(np.linspace(0.1, 4, ELEMENTS, dtype=np.float32))
        seconds = shortest(kernel, [x, aligned(np.zeros_like(x))], [ELEMENTS], ELEMENTS // lanes, 0.1)
        yield name, seconds / ELEMENTS * 1e9
