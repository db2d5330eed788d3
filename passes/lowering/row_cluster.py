"""A `graph.cluster` of rows becomes a kernel: a task for each row, which runs the row's clusters one after the other.

    kernel.parallel (i0: task n) {
      %m = kernel.alloc {type = buffer<f32[1], stack>}
      %e = kernel.alloc {type = buffer<f32[64], stack>}
      kernel.reduce (r1: reduction 64) reads(%x[i0, r1]) writes(%m[0]) ...
      kernel.map (i1: parallel 64) reads(%x[i0, i1], %m[0]) writes(%e[i1]) ...
      ...
    }

In: the cluster and a name.  Out: as for any cluster.  What one cluster hands to another lies in scratch, without the
dims of the rows.
"""

from __future__ import annotations

from collections.abc import Sequence

from headrace.ir.access import Access, AccessMap, Axis
from headrace.ir.core import Block, BlockArgument, Region, Value
from headrace.ir.dims import Dim
from headrace.ir.graph.cluster_reads import cluster_reads, row_order
from headrace.ir.graph.families import Reducing, tensor
from headrace.ir.graph.ops.cluster import Cluster
from headrace.ir.graph.reads import probe_index
from headrace.ir.kernel.ops.control import Parallel
from headrace.ir.kernel.ops.memory import Alloc
from headrace.ir.rewrite import Builder
from headrace.ir.types import BufferType
from headrace.passes.lowering.names import Names
from headrace.passes.lowering.structured import Context, structured

ONE = Dim.constant(1)


def write_rows(
    cluster: Cluster,
    buffers: dict[Value, Value],
    constants: dict[Value, float | int | bool],
    output: BlockArgument,
    names: Names,
    builder: Builder,
) -> None:
    """Adds the row loop at a builder; `buffers` and `constants` say what the arguments of the cluster's region are."""
    count = cluster.rows
    result = cluster.body.block.terminator.operands[0]
    members = [m for m in cluster.body.block.body if isinstance(m, Cluster)]
    order = _order_of_last(members, count)
    dims = tensor(result).dims
    rows = tuple(Axis(names.fresh(f"i{n}"), "task", dims[o]) for n, o in enumerate(order))
    row = tuple(Dim.symbol(a.name) for a in rows)
    body = Block()
    inside = Builder(body, None, cluster.location)
    local: dict[Value, int] = {}
    for member in members:
        dims = tensor(member.result).dims
        own = row
        if member.result is result:
            buffers[member.result] = output
            own = tuple(row[order.index(n)] for n in range(count))
        else:
            reused = _buffer_in_place(member, members, buffers, local)
            if reused is None:
                kind = BufferType(tensor(member.result).dtype, dims[count:], "stack")
                reused = inside.add(Alloc(kind), member.result.hint).result
            buffers[member.result] = reused
            local[member.result] = count
        axes = [Axis(names.fresh(f"i{count + n}"), "parallel", d) for n, d in enumerate(dims[count:])]
        index = (*own, *(Dim.constant(0) if a.extent == ONE else Dim.symbol(a.name) for a in axes))
        write = Access(buffers[member.result], AccessMap(index[local.get(member.result, 0) :]))
        inner = dict(zip(member.body.block.arguments, member.inputs, strict=True))
        context = Context(
            member,
            {a: buffers[v] for a, v in inner.items() if v in buffers},
            {a: constants[v] for a, v in inner.items() if v in constants},
            names,
            {a: local[v] for a, v in inner.items() if v in local},
        )
        loops = tuple(a for a in axes if a.extent != ONE)
        inside.location = member.location
        inside.add(structured(context, member.body.block.terminator.operands, loops, index, (write,)))
    builder.add(Parallel(rows, Region(body)))


def _order_of_last(members: Sequence[Cluster], count: int) -> tuple[int, ...]:
    """Which dim of the last member's result each row dim of the others' is."""
    made = {m.result for m in members}
    *_, last = members
    reads = cluster_reads(last)  # of some values it takes the dims alone
    for argument, value in zip(last.body.block.arguments, last.inputs, strict=True):
        if value in made and reads[argument]:
            order = row_order(last, argument, count)
            assert order is not None, "members read their own row"
            return order
    return tuple(range(count))


def _buffer_in_place(
    member: Cluster, members: Sequence[Cluster], buffers: dict[Value, Value], local: dict[Value, int]
) -> Value | None:
    """The scratch of a value that is read here for the last time, and only at the very element that is written."""
    if any(isinstance(o, Reducing) for o in member.body.block.body):
        return None
    reads = cluster_reads(member)
    own = probe_index(tensor(member.result).rank)
    later = members[members.index(member) + 1 :]
    for argument, value in zip(member.body.block.arguments, member.inputs, strict=True):
        alike = value in local and value.type == member.result.type
        here = all(r.index == own and not r.padded for r in reads[argument])
        if alike and here and not any(value in m.inputs for m in later) and member.inputs.count(value) == 1:
            shared = [v for v, b in buffers.items() if b is buffers[value] and v is not value]
            if not any(v in m.inputs for m in (member, *later) for v in shared):
                return buffers[value]
    return None
