"""A cluster of operations as one structured operation: a map, or a reduce with its epilogue.

In: the cluster, what its arguments are, the axes and the index of its result.  Out: a `kernel.map` or
`kernel.reduce` that writes there.

Each result element is pulled at the index.  A pull that reaches an argument becomes a read with its index map; one
that reaches the reducing operation becomes its final accumulator; any other operation is asked for its element in
turn.  So chains of elementwise and movement operations need no buffers between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from headrace.ir.access import Access, AccessMap, Axis
from headrace.ir.core import Block, BlockArgument, Operation, OpResult, Region, Value
from headrace.ir.dims import Dim
from headrace.ir.errors import PassError
from headrace.ir.graph.families import Index, Movement, Pull, PullBuilder, Reducing, tensor
from headrace.ir.graph.ops.cluster import Cluster
from headrace.ir.graph.reads import permutes, probe_index, pulled_reads
from headrace.ir.kernel.ops.control import Yield
from headrace.ir.kernel.ops.structured import Map, Reduce
from headrace.ir.rewrite import Builder
from headrace.ir.types import ScalarType
from headrace.passes.lowering.names import Names


@dataclass(slots=True)
class Context:
    """What all regions of one operation share."""

    cluster: Cluster
    buffers: dict[Value, Value]
    constants: dict[Value, float | int | bool]
    names: Names
    local: dict[Value, int] = field(default_factory=dict)  # how many first dims a buffer lacks


def structured(
    context: Context,
    results: Sequence[Value],
    index_axes: tuple[Axis, ...],
    index: Index,
    writes: tuple[Access, ...],
) -> Map | Reduce:
    """The one operation that computes `results`, values in the cluster; `index` is their element."""
    block = context.cluster.body.block
    roots = [o for o in block.body if isinstance(o, Reducing)]
    if len(roots) > 1:
        where = f"cluster at {context.cluster.location}"
        raise PassError(f"{where}: {len(roots)} reducing operations, expected at most one")
    if roots:
        return _reduce(context, roots[0], results, index_axes, index, writes)
    pulled = _Puller(context)
    pulled.finish([pulled.value_at(r, index) for r in results])
    found = pulled.lookups
    return Map(
        index_axes,
        pulled.accesses,
        writes,
        Region(pulled.block),
        lookups=tuple(f.access for f in found),
        found=tuple(f.axis for f in found),
        nodes=tuple(f.node for f in found),
    )


def _reduce(
    context: Context,
    root: Reducing,
    results: Sequence[Value],
    index_axes: tuple[Axis, ...],
    index: Index,
    writes: tuple[Access, ...],
) -> Reduce:
    at = _index_of(root.result, results, index)
    reduction = tuple(Axis(context.names.fresh(n), "reduction", e) for n, e in root.reduction_axes())
    reduced = tuple(Dim.symbol(a.name) for a in reduction)

    init = _Puller(context)
    init.finish(list(root.init(init)))
    state = [ScalarType(v.type.dtype) for v in init.block.terminator.operands if isinstance(v.type, ScalarType)]

    step = _Puller(context)
    accumulators = [step.block.add_argument(t, "acc") for t in state]
    step.finish(list(root.step(step, at, reduced, accumulators)), last=accumulators)

    combine = _Puller(context)
    left = [combine.block.add_argument(t) for t in state]
    right = [combine.block.add_argument(t) for t in state]
    combine.finish(list(root.combine(combine, left, right)))

    finish = _Puller(context)
    final = [finish.block.add_argument(t, "acc") for t in state]
    finish.known[root.result, at] = root.finish(finish, at, final)
    finish.finish([finish.value_at(r, index) for r in results])
    if step.lookups or finish.lookups:
        raise PassError(f"cluster at {context.cluster.location}: {root.name} shares it with a lookup")
    return Reduce(
        (*index_axes, *reduction),
        step.accesses,
        finish.accesses,
        writes,
        Region(init.block),
        Region(step.block),
        Region(combine.block),
        Region(finish.block),
    )


@dataclass(frozen=True, slots=True)
class _Lookup:
    access: Access
    axis: Axis
    node: int  # among the cluster's


def _index_of(value: Value, results: Sequence[Value], index: Index) -> Index:
    """At which index a value of the cluster is read for the element of its results at `index`."""
    pending = [(r, index) for r in results]
    seen: set[tuple[Value, Index]] = set()
    while pending:
        read, at = pending.pop()
        if read is value:
            return at
        if (read, at) in seen:
            continue
        seen.add((read, at))
        operation = read.operation if isinstance(read, OpResult) else None
        if isinstance(operation, Pull):
            pending += [(r.operand, r.index) for r in pulled_reads(operation, at)]
    return index


@dataclass(slots=True)
class _Read:
    buffer: Value
    map: AccessMap
    argument: BlockArgument


class _Puller(PullBuilder):
    """Builds one region; a read of a parameter becomes an argument of the region."""

    def __init__(self, context: Context) -> None:
        self.block = Block()
        super().__init__(Builder(self.block, None, context.cluster.location))
        self.context = context
        self.known: dict[tuple[Value, Index], Value] = {}
        self.found: list[_Read] = []
        self.lookups: list[_Lookup] = []
        self.guarded = False

    @property
    def accesses(self) -> tuple[Access, ...]:
        return tuple(Access(r.buffer, r.map) for r in self.found)

    def finish(self, values: list[Value], last: Sequence[BlockArgument] = ()) -> None:
        """Ends the region; arguments in `last` move behind those of the reads."""
        self.builder.add(Yield(tuple(values)))
        set_arguments(self.block, [a for a in self.block.arguments if a not in last] + list(last))

    def read(self, operand: Value, index: Index, otherwise: float | int | bool | None = None) -> Value:
        if otherwise is None:
            return self.value_at(operand, index)
        if operand in self.context.buffers:
            return self._element(operand, AccessMap(index, otherwise))
        permuted = self._through_permutation(operand, index)
        if permuted is not None:
            return self.read(permuted[0], permuted[1], otherwise)
        return self._padded(operand, index, otherwise)

    def lookup(self, operand: Value, index: Index, extent: Dim) -> Dim:
        where = f"cluster at {self.context.cluster.location}"
        if self.guarded or operand not in self.context.buffers:
            raise PassError(f"{where}: an index is computed in it, or read where it may be outside")
        access = Access(self.context.buffers[operand], AccessMap(index))
        for known in self.lookups:
            if known.access == access and known.axis.extent == extent:
                return Dim.symbol(known.axis.name)
        axis = Axis(self.context.names.fresh("at"), "given", extent)
        nodes = self.context.cluster.location.nodes
        node = next((nodes.index(n) for n in self.builder.location.nodes if n in nodes), 0)
        self.lookups.append(_Lookup(access, axis, node))
        return Dim.symbol(axis.name)

    def value_at(self, value: Value, index: Index) -> Value:
        """The element of `value` at `index`, computed at most once in this region."""
        if value in self.context.constants:
            return self.constant(self.context.constants[value], tensor(value).dtype)
        if value in self.context.buffers:
            return self._element(value, AccessMap(index, 0 if self.guarded else None))
        key = (value, index)
        if key not in self.known or self.guarded:
            operation = _maker(value)
            if not isinstance(operation, Pull):
                where = f"cluster at {self.context.cluster.location}"
                raise PassError(f"{where}: {operation.name} is read at another index than its own")
            before = self.builder.location
            self.builder.location = operation.location
            found = operation.pull(self, index)
            self.builder.location = before
            if self.guarded:
                return found
            self.known[key] = found
        return self.known[key]

    def _element(self, value: Value, map: AccessMap) -> Value:
        buffer = self.context.buffers[value]
        map = replace(map, indices=map.indices[self.context.local.get(value, 0) :])
        for known in self.found:
            if known.buffer is buffer and known.map == map:
                return known.argument
        argument = self.block.add_argument(ScalarType(tensor(value).dtype), value.hint)
        self.found.append(_Read(buffer, map, argument))
        return argument

    def _through_permutation(self, operand: Value, index: Index) -> tuple[Value, Index] | None:
        """Operand and index behind a movement that only reorders dims: outside there is outside here."""
        if operand in self.context.constants:
            return None
        operation = _maker(operand)
        if not isinstance(operation, Movement) or not permutes(operation):
            return None
        probe = probe_index(len(index))
        places = [probe.index(s) for s in operation.source(probe)]
        return operation.operands[0], tuple(index[place] for place in places)

    def _padded(self, operand: Value, index: Index, otherwise: float | int | bool) -> Value:
        """A padded read of a computed value: its own reads are guarded too, then one of the two is chosen."""
        dims = tensor(operand).dims
        inside = self.holds(*(c for i, d in zip(index, dims, strict=True) for c in (i, d - 1 - i)))
        before, self.guarded = self.guarded, True
        value = self.value_at(operand, index)
        self.guarded = before
        return self.select(inside, value, self.constant(otherwise, value))


def set_arguments(block: Block, arguments: Sequence[BlockArgument]) -> None:
    """The block's arguments in another order, or without some that nothing uses."""
    for place, argument in enumerate(arguments):
        argument.index = place
    block.arguments = tuple(arguments)


def _maker(value: Value) -> Operation:
    assert isinstance(value, OpResult), "a cluster's region sees its arguments only"
    return value.operation
