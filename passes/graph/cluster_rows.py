"""graph.cluster-rows: clusters that work on the same rows become one kernel.

Before (a softmax):
    %m = graph.cluster inputs(%x) {... graph.reduce {kind = "max", axes = [1]} ...} : f32[n, 1]
    %e = graph.cluster inputs(%x, %m) {... graph.sub, graph.exp ...} : f32[n, 64]
    %s = graph.cluster inputs(%e) {... graph.reduce {kind = "sum", axes = [1]} ...} : f32[n, 1]
    %y = graph.cluster inputs(%e, %s) {... graph.div ...} : f32[n, 64]
After:
    %y = graph.cluster inputs(%x) {
    ^(%0: f32[n, 64]):
      the four clusters
      graph.yield %4
    } {rows = 1} : f32[n, 64]

Needs: `graph.cluster`.  Leaves: the same computation; a kernel goes through a row several times while it is in the
nearest cache, and what the clusters hand to one another lies in scratch.

A *row* is an index of the first dims of a result.  Clusters that may join: those without a reduction, and those
whose reduction leaves one number a row (a *statistic*) and runs along what it reads, not across rows.  What a member
reads of another member's result must lie in the same row.  Groups grow from their last cluster upwards; a producer
joins if all its users are in the group, so there is one result and no cycle.  Of the possible numbers of row dims
the one with most members counts, and a group needs a statistic.  A member whose elements cost at most one quick
instruction is computed again by each of its readers instead.

Refuses: rows that are known to be longer than `longest` elements, which would keep threads idle and fill scratch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from headrace.ir.core import Block, Location, Operation, OpResult, Region, Value, producer
from headrace.ir.dims import Dim
from headrace.ir.graph.cluster_reads import ClusterRead, cluster_reads
from headrace.ir.graph.families import DataDims, LookingUp, OwnKernel, Pull, Reducing, tensor
from headrace.ir.graph.ops.cluster import Cluster
from headrace.ir.graph.ops.func import GraphFunc, Yield
from headrace.ir.graph.ops.pad import Pad
from headrace.ir.graph.reads import probe_index, scalar_operations
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.rewrite import Builder, Rewriter
from headrace.passes.graph.cluster import CHEAP, FREE


@dataclass(frozen=True)
class ClusterRows(Pass):
    """`longest`: elements of a row at most, where the number is known."""

    longest: int = 1 << 16

    summary = "let clusters that work on the same rows become one kernel"

    def run(self, module: Module, rewriter: Rewriter, context: PassContext) -> None:
        for function in module.functions(GraphFunc):
            if function.stands_for_constant:
                continue
            taken: set[Operation] = set()
            for operation in reversed(function.block.body):
                if not isinstance(operation, Cluster) or operation in taken or operation.rows:
                    continue
                group = _largest(operation, taken, self.longest)
                if group is not None:
                    taken.update(group.members)
                    _write(group, rewriter)


# ---- which clusters --------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Group:
    """Clusters, the last first, that share the first `count` dims of their results."""

    count: int
    rows: tuple[Dim, ...]
    members: dict[Cluster, None]

    @property
    def has_statistic(self) -> bool:
        return any(_root(m) is not None for m in self.members)


def _largest(last: Cluster, taken: set[Operation], longest: int) -> _Group | None:
    """The group with most members that ends in `last`; of equally large ones that with the shortest rows."""
    if len(last.results) != 1:
        return None
    dims = tensor(last.result).dims
    groups = [_grown(last, count, taken, longest) for count in range(len(dims), 0, -1)]
    found = [g for g in groups if len(g.members) > 1 and g.has_statistic]
    return max(found, key=lambda g: len(g.members), default=None)


def _grown(last: Cluster, count: int, taken: set[Operation], longest: int) -> _Group:
    group = _Group(count, tensor(last.result).dims[:count], {})
    pending = [last]
    while pending:
        member = pending.pop()
        if member in group.members or member in taken or not _joins(member, group, longest):
            continue
        group.members[member] = None
        for value in dict.fromkeys(v for m in group.members for v in m.inputs):
            above = producer(value, Cluster)
            if above is not None and not above.rows and len(above.results) == 1:
                pending += [above] * (above not in group.members and set(value.users) <= set(group.members))
    return group


def _joins(member: Cluster, group: _Group, longest: int) -> bool:
    """Whether a cluster, whose users are members, may be one."""
    if any(_stands_alone(o) for o in member.body.block.body):
        return False
    kind = tensor(member.result)
    if kind.dims[: group.count] != group.rows or not _in_row(member.result, group):
        return False
    row = prod(kind.dims[group.count :], start=Dim.constant(1))
    root = _root(member)
    if root is None:
        return not (row.is_constant and row.value > longest)
    length = prod((extent for _, extent in root.reduction_axes()), start=Dim.constant(1))
    if row != Dim.constant(1) or (length.is_constant and length.value > longest):
        return False
    reads = [r for found in cluster_reads(member).values() for r in found if r.in_step]
    return all(_runs_along(r, group.count) for r in reads)


def _stands_alone(operation: Operation) -> bool:
    """Whether its kernel is more than structured operations on rows: the host reads its dims before the kernel runs, it
    writes the kernel itself, looks elements up, or leaves a border to another kernel.
    """
    framed = isinstance(operation, Pad) and operation.is_frame
    return framed or isinstance(operation, DataDims | OwnKernel | LookingUp)


def _root(member: Cluster) -> Reducing | None:
    return next((o for o in member.body.block.body if isinstance(o, Reducing)), None)


def _in_row(value: Value, group: _Group) -> bool:
    """Whether the members read only elements of their own row of it."""
    for user in value.users:
        if not isinstance(user, Cluster) or user not in group.members:
            continue
        own = probe_index(tensor(user.result).rank)[: group.count]
        arguments = [a for a, i in zip(user.body.block.arguments, user.inputs, strict=True) if i is value]
        reads = cluster_reads(user)
        if any(r.padded or r.index[: group.count] != own for a in arguments for r in reads[a]):
            return False
    return True


def _runs_along(read: ClusterRead, count: int) -> bool:
    """Whether no index of a row comes behind one of the reduction."""
    own = {str(s) for s in probe_index(count)}
    behind = False
    for index in read.index:
        symbols = set(index.symbols)
        if behind and symbols & own:
            return False
        behind = behind or any(s.startswith("_over") for s in symbols)
    return True


# ---- writing ---------------------------------------------------------------------------------------------------


def _write(group: _Group, rewriter: Rewriter) -> None:
    """Inserts the cluster of rows where its last member stands, and removes the members."""
    last = next(iter(group.members))
    block = last.parent
    assert block is not None
    members = sorted(group.members, key=block.operations.index)
    spread = {m for m in members if m is not last and _is_cheap(m)}
    made = {m.result for m in members}
    inputs = list(dict.fromkeys(v for m in members for v in m.inputs if v not in made))
    body = Block([v.type for v in inputs], [v.hint for v in inputs])
    values: dict[Value, Value] = dict(zip(inputs, body.arguments, strict=True))
    builder = Builder(body)
    for member in members:
        if member not in spread:
            copy = _with_spread(member, spread, values)
            values[member.result] = builder.add(copy, member.result.hint).result
    builder.add(Yield((values[last.result],)))
    new = Cluster(tuple(inputs), Region(body), group.count)
    new.location = Location.fused(m.location for m in members)
    rewriter.before(last).add(new, last.result.hint)
    rewriter.replace_uses(last.result, new.result)
    for member in reversed(members):
        rewriter.erase(member)


def _is_cheap(member: Cluster) -> bool:
    """Whether an element costs at most one quick instruction."""
    operations = member.body.block.body
    if not all(isinstance(o, Pull) for o in operations):
        return False
    work = [s for o in operations if isinstance(o, Pull) for s in scalar_operations(o) if not isinstance(s, FREE)]
    return len(work) <= 1 and all(isinstance(s, CHEAP) for s in work)


def _with_spread(member: Cluster, spread: set[Cluster], values: dict[Value, Value]) -> Cluster:
    """A copy of a member, with the cheap ones that it reads inside."""
    outside: dict[Value, None] = {}

    def visit(cluster: Cluster) -> None:
        for value in cluster.inputs:
            above = _spread_above(value, spread)
            if above is None:
                outside[value] = None
            else:
                visit(above)

    visit(member)
    body = Block([v.type for v in outside], [v.hint for v in outside])
    known: dict[Value, Value] = dict(zip(outside, body.arguments, strict=True))
    builder = Builder(body)

    def bring(cluster: Cluster) -> Value:
        if cluster.result not in known:
            given: Sequence[Value] = [_brought(v) for v in cluster.inputs]
            local: dict[Value, Value] = dict(zip(cluster.body.block.arguments, given, strict=True))
            for operation in cluster.body.block.body:
                builder.add(operation.clone(local))
            known[cluster.result] = local[cluster.body.block.terminator.operands[0]]
        return known[cluster.result]

    def _brought(value: Value) -> Value:
        above = _spread_above(value, spread)
        return known[value] if above is None else bring(above)

    builder.add(Yield((bring(member),)))
    copy = Cluster(tuple(values[v] for v in outside), Region(body))
    copy.location = member.location
    return copy


def _spread_above(value: Value, spread: set[Cluster]) -> Cluster | None:
    above = value.operation if isinstance(value, OpResult) else None
    return above if isinstance(above, Cluster) and above in spread else None
