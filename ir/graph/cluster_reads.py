"""Which elements of its inputs a cluster reads for one element of its result.

In: a `graph.cluster` of operations, not of rows.  Out: for each argument of its region the indices, as formulas over
the symbols of `probe_index` (the element of the result) and `reduced_index` (the point of its reduction).
"""

from __future__ import annotations

from dataclasses import dataclass

from headrace.ir.core import Operation, Value
from headrace.ir.dims import Dim
from headrace.ir.graph.families import Index, Pull, Reducing, tensor
from headrace.ir.graph.ops.cluster import Cluster
from headrace.ir.graph.reads import probe_index, pulled_reads, reduced_reads


@dataclass(frozen=True, slots=True)
class ClusterRead:
    """The element at `index`; `in_step`: once for each point of the reduction; `padded`: it may lie outside."""

    index: Index
    in_step: bool
    padded: bool


def cluster_reads(cluster: Cluster) -> dict[Value, list[ClusterRead]]:
    """The reads of each argument of the cluster's region, each once."""
    block = cluster.body.block
    (result,) = block.terminator.operands
    found: dict[Value, dict[ClusterRead, None]] = {
        result: {ClusterRead(probe_index(tensor(result).rank), False, False): None}
    }
    for operation in reversed(block.body):
        for value in operation.results:
            for read in found.get(value, ()):
                for operand, new in _reads(operation, read):
                    found.setdefault(operand, {})[new] = None
    return {a: list(found.get(a, ())) for a in block.arguments}


def _reads(operation: Operation, read: ClusterRead) -> list[tuple[Value, ClusterRead]]:
    if isinstance(operation, Reducing):
        step, finish = reduced_reads(operation, read.index, reduced_index(len(operation.reduction_axes())))
        told = [(r, True) for r in step] + [(r, False) for r in finish]
    else:
        assert isinstance(operation, Pull), f"{operation.name} in a cluster"
        told = [(r, read.in_step) for r in pulled_reads(operation, read.index)]
    return [(r.operand, ClusterRead(r.index, s, read.padded or r.otherwise is not None)) for r, s in told]


def row_order(cluster: Cluster, argument: Value, count: int) -> tuple[int, ...] | None:
    """Which of the cluster's first `count` dims each of the argument's first `count` dims is; None if they are others.

    (0, 2, 1): the element at [i, h, j, ...] of the result takes elements at [i, j, h, ...] of the argument.
    """
    reads = cluster_reads(cluster)[argument]
    own = probe_index(tensor(cluster.result).rank)[:count]
    orders = {tuple(own.index(i) if i in own else -1 for i in r.index[:count]) for r in reads if not r.padded}
    if len(orders) != 1 or any(r.padded for r in reads):
        return None
    (order,) = orders
    return order if sorted(order) == list(range(count)) else None


def reduced_index(count: int) -> Index:
    """An index of symbols that no model can name, for the point of a reduction."""
    return tuple(Dim.symbol(f"_over{i}") for i in range(count))
