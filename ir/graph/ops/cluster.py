"""graph.cluster: operations that become one kernel.

    %y = graph.cluster inputs(%x, %w, %b) {
    ^(%0: f32[n, 64], %1: f32[64, 10], %2: f32[10]):
      %3 = graph.matmul %0, %1 : f32[n, 10]
      %4 = graph.add %3, %2 : f32[n, 10]
      graph.yield %4
    } : f32[n, 10]

The region sees its arguments only.  It holds at most one `Reducing` operation, whose consumers inside read it
at their own index (an epilogue), and whose producers are pulled into its reads.

With `rows` > 0 the region holds clusters instead, which are computed one after the other, row by row: a row is an
index of the first `rows` dims, which all their results have in common, and what one of them reads of another's
result lies in the same row.

    %y = graph.cluster inputs(%x) {rows = 1} {
    ^(%0: f32[n, 64]):
      %1 = graph.cluster inputs(%0) {
      ^(%0: f32[n, 64]):
        %1 = graph.reduce %0 {kind = max, axes = [1], keepdims = true} : f32[n, 1]
        graph.yield %1
      } : f32[n, 1]
      %2 = graph.cluster inputs(%0, %1) {
      ^(%0: f32[n, 64], %1: f32[n, 1]):
        %2 = graph.sub %0, %1 : f32[n, 64]
        graph.yield %2
      } : f32[n, 64]
      graph.yield %2
    } : f32[n, 64]
"""

from __future__ import annotations

from collections.abc import Sequence

from headrace.ir.core import Operation, Region, Value
from headrace.ir.declare import op
from headrace.ir.types import Type


@op("graph.cluster")
class Cluster(Operation):
    """What its region yields."""

    inputs: tuple[Value, ...]
    body: Region
    rows: int = 0

    is_isolated = True

    def infer(self) -> Sequence[Type]:
        return [o.type for o in self.body.block.terminator.operands]

    def verify_op(self) -> None:
        found = [a.type for a in self.body.block.arguments]
        if found != [i.type for i in self.inputs]:
            raise self.fail("the region's arguments differ from the inputs' types")
        if self.rows and not all(isinstance(o, Cluster) for o in self.body.block.body):
            raise self.fail(f"rows is {self.rows}, but not all operations in it are clusters")
