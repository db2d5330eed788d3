"""A `graph.cluster` becomes a structured `kernel.func`: one map, one reduce with its epilogue, or what an operation
that has a kernel of its own writes.

In: the cluster and a name.  Out: a detached kernel.func whose parameters are the cluster's inputs (without
those of one element known at compile time, which become constants in the body), then its results.

Of a result that is a value with padding around (`Pad.is_frame`) only the middle is written; padding.py has the rest.

Each result element is pulled at an index of fresh axes.  A pull that reaches a parameter becomes a read with
its index map; one that reaches the reducing operation becomes its final accumulator; any other operation is
asked for its element in turn.  So chains of elementwise and movement operations need no buffers between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from headrace.ir.access import Access, AccessMap, Axis, SymbolRef
from headrace.ir.core import Block, BlockArgument, Operation, OpResult, Region, Value, producer
from headrace.ir.dims import Dim, Facts
from headrace.ir.errors import PassError
from headrace.ir.graph.families import Index, LookingUp, Movement, OwnKernel, Pull, PullBuilder, Reducing, tensor
from headrace.ir.graph.linear import ZERO
from headrace.ir.graph.ops.cluster import Cluster
from headrace.ir.graph.ops.constant import Constant
from headrace.ir.graph.ops.pad import Pad
from headrace.ir.graph.reads import permutes, probe_index
from headrace.ir.kernel.ops.control import Yield
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.kernel.ops.structured import Map, Reduce
from headrace.ir.kernel.writer import KernelWriter
from headrace.ir.module import module_of
from headrace.ir.rewrite import Builder
from headrace.ir.symbols import axes_of
from headrace.ir.types import BufferType, ScalarType, TensorType
from headrace.passes.lowering.names import Names, symbols_under


@dataclass(frozen=True, slots=True)
class LoweredCluster:
    """The kernel, and which of the cluster's inputs it takes, in parameter order."""

    function: KernelFunc
    inputs: tuple[int, ...]


def lower_cluster(cluster: Cluster, name: str, facts: Facts) -> LoweredCluster:
    """Raises PassError where the cluster is not of the form its operation describes."""
    yielded = cluster.body.block.terminator.operands
    names = Names(cluster)
    own = _own_kernel(cluster)
    constants = {} if own is not None else _small_constants(cluster)
    kept = tuple(i for i, a in enumerate(cluster.body.block.arguments) if a not in constants)
    types = [_buffer(cluster.inputs[i].type) for i in kept] + [_buffer(r.type) for r in yielded]
    hints = [cluster.inputs[i].hint for i in kept] + [r.hint for r in cluster.results]
    body = Block(types, hints)
    buffers: dict[Value, BlockArgument] = {
        cluster.body.block.arguments[i]: body.arguments[place] for place, i in enumerate(kept)
    }
    builder = Builder(body, None, cluster.location)
    outputs = body.arguments[len(kept) :]
    if own is not None:
        own.write(KernelWriter(builder, names.fresh), {**buffers, **dict(zip(yielded, outputs, strict=True))})
    else:
        builder.add(_structured(_Context(cluster, buffers, constants, names), yielded, outputs))
    unread = [b for b in body.arguments[: len(kept)] if not b.uses]
    kept = tuple(i for i, b in zip(kept, body.arguments, strict=False) if b not in unread)
    _set_arguments(body, [b for b in body.arguments if b not in unread])
    function = KernelFunc(SymbolRef(name), Region(body), len(yielded))
    function.location = cluster.location
    function.attributes["scalars"] = scalars_of(function)
    function.attributes["facts"] = facts_about(facts.lines(), function.scalars)
    return LoweredCluster(function, kept)


def _own_kernel(cluster: Cluster) -> OwnKernel | None:
    """The operation that the cluster consists of, if it writes its kernel itself."""
    return next((o for o in cluster.body.block.body if isinstance(o, OwnKernel)), None)


def _structured(context: _Context, yielded: Sequence[Value], outputs: Sequence[Value]) -> Map | Reduce:
    """The one structured operation that any other cluster is."""
    cluster = context.cluster
    results = [middle(r)[0] for r in yielded]
    axes = _index_axes(cluster, results, context.names)
    index = tuple(Dim.symbol(a.name) for a in axes)
    writes = tuple(
        Access(b, AccessMap(tuple(i + n for i, n in zip(index, middle(r)[1], strict=True))))
        for b, r in zip(outputs, yielded, strict=True)
    )
    roots = [o for o in cluster.body.block.body if isinstance(o, Reducing)]
    if len(roots) > 1:
        raise PassError(f"cluster at {cluster.location}: {len(roots)} reducing operations, expected at most one")
    if roots:
        return _reduce(context, roots[0], results, axes, index, writes)
    pulled = _Puller(context)
    pulled.finish([pulled.value_at(r, index) for r in results])
    found = pulled.lookups
    return Map(
        axes,
        pulled.accesses,
        writes,
        Region(pulled.block),
        lookups=tuple(f.access for f in found),
        found=tuple(f.axis for f in found),
        nodes=tuple(f.node for f in found),
    )


