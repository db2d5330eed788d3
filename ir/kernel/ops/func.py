"""kernel.func: one kernel.

    kernel.func @relu(%x: buffer<f32[n]>, %y: buffer<f32[n]>) {outputs = 1, scalars = ["n"]} {
      kernel.map (i: parallel n) reads(%x[i]) writes(%y[i]) {
      ^(%a: f32):
        %b = kernel.constant {value = 0.0, type = f32} : f32
        %c = kernel.max %a, %b : f32
        kernel.yield %c
      }
    }

The last `outputs` parameters are written, the others read only; parameters never overlap, but for pairs of an operand
and a result that `in_place` lists one after the other, as numbers of parameters: these may be the same buffer, whose
elements are each read by the point that then writes it (`headrace.ir.kernel.in_place`).  `scalars` lists the dim
symbols that the launch passes, in order: every symbol in the parameters' types and in the body that is no
axis is among them; `requires` are formulas of these that are 0 or more in every launch.  The function has no results
and its block no terminator.  `work`, where it is noted, is how many arithmetic operations a launch does and how many
bytes of its buffers it touches, as formulas of the scalars (see `kernel.count-work`); it means nothing to what is
computed.
"""

from __future__ import annotations

from headrace.ir.access import SymbolRef
from headrace.ir.core import Region
from headrace.ir.declare import op
from headrace.ir.dims import Dim
from headrace.ir.module import BufferFunction


@op("kernel.func")
class KernelFunc(BufferFunction):
    """One kernel: parameters are buffers in space `global`."""

    symbol: SymbolRef
    body: Region
    outputs: int
    facts: tuple[str, ...] = ()
    scalars: tuple[str, ...] = ()
    requires: tuple[Dim, ...] = ()
    work: tuple[Dim, ...] = ()
    in_place: tuple[int, ...] = ()

    def verify_op(self) -> None:
        if not 0 <= self.outputs <= len(self.parameters):
            raise self.fail(f"outputs is {self.outputs}, but there are {len(self.parameters)} parameters")
        for parameter in self.parameters:
            kind = self.check_buffer(parameter)
            sizes = (*kind.dims, *(kind.strides or ()))
            unknown = {s for d in sizes for s in d.symbols} - set(self.scalars)
            if unknown:
                raise self.fail(f"symbol {min(unknown)!r} of parameter {parameter.index} is not among the scalars")
        first = len(self.parameters) - self.outputs
        operands, results = self.in_place[::2], self.in_place[1::2]
        if len(operands) != len(results) or not all(
            0 <= o < first <= r < len(self.parameters) for o, r in zip(operands, results, strict=True)
        ):
            raise self.fail(f"in_place is {list(self.in_place)}, expected operands, each with a result behind it")
        if len(self.work) not in (0, 2):
            raise self.fail(f"work is {len(self.work)} formulas, expected two: operations and bytes")
        for name, formulas in (("work", self.work), ("requires", self.requires)):
            unknown = {s for d in formulas for s in d.symbols} - set(self.scalars)
            if unknown:
                raise self.fail(f"symbol {min(unknown)!r} of {name} is not among the scalars")
