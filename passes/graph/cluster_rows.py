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

A *row* is an index of the first dims of a result.  Clusters that may join: those without a reduction; those
whose reduction leaves one number a row (a *statistic*) and runs along what it reads, not across rows; and products of
rows with a matrix that few rows share, as in attention.  What a member reads of another member's result must lie in
the same row; the last member may have the rows' dims in another order.  Groups grow from their last cluster upwards; a
producer joins if all its users are in the group, so there is one result and no cycle.  Of the possible numbers of row
dims the one with most members counts, and a group needs a statistic.  A member whose elements cost at most one quick
instruction is computed again by each of its readers instead.

Refuses: rows that are known to be longer than `longest` elements, which would keep threads idle and fill scratch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from headrace.ir.core import Block, Location, Operation, OpResult, Region, Value, producer
from headrace.ir.dims import Dim
from headrace.ir.graph.cluster_reads import ClusterRead, cluster_reads, row_order
from headrace.ir.graph.families import DataDims, LookingUp, Pull, Reducing, tensor
from headrace.ir.graph.linear import ONE
from headrace.ir.graph.ops.cluster import Cluster
from headrace.ir.graph.ops.func import GraphFunc, Yield
from headrace.ir.graph.ops.pad import Pad
from headrace.ir.graph.reads import probe_index, scalar_operations
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.rewrite import Builder, Rewriter
from headrace.passes.graph.cluster import CHEAP, FREE

MOST_MEMBERS = 64  # of a group; it becomes one kernel


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
            possible = _below_statistics(function)
            for operation in reversed(function.block.body):
                if not isinstance(operation, Cluster) or operation in taken or operation not in possible:
                    continue
                group = _largest(operation, taken, self.longest)
                if group is not None:
                    taken.update(group.members)
                    _write(group, rewriter)


def _below_statistics(function: GraphFunc) -> set[Operation]:
    """The clusters that a group can end in: statistics, and what takes something from one, directly or not."""
    found: set[Operation] = set()
    for operation in function.block.body:
        if isinstance(operation, Cluster) and not operation.rows:
            above = (producer(v, Cluster) for v in operation.inputs)
            if any(a in found for a in above) or (len(operation.results) == 1 and _is_statistic(operation)):
                found.add(operation)
    return found


# ---- which clusters --------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Group:
    """Clusters, the last first, that share the first dims of their results; the last may have them in another order:
    `order` says which of its dims each of the others' is."""

    order: tuple[int, ...]
    rows: tuple[Dim, ...]
    last: Cluster
    members: dict[Cluster, None]

    @property
    def count(self) -> int:
        return len(self.order)

    def own_rows(self, member: Cluster) -> tuple[Dim, ...]:
        """The index of a row in a member's terms, dims in the others' order."""
        own = probe_index(tensor(member.result).rank)
        return tuple(own[o] for o in self.order) if member is self.last else own[: self.count]


def _largest(last: Cluster, taken: set[Operation], longest: int) -> _Group | None:
    """The group with most members that ends in `last`; of equally large ones that with the shortest rows."""
    if len(last.results) != 1 or not _is_plain(last):
        return None
    groups = []
    for count in range(tensor(last.result).rank, 0, -1):
        groups += [_grown(last, order, taken, longest) for order in _orders(last, count)]
    found = [g for g in groups if len(g.members) > 1 and any(_is_statistic(m) for m in g.members)]
    return max(found, key=lambda g: len(g.members), default=None)


def _orders(last: Cluster, count: int) -> list[tuple[int, ...]]:
    """The orders of its first dims in which it reads what other clusters make."""
    found = {tuple(range(count)): None}
    for argument, value in zip(last.body.block.arguments, last.inputs, strict=True):
        if producer(value, Cluster) is not None:
            order = row_order(last, argument, count)
            if order is not None:
                found[order] = None
    return list(found)


def _grown(last: Cluster, order: tuple[int, ...], taken: set[Operation], longest: int) -> _Group:
    dims = tensor(last.result).dims
    group = _Group(order, tuple(dims[o] for o in order), last, {})
    pending = [last]
    while pending and len(group.members) < MOST_MEMBERS:
        member = pending.pop()
        if member in group.members or member in taken or not _joins(member, group, longest):
            continue
        group.members[member] = None
        for value in dict.fromkeys(member.inputs):  # of what others read, no more users are members than before
            above = producer(value, Cluster)
            if above is not None and not above.rows and len(above.results) == 1:
                pending += [above] * (above not in group.members and set(value.users) <= set(group.members))
    return group


def _is_plain(member: Cluster) -> bool:
    """Whether formulas say what it reads; the host reads dims before the kernel runs."""
    return all(
        isinstance(o, Pull | Reducing)
        and not isinstance(o, DataDims | LookingUp)
        and not (isinstance(o, Pad) and o.is_frame)
        for o in member.body.block.body
    )


def _joins(member: Cluster, group: _Group, longest: int) -> bool:
    """Whether a cluster, whose users are members, may be one."""
    if not _is_plain(member):
        return False
    kind = tensor(member.result)
    if member is not group.last and kind.dims[: group.count] != group.rows:
        return False
    if not _in_row(member.result, group):
        return False
    row = prod(kind.dims[group.count :], start=ONE)
    root = _root(member)
    if root is None:
        return not (row.is_constant and row.value > longest)
    reads = [r for found in cluster_reads(member).values() for r in found if r.in_step]
    if row != ONE:
        return not (row.is_constant and row.value > longest) and _is_own_product(member, reads, group)
    length = prod((extent for _, extent in root.reduction_axes()), start=ONE)
    return not (length.is_constant and length.value > longest) and all(
        _runs_along(r, group.own_rows(member)) for r in reads
    )


def _root(member: Cluster) -> Reducing | None:
    return next((o for o in member.body.block.body if isinstance(o, Reducing)), None)


def _is_statistic(member: Cluster) -> bool:
    """Whether it reduces, and no row of its result is longer than one element."""
    return _root(member) is not None and tensor(member.result).dims[-1:] in ((ONE,), ())


def _is_own_product(member: Cluster, reads: Sequence[ClusterRead], group: _Group) -> bool:
    """Whether rows are multiplied with a matrix that few of them share: its index mentions some row dims, but not the
    last.  (A matrix that all rows share is better read panel by panel, each by all rows.)"""
    own = group.own_rows(member)
    last, others = own[-1].symbols[0], {s for i in own[:-1] for s in i.symbols}
    mentioned = [{s for i in r.index for s in i.symbols} for r in reads]
    wide = [m for m in mentioned if last not in m]
    return len(reads) == 2 and len(wide) == 1 and bool(wide[0] & others)


def _in_row(value: Value, group: _Group) -> bool:
    """Whether the members read only elements of their own row of it."""
    for user in value.users:
        if not isinstance(user, Cluster) or user not in group.members:
            continue
        own = group.own_rows(user)
        arguments = [a for a, i in zip(user.body.block.arguments, user.inputs, strict=True) if i is value]
        reads = cluster_reads(user)
        if any(r.padded or r.index[: group.count] != own for a in arguments for r in reads[a]):
            return False
    return True


def _runs_along(read: ClusterRead, row: tuple[Dim, ...]) -> bool:
    """Whether no index of a row comes behind one of the reduction."""
    own = {s for i in row for s in i.symbols}
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