def _reduce(
    context: _Context,
    root: Reducing,
    results: Sequence[Value],
    index_axes: tuple[Axis, ...],
    index: Index,
    writes: tuple[Access, ...],
) -> Reduce:
    reduction = tuple(Axis(context.names.fresh(n), "reduction", e) for n, e in root.reduction_axes())
    reduced = tuple(Dim.symbol(a.name) for a in reduction)

    init = _Puller(context)
    init.finish(list(root.init(init)))
    state = [ScalarType(v.type.dtype) for v in init.block.terminator.operands if isinstance(v.type, ScalarType)]

    step = _Puller(context)
    accumulators = [step.block.add_argument(t, "acc") for t in state]
    step.finish(list(root.step(step, index, reduced, accumulators)), last=accumulators)

    combine = _Puller(context)
    left = [combine.block.add_argument(t) for t in state]
    right = [combine.block.add_argument(t) for t in state]
    combine.finish(list(root.combine(combine, left, right)))

    finish = _Puller(context)
    final = [finish.block.add_argument(t, "acc") for t in state]
    finish.known[root.result, index] = root.finish(finish, index, final)
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


def middle(result: Value) -> tuple[Value, Index]:
    """What the kernel computes for a result of its cluster, and where in the result that begins: a value with padding
    around is made in the middle of the padded buffer.
    """
    pad = producer(result, Pad)
    if pad is None or not pad.is_frame:
        return result, (ZERO,) * tensor(result).rank
    return pad.x, pad.before


@dataclass(slots=True)
class _Context:
    """What all regions of one kernel share."""

    cluster: Cluster
    buffers: dict[Value, BlockArgument]
    constants: dict[Value, float | int | bool]
    names: Names


@dataclass(frozen=True, slots=True)
class _Lookup:
    access: Access
    axis: Axis
    node: int  # among the cluster's


@dataclass(slots=True)
class _Read:
    buffer: BlockArgument
    map: AccessMap
    argument: BlockArgument


class _Puller(PullBuilder):
    """Builds one region; a read of a parameter becomes an argument of the region."""

    def __init__(self, context: _Context) -> None:
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
        _set_arguments(self.block, [a for a in self.block.arguments if a not in last] + list(last))

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


def _set_arguments(block: Block, arguments: Sequence[BlockArgument]) -> None:
    """The block's arguments in another order, or without some that nothing uses."""
    for place, argument in enumerate(arguments):
        argument.index = place
    block.arguments = tuple(arguments)


def _maker(value: Value) -> Operation:
    assert isinstance(value, OpResult), "a cluster's region sees its arguments only"
    return value.operation


def _buffer(kind: object) -> BufferType:
    assert isinstance(kind, TensorType)
    return BufferType(kind.dtype, kind.dims)


def _small_constants(cluster: Cluster) -> dict[Value, float | int | bool]:
    """Arguments whose input is a constant of one element: they become literals of the kernel, unless they are indices
    to look up."""
    found: dict[Value, float | int | bool] = {}
    indices = {v for o in cluster.body.block.body if isinstance(o, LookingUp) for v in o.looked_up}
    for argument, given in zip(cluster.body.block.arguments, cluster.inputs, strict=True):
        constant = producer(given, Constant)
        if constant is not None and constant.value.type.elements == Dim.constant(1) and argument not in indices:
            found[argument] = module_of(cluster).constants.array(constant.value).reshape(()).item()
    return found


def _index_axes(cluster: Cluster, results: Sequence[Value], names: Names) -> tuple[Axis, ...]:
    dims = {tensor(r).dims for r in results}
    if len(dims) != 1:
        listed = ", ".join(str(r.type) for r in results)
        raise PassError(f"cluster at {cluster.location}: results are {listed}, expected equal dims")
    return tuple(Axis(names.fresh(f"i{n}"), "parallel", d) for n, d in enumerate(next(iter(dims))))


def scalars_of(function: KernelFunc) -> tuple[str, ...]:
    """The dim symbols of a kernel: all that it mentions but the axes."""
    axes = {a.name for o in function.walk() for a in axes_of(o)}
    return tuple(sorted(symbols_under(function) - axes))


def facts_about(lines: Sequence[str], symbols: Sequence[str]) -> tuple[str, ...]:
    """The facts that speak of these symbols only."""
    known = set(symbols)
    return tuple(line for line in lines if set(Facts.parse([line]).symbols) <= known)
