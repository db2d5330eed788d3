"""The border of a padded result: what is around the middle that a cluster's kernel writes.

In: a cluster whose region ends in `graph.pad` of something computed in it.  Out: a kernel of its own that fills the
border, one map for each side; the middle is written by the cluster's kernel at indices moved by `before`.  The sides of
dim d reach over all of the dims behind d, and over the middle of those before it: together they are the border, and no
two of them meet.
"""

from __future__ import annotations

from headrace.ir.access import Access, AccessMap, Axis, SymbolRef
from headrace.ir.core import Block, Region, producer
from headrace.ir.dims import Dim
from headrace.ir.graph.families import Movement, tensor
from headrace.ir.graph.linear import ZERO
from headrace.ir.graph.ops.cluster import Cluster
from headrace.ir.graph.ops.pad import Pad
from headrace.ir.kernel.build import ScalarBuilder
from headrace.ir.kernel.ops.control import Yield
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.kernel.ops.structured import Map
from headrace.ir.rewrite import Builder
from headrace.ir.types import BufferType


def padding_of(cluster: Cluster) -> Pad | None:
    """The padding that ends the cluster, if it surrounds what an operation of the cluster computes."""
    results = cluster.body.block.terminator.operands
    pad = producer(results[0], Pad) if len(results) == 1 else None
    if pad is None or pad.x in cluster.body.block.arguments or isinstance(pad.x.owner, Movement):
        return None
    return pad


def border_kernel(pad: Pad, name: str) -> KernelFunc:
    """Fills the border of its one output."""
    kind, middle = tensor(pad.result), tensor(pad.x).dims
    body = Block([BufferType(kind.dtype, kind.dims)], [pad.result.hint])
    builder = Builder(body, None, pad.location)
    for dim, (before, inside, after) in enumerate(zip(pad.before, middle, pad.after, strict=True)):
        for side, (start, extent) in enumerate(((ZERO, before), (before + inside, after))):
            if extent != ZERO:
                _side(pad, f"s{dim}_{side}", dim, start, extent, builder)
    return KernelFunc(SymbolRef(name), Region(body), 1)


def _side(pad: Pad, name: str, dim: int, start: Dim, extent: Dim, builder: Builder) -> None:
    """Fills [start, start + extent) of one dim."""
    kind, middle = tensor(pad.result), tensor(pad.x).dims
    starts = (*pad.before[:dim], start, *[ZERO] * (len(middle) - dim - 1))
    extents = (*middle[:dim], extent, *kind.dims[dim + 1 :])
    axes = tuple(Axis(f"{name}_i{n}", "parallel", e) for n, e in enumerate(extents))
    place = tuple(Dim.symbol(a.name) + s for a, s in zip(axes, starts, strict=True))
    block = Block()
    inside = Builder(block, None, pad.location)
    inside.add(Yield((ScalarBuilder(inside).constant(pad.value, kind.dtype),)))
    builder.add(Map(axes, (), (Access(builder.block.arguments[0], AccessMap(place)),), Region(block)))
