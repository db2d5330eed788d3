"""graph.place-parts: concats, and slices that no kernel takes in, become views of memory.

Before:
    %1 = graph.cluster inputs(%x, %w) {... graph.conv ...} : f32[n, 8, 8, 64]
    %2 = graph.cluster inputs(%1, %v) {... graph.conv ...} : f32[n, 8, 8, 32]
    %3 = graph.cluster inputs(%1, %2) {
    ^(%4: f32[n, 8, 8, 64], %5: f32[n, 8, 8, 32]):
      %6 = graph.concat %4, %5 {axis = 3} : f32[n, 8, 8, 96]
      graph.yield %6
    } : f32[n, 8, 8, 96]
After:
    %1 = ...
    %2 = ...
    %3 = graph.concat %1, %2 {axis = 3} : f32[n, 8, 8, 96]

Outside of a cluster a concat is no kernel: `kernel.lower` lets the kernels that make its operands write them into their
parts of its buffer, and everybody else reads them there.  A slice outside is a part of its operand's buffer.  Where a
concat is padded (`Pad.is_frame`), the parts lie in the middle of the padded buffer.

Needs: `graph.cluster`.  Leaves: each operand of a concat outside made by a cluster (views between them do not count),
and in no other place.  What cannot be made in its part is copied there by a cluster of its own: an input or a constant,
what the model gives as a result, what is in this or another concat already, what is viewed with dims that the part's
strides do not give.  Refuses: a concat of which more operands would be copied than not, for one kernel copies them in
less time; a slice that turns around or skips elements of the last dim, which vectors could not read; and one that the
model gives as a result, or that the host reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from headrace.ir.core import Block, Operation, OpResult, Region, Value, producer
from headrace.ir.graph.families import tensor
from headrace.ir.graph.linear import ZERO
from headrace.ir.graph.ops.cluster import Cluster
from headrace.ir.graph.ops.concat import Concat
from headrace.ir.graph.ops.func import GraphFunc, Yield
from headrace.ir.graph.ops.pad import Pad
from headrace.ir.graph.ops.slice import Slice
from headrace.ir.graph.places import Part, Places, operand_parts, sliced_start, sliced_strides
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.rewrite import Builder, Rewriter


@dataclass(frozen=True)
class PlaceParts(Pass):
    """No options."""

    summary = "concats and slices become views of memory"
    effect = "exact"

    def run(self, module: Module, rewriter: Rewriter, context: PassContext) -> None:
        for function in module.functions(GraphFunc):
            if not function.stands_for_constant:
                _Placing(function, rewriter).run()


class _Placing:
    """One function, from its end to its start: where a concat lies is settled before where its operands do."""

    def __init__(self, function: GraphFunc, rewriter: Rewriter) -> None:
        self.block = function.block
        self.rewriter = rewriter
        self.places = Places(function)

    def run(self) -> None:
        for operation in reversed(list(self.block.body)):
            if not isinstance(operation, Cluster) or operation.rows or len(operation.results) != 1:
                continue
            (made,) = operation.body.block.terminator.operands
            pad = producer(made, Pad)
            concat = producer(pad.x if pad is not None and pad.is_frame else made, Concat)
            part = producer(made, Slice)
            if concat is not None:
                self._concat(operation, concat, pad)
            elif part is not None and len(operation.body.block.body) == 1:
                self._slice(operation, part)

    # ---- slices ------------------------------------------------------------------------------------------

    def _slice(self, cluster: Cluster, part: Slice) -> None:
        """Lets a slice be a view, where all its readers can do with that."""
        (x,), result, places = cluster.inputs, cluster.result, self.places
        strides = places.strides(x)
        readable = part.steps[-1:] == (1,) and all(step > 0 for step in part.steps)
        if strides is None or x in places.lazy or places.part(result) is not None or not readable:
            return
        if not places.try_part(result, Part(x, sliced_start(part, strides), sliced_strides(part, strides))):
            return
        places.forget(result)  # it follows from the operation outside
        view = self.rewriter.before(cluster).add(Slice(x, part.starts, part.sizes, part.steps))
        view.location = part.location
        self.rewriter.replace(cluster, view.results)

    # ---- concats -----------------------------------------------------------------------------------------

    def _concat(self, cluster: Cluster, concat: Concat, pad: Pad | None) -> None:
        """Lets the operands of a concat be made in their parts, if that is worth it."""
        outside: dict[Value, Value] = dict(zip(cluster.body.block.arguments, cluster.inputs, strict=True))
        strides = self.places.strides(cluster.result)
        assert strides is not None, "a cluster's result is no view"
        if not self.places.is_known(cluster.result) or (pad is not None and not self.places.is_dense(cluster.result)):
            return
        first = ZERO
        if pad is not None:
            ((first, strides),) = operand_parts(pad, strides)
        parts = [Part(cluster.result, first + start, s) for start, s in operand_parts(concat, strides)]
        placed = [x in outside and self.places.place(outside[x], p) for x, p in zip(concat.xs, parts, strict=True)]
        if placed.count(False) > placed.count(True):
            for x, done in zip(concat.xs, placed, strict=True):
                if done:
                    self.places.forget(outside[x])
            return
        xs = [outside[x] if done else self._copied(cluster, x) for x, done in zip(concat.xs, placed, strict=True)]
        for x, part, done in zip(xs, parts, placed, strict=True):
            if not done:
                assert self.places.place(x, part), "nobody else knows of the copy"
        self._take_out(cluster, concat, pad, xs)

    def _take_out(self, cluster: Cluster, concat: Concat, pad: Pad | None, xs: Sequence[Value]) -> None:
        """The concat, and the padding around it, in the place of their cluster."""
        before = self.rewriter.before(cluster)
        before.location = concat.location
        whole = before.add(Concat(tuple(xs), concat.axis), concat.result.hint).result
        if pad is not None:
            before.location = pad.location
            inside = whole
            whole = before.add(Pad(inside, pad.before, pad.after, pad.value), cluster.result.hint).result
        self.places.rename(cluster.result, whole)
        self.rewriter.replace(cluster, [whole])

    def _copied(self, cluster: Cluster, x: Value) -> Value:
        """What the cluster reads as `x`, made by a cluster of its own."""
        needed = _needed(x)
        body = Block()
        copies: dict[Value, Value] = {}
        inputs: list[Value] = []
        for argument, given in zip(cluster.body.block.arguments, cluster.inputs, strict=True):
            if argument is x or any(argument in o.operands for o in needed):
                inputs.append(given)
                copies[argument] = body.add_argument(given.type, argument.hint)
        builder = Builder(body)
        for operation in needed:
            builder.add(operation.clone(copies))
        if not needed:
            dims = tensor(x).dims
            same = Slice(copies[x], (ZERO,) * len(dims), dims, (1,) * len(dims))
            copies[x] = builder.add(same).result
            same.location = cluster.location
        builder.add(Yield((copies[x],)))
        new = Cluster(tuple(inputs), Region(body))
        new.location = cluster.location
        return self.rewriter.before(cluster).add(new, x.hint).result


def _needed(x: Value) -> list[Operation]:
    """The operations of a cluster that make a value, in their order."""
    found: dict[Operation, None] = {}

    def visit(value: Value) -> None:
        if isinstance(value, OpResult) and value.operation not in found:
            for operand in value.operation.operands:
                visit(operand)
            found[value.operation] = None

    visit(x)
    return list(found)
