"""Products of matrices on their way to a matrix unit: what tests of `kernel.mma` and of its passes share.

In: element types, which operands are transposed, a tile, and where its operands lie.  Out: a kernel whose innermost map
`kernel.tensorize` takes, `x` [m, n] times `w` [n, COLUMNS], with any m and n; and arrays for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from headrace.ir.module import Module
from headrace.ir.pass_base import PassContext
from headrace.ir.pass_manager import Hooks, PassManager
from headrace.ir.pipeline import Pipeline
from headrace.ir.text import parse_module
from headrace.ir.types import DTYPES

Array = np.ndarray[Any, Any]
COLUMNS = 11
TYPES = [
    ("f32", "f32", "f32"), ("f16", "f16", "f32"), ("bf16", "bf16", "f32"),
    ("i8", "i8", "i32"), ("u8", "u8", "i32"), ("i8", "u8", "i32"), ("u8", "i8", "i32"),
]  # fmt: skip
AXIS = "k_i"  # what the map sums up along


@dataclass(frozen=True)
class Product:
    """`threads`: tiles of columns are a workgroup's threads; `staged`: operands lie in its memory; `doubled`: twice;
    `padded`: terms that do not exist are zeros."""

    lhs: str = "f32"
    rhs: str = "f32"
    into: str = "f32"
    transposed: tuple[bool, bool] = (False, False)
    tile: tuple[int, int, int] = (4, 3, 6)
    threads: bool = False
    staged: bool = False
    doubled: bool = False
    padded: bool = False

    def structured(self) -> Module:
        """One operation, which no schedule has touched."""
        x, xi = ("n, m", "k, i") if self.transposed[0] else ("m, n", "i, k")
        w, wi = (f"{COLUMNS}, n", "j, k") if self.transposed[1] else (f"n, {COLUMNS}", "k, j")
        zero = "0.0" if self.into == "f32" else "0"
        return parse_module(f"""
        kernel.func @f(%x: buffer<{self.lhs}[{x}]>, %w: buffer<{self.rhs}[{w}]>, %y: buffer<{self.into}[m, {COLUMNS}]>)
            {{outputs = 1, scalars = ["m", "n"]}} {{
          kernel.reduce (i: parallel m, j: parallel {COLUMNS}, k: reduction n)
              reads(%x[{xi}], %w[{wi}]) writes(%y[i, j])
            init {{ %z = kernel.constant {{value = {zero}, type = {self.into}}} : {self.into}   kernel.yield %z }}
            step {{
            ^(%a: {self.lhs}, %b: {self.rhs}, %acc: {self.into}):
              {self._product()}
              kernel.yield %s
            }}
            combine {{
            ^(%p: {self.into}, %q: {self.into}):
              %s = kernel.add %p, %q : {self.into}
              kernel.yield %s
            }}
            finish {{ ^(%acc: {self.into}):  kernel.yield %acc }}
        }}
        """)

    def _product(self) -> str:
        if self.lhs == self.into:
            return f"%s = kernel.muladd %a, %b, %acc : {self.into}"
        kind = self.into
        casts = (f"%{new} = kernel.cast %{old} {{dtype = {kind}}} : {kind}" for old, new in ("ac", "bd"))
        return "\n".join([*casts, f"%s = kernel.muladd %c, %d, %acc : {kind}"])

    def tiled(self) -> Module:
        """Tiles of results for each workgroup, or thread of it, which sums up in registers, tile after tile."""
        (m, n, k), loops = self.tile, ("grid", "thread") if self.threads else ("task", "task")
        steps = [
            f"tile{{func=f axis=i by={m}}}",
            f"tile{{func=f axis=j by={n}}}",
            f"tile{{func=f axis=k by={k}}}",
            "reorder{func=f axes=[i_o j_o k_o k_i i_i j_i]}",
            *(f"bind{{func=f axes=[{axis}] kind={kind}}}" for axis, kind in zip(("i_o", "j_o"), loops, strict=True)),
            "bind{func=f axes=[i_i j_i] kind=unroll}",
            *(f"enclose{{func=f axes=[{axes}]}}" for axes in (("i_o", "j_o") if self.threads else ("i_o j_o",))),
            "accumulate{func=f axes=[k_o]}",
        ]
        if self.padded:
            steps.append(f"pad-reduction{{func=f axis={AXIS}}}")
        if self.staged:
            steps.append(f"stage-shared{{func=f axis={AXIS} reads=[0 1]}}")
        if self.doubled:
            steps.append("double-buffer{func=f axis=k_o}")
        return passed(self.structured(), ", ".join(f"kernel.{step}" for step in steps))

    def inputs(self, m: int, n: int) -> list[Array]:
        """Numbers whose products and sums are exact in the accumulator's type, whatever the order."""
        rng = np.random.default_rng(m * 100 + n)
        shapes = [(m, n), (n, COLUMNS)]
        arrays = []
        for kind, shape, is_transposed in zip((self.lhs, self.rhs), shapes, self.transposed, strict=True):
            dtype = DTYPES[kind]
            low = 0 if dtype.kind == "uint" else -100
            numbers = rng.integers(low, 100, shape[::-1] if is_transposed else shape)
            arrays.append(numbers.astype(dtype.numpy))
        return arrays


def passed(module: Module, pipeline: str, context: PassContext | None = None) -> Module:
    """The module, behind passes, each of which leaves valid IR."""
    PassManager(Pipeline.parse(pipeline), context or PassContext(), Hooks(verify_each="structure")).run(module)
    return module
