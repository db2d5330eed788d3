"""A `graph.cluster` becomes a structured `kernel.func`: one map, one reduce with its epilogue, or several by rows.

In: the cluster and a name.  Out: a detached kernel.func whose parameters are the cluster's inputs (without
those of one element known at compile time, which become constants in the body), then its results.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from headrace.ir.access import Access, AccessMap, Axis, SymbolRef
from headrace.ir.core import Block, Region, Value, producer
from headrace.ir.dims import Dim, Facts
from headrace.ir.errors import PassError
from headrace.ir.graph.families import tensor
from headrace.ir.graph.ops.cluster import Cluster
from headrace.ir.graph.ops.constant import Constant
from headrace.ir.kernel.ops.control import Parallel
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.kernel.ops.structured import Structured
from headrace.ir.module import module_of
from headrace.ir.rewrite import Builder
from headrace.ir.types import BufferType, TensorType
from headrace.passes.lowering.names import Names, symbols_under
from headrace.passes.lowering.row_cluster import write_rows
from headrace.passes.lowering.structured import Context, set_arguments, structured


@dataclass(frozen=True, slots=True)
class LoweredCluster:
    """The kernel, and which of the cluster's inputs it takes, in parameter order."""

    function: KernelFunc
    inputs: tuple[int, ...]


def lower_cluster(cluster: Cluster, name: str, facts: Facts) -> LoweredCluster:
    """Raises PassError where the cluster is not of the form its operation describes."""
    results = cluster.body.block.terminator.operands
    names = Names(cluster)
    constants = _small_constants(cluster)
    kept = tuple(i for i, a in enumerate(cluster.body.block.arguments) if a not in constants)
    types = [_buffer(cluster.inputs[i].type) for i in kept] + [_buffer(r.type) for r in results]
    hints = [cluster.inputs[i].hint for i in kept] + [r.hint for r in cluster.results]
    body = Block(types, hints)
    buffers: dict[Value, Value] = {
        cluster.body.block.arguments[i]: body.arguments[place] for place, i in enumerate(kept)
    }
    builder = Builder(body, None, cluster.location)
    if cluster.rows:
        write_rows(cluster, buffers, constants, body.arguments[-1], names, builder)
    else:
        axes = _index_axes(cluster, results, names)
        index = tuple(Dim.symbol(a.name) for a in axes)
        writes = tuple(Access(b, AccessMap(index)) for b in body.arguments[len(kept) :])
        builder.add(structured(Context(cluster, buffers, constants, names), axes, index, writes))
    unread = [b for b in body.arguments[: len(kept)] if not b.uses]
    kept = tuple(i for i, b in zip(kept, body.arguments, strict=False) if b not in unread)
    set_arguments(body, [b for b in body.arguments if b not in unread])
    function = KernelFunc(SymbolRef(name), Region(body), len(results))
    function.location = cluster.location
    function.attributes["scalars"] = _scalars(function)
    function.attributes["facts"] = _about(facts.lines(), function.scalars)
    return LoweredCluster(function, kept)


def _buffer(kind: object) -> BufferType:
    assert isinstance(kind, TensorType)
    return BufferType(kind.dtype, kind.dims)


def _small_constants(cluster: Cluster) -> dict[Value, float | int | bool]:
    """Arguments whose input is a constant of one element: they become literals of the kernel."""
    found: dict[Value, float | int | bool] = {}
    for argument, given in zip(cluster.body.block.arguments, cluster.inputs, strict=True):
        constant = producer(given, Constant)
        if constant is not None and constant.value.type.elements == Dim.constant(1):
            found[argument] = module_of(cluster).constants.array(constant.value).reshape(()).item()
    return found


def _index_axes(cluster: Cluster, results: Sequence[Value], names: Names) -> tuple[Axis, ...]:
    dims = {tensor(r).dims for r in results}
    if len(dims) != 1:
        listed = ", ".join(str(r.type) for r in results)
        raise PassError(f"cluster at {cluster.location}: results are {listed}, expected equal dims")
    return tuple(Axis(names.fresh(f"i{n}"), "parallel", d) for n, d in enumerate(next(iter(dims))))


def _scalars(function: KernelFunc) -> tuple[str, ...]:
    """The dim symbols of a kernel: all that it mentions but the axes."""
    axes = {a.name for o in function.walk() if isinstance(o, Structured | Parallel) for a in o.axes}
    return tuple(sorted(symbols_under(function) - axes))


def _about(lines: Sequence[str], symbols: Sequence[str]) -> tuple[str, ...]:
    """The facts that speak of these symbols only."""
    known = set(symbols)
    return tuple(line for line in lines if set(Facts.parse([line]).symbols) <= known)
