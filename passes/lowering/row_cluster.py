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

from headrace.ir.access import Access, AccessMap, Axis
from headrace.ir.core import Block, BlockArgument, Region, Value
from headrace.ir.dims import Dim
from headrace.ir.graph.families import tensor
from headrace.ir.graph.ops.cluster import Cluster
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
    rows = tuple(Axis(names.fresh(f"i{n}"), "task", d) for n, d in enumerate(tensor(result).dims[:count]))
    row = tuple(Dim.symbol(a.name) for a in rows)
    body = Block()
    inside = Builder(body, None, cluster.location)
    local: dict[Value, int] = {}
    for member in cluster.body.block.body:
        assert isinstance(member, Cluster)
        dims = tensor(member.result).dims
        if member.result is result:
            buffers[member.result] = output
        else:
            kind = BufferType(tensor(member.result).dtype, dims[count:], "stack")
            buffers[member.result] = inside.add(Alloc(kind), member.result.hint).result
            local[member.result] = count
        axes = [Axis(names.fresh(f"i{count + n}"), "parallel", d) for n, d in enumerate(dims[count:])]
        index = (*row, *(Dim.constant(0) if a.extent == ONE else Dim.symbol(a.name) for a in axes))
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
        results = member.body.block.terminator.operands
        inside.add(structured(context, results, loops, index, (write,)))
    builder.add(Parallel(rows, Region(body)))
