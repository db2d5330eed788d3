"""relu(x w + b): w packed in panels, x in place, the number of rows known at run time only.

In: a machine, a tile, a shape.  Out: GFLOP/s.  The result is compared with numpy's before anything is timed.
"""

from __future__ import annotations

import numpy as np

from benchmarks.kernels.machine import Machine, aligned, prepared, shortest
from headrace.passes.kernel.bind import Bind
from headrace.passes.kernel.realize import Realize
from headrace.passes.kernel.reorder import Reorder
from headrace.passes.kernel.tile import Tile

SHAPES = ((128, 768, 768), (49, 2048, 512), (3136, 64, 64))  # rows, inner, columns
TILES = {16: ((6, 2), (4, 3)), 32: ((6, 4), (8, 3))}  # by vector registers: rows, vectors


def gemm(machine: Machine, rows: int, vectors: int, m: int, k: int, n: int) -> float:
    width = vectors * machine.facts.lanes(4)
    panels = -(-n // width)
    steps = _schedule(rows, machine.facts.lanes(4))
    kernel = machine.load(prepared(_text(k, n, panels, width), steps, machine.facts))
    rng = np.random.default_rng(0)
    x, w, b = (aligned(rng.standard_normal(shape, dtype=np.float32)) for shape in ((m, k), (k, n), (n,)))
    padded = np.zeros((k, panels * width), np.float32)
    padded[:, :n] = w
    packed = aligned(np.ascontiguousarray(padded.reshape(k, panels, width).transpose(1, 0, 2)))
    y = aligned(np.zeros((m, n), np.float32))
    buffers, tasks = [x, packed, b, y], panels * -(-m // rows)
    seconds = shortest(kernel, buffers, [m], tasks)
    exact = np.maximum(x.astype(np.float64) @ w + b, 0)
    assert np.abs(y - exact).max() < 1e-3 * np.sqrt(k), "wrong result"
    return 2 * m * k * n / seconds / 1e9


def _text(k: int, n: int, panels: int, width: int) -> str:
    where = "" if n % width == 0 else f" {{where = [-p*{width} - j + {n - 1}]}}"
    return f"""
    kernel.func @gemm(
        %x: buffer<f32[m, {k}]>, %w: buffer<f32[{panels}, {k}, {width}]>, %b: buffer<f32[{n}]>, %y: buffer<f32[m, {n}]>
    ) {{outputs = 1, scalars = ["m"]}} {{
      kernel.reduce (p: parallel {panels}, i: parallel m, k: reduction {k}, j: parallel {width})
          reads(%x[i, k], %w[p, k, j]) late(%b[p*{width} + j]) writes(%y[i, p*{width} + j]){where}
        init {{ %z = kernel.constant {{value = 0.0, type = f32}} : f32   kernel.yield %z }}
        step {{ ^(%a: f32, %c: f32, %acc: f32):  %s = kernel.muladd %a, %c, %acc : f32   kernel.yield %s }}
        combine {{ ^(%p: f32, %q: f32):  %s = kernel.add %p, %q : f32   kernel.yield %s }}
        finish {{ ^(%acc: f32, %c: f32):
          %s = kernel.add %acc, %c : f32
          %z = kernel.constant {{value = 0.0, type = f32}} : f32
          %r = kernel.max %s, %z : f32
          kernel.yield %r
        }}
    }}
    """


def _schedule(rows: int, lanes: int) -> list[Tile | Reorder | Bind | Realize]:
    return [
        Tile("gemm", "j", lanes),
        Tile("gemm", "i", rows),
        Reorder("gemm", ("p", "i_o", "k", "i_i", "j_o", "j_i")),
        Bind("gemm", ("p", "i_o"), "task"),
        Bind("gemm", ("i_i", "j_o"), "unroll"),
        Bind("gemm", ("j_i",), "vector"),
        Realize(),
    ]
