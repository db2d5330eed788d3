"""A `graph.cluster` becomes a structured `kernel.func`: one map, one reduce with its epilogue, several by rows, or what
an operation that has a kernel of its own writes.

In: the cluster and a name.  Out: a detached kernel.func whose parameters are the cluster's inputs (without
those of one element known at compile time, which become constants in the body), then its results.

Of a result that is a value with padding around (`Pad.is_frame`) only the middle is written; padding.py has the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from headrace.ir.access import Access, AccessMap, Axis, SymbolRef
from headrace.ir.core import Block, Region, Value, producer
from headrace.ir.dims import Dim, Facts
from headrace.ir.errors import PassError
from headrace.ir.graph.families import GraphOp, Index, LookingUp, OwnKernel, tensor
from headrace.ir.graph.linear import ZERO
from headrace.ir.graph.ops.cluster import Cluster
from headrace.ir.graph.ops.constant import Constant
from headrace.ir.graph.ops.pad import Pad
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.kernel.ops.structured import Map, Reduce
from headrace.ir.kernel.writer import KernelWriter
from headrace.ir.module import module_of
from headrace.ir.rewrite import Builder
from headrace.ir.symbols import axes_of
from headrace.ir.types import BufferType
from headrace.passes.lowering.names import Names, symbols_under
from headrace.passes.lowering.row_cluster import write_rows
from headrace.passes.lowering.structured import Context, set_arguments, structured


@dataclass(frozen=True, slots=True)
class LoweredCluster:
    """The kernel, and which of the cluster's inputs it takes, in parameter order."""

    function: KernelFunc
    inputs: tuple[int, ...]


def lower_cluster(
    cluster: Cluster, name: str, facts: Facts, buffer: Callable[[Value], BufferType]
) -> LoweredCluster:
    """`buffer`: how an input or a result of the cluster lies in memory.

    Raises PassError where the cluster is not of the form its operation describes.
    """
    yielded = cluster.body.block.terminator.operands
    own = _own_kernel(cluster)
    constants = {} if own is not None else _small_constants(cluster)
    kept = tuple(i for i, a in enumerate(cluster.body.block.arguments) if a not in constants)
    types = [buffer(v) for v in (*(cluster.inputs[i] for i in kept), *cluster.results)]
    hints = [cluster.inputs[i].hint for i in kept] + [r.hint for r in cluster.results]
    body = Block(types, hints)
    names = Names(cluster, types)
    buffers: dict[Value, Value] = {
        cluster.body.block.arguments[i]: body.arguments[place] for place, i in enumerate(kept)
    }
    builder = Builder(body, None, cluster.location)
    outputs = body.arguments[len(kept) :]
    if own is not None:
        own.write(KernelWriter(builder, names.fresh), {**buffers, **dict(zip(yielded, outputs, strict=True))})
    elif cluster.rows:
        write_rows(cluster, buffers, constants, outputs[0], names, builder)
    else:
        builder.add(_one_operation(Context(cluster, buffers, constants, names), yielded, outputs))
    unread = [b for b in body.arguments[: len(kept)] if not b.uses]
    kept = tuple(i for i, b in zip(kept, body.arguments, strict=False) if b not in unread)
    set_arguments(body, [b for b in body.arguments if b not in unread])
    function = KernelFunc(SymbolRef(name), Region(body), len(yielded))
    function.location = cluster.location
    function.attributes["scalars"] = scalars_of(function)
    function.attributes["facts"] = facts_about(facts.lines(), function.scalars)
    function.attributes["requires"] = _required(cluster, function, facts)
    return LoweredCluster(function, kept)


def _required(cluster: Cluster, function: KernelFunc, facts: Facts) -> tuple[Dim, ...]:
    """What the program checks, and accesses of the kernel rely on."""
    checks = dict.fromkeys(c.formula for o in cluster.walk() if isinstance(o, GraphOp) for c in o.checks())
    open_ones = [f for f in checks if facts.less_equal(0, f) is not True]
    return tuple(f for f in open_ones if set(f.symbols) <= set(function.scalars))


def _own_kernel(cluster: Cluster) -> OwnKernel | None:
    """The operation that the cluster consists of, if it writes its kernel itself."""
    return next((o for o in cluster.body.block.body if isinstance(o, OwnKernel)), None)


def _one_operation(context: Context, yielded: Sequence[Value], outputs: Sequence[Value]) -> Map | Reduce:
    """The structured operation that most clusters are."""
    results = [middle(r)[0] for r in yielded]
    axes = _index_axes(context.cluster, results, context.names)
    index = tuple(Dim.symbol(a.name) for a in axes)
    writes = tuple(
        Access(b, AccessMap(tuple(i + n for i, n in zip(index, middle(r)[1], strict=True))))
        for b, r in zip(outputs, yielded, strict=True)
    )
    return structured(context, results, axes, index, writes)


def middle(result: Value) -> tuple[Value, Index]:
    """What the kernel computes for a result of its cluster, and where in the result that begins: a value with padding
    around is made in the middle of the padded buffer.
    """
    pad = producer(result, Pad)
    if pad is None or not pad.is_frame:
        return result, (ZERO,) * tensor(result).rank
    return pad.x, pad.before


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
