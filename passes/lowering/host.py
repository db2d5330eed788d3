"""The clustered `graph.func` becomes the host's `program.func`.

In: a graph function of clusters, views and code on constants only.  Out: the program function and its kernels,
one for each distinct cluster.

Clusters become launches, two where the result has padding around: its border is filled by a kernel of its own.
Views (`Movement.is_view`) become `program.view`.  A result that the caller asked for is computed in the caller's
buffer where its producer allows it, and copied there otherwise.  What depends on constants only becomes a graph.func
without parameters behind a `program.constant`: the artefact's writer evaluates it.
"""

from __future__ import annotations

from headrace.ir.access import SymbolRef
from headrace.ir.core import Block, Operation, OpResult, Region, Value, producer
from headrace.ir.dims import Dim, Facts
from headrace.ir.errors import PassError
from headrace.ir.graph.families import DataDims, GraphOp, Movement, tensor
from headrace.ir.graph.lazy import lazy_values
from headrace.ir.graph.ops.cluster import Cluster
from headrace.ir.graph.ops.constant import Constant as GraphConstant
from headrace.ir.graph.ops.func import GraphFunc, Return
from headrace.ir.graph.ops.pad import Pad
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.program.ops.program import Alloc, Check, Constant, Copy, Launch, ProgramFunc, Read, View
from headrace.ir.rewrite import Builder
from headrace.ir.types import BufferType
from headrace.passes.lowering.cluster import lower_cluster
from headrace.passes.lowering.names import Names
from headrace.passes.lowering.padding import border_kernel


class HostLowering:
    """One graph function on its way down; `functions` are what it became, the program first."""

    def __init__(self, source: GraphFunc) -> None:
        self.source = source
        self.facts: Facts = source.known
        self.kernels: list[KernelFunc] = []
        self.constants: list[GraphFunc] = []
        self.names = Names(source)
        self.buffers: dict[Value, Value] = {}
        self.targets: dict[Value, Value] = {}  # results of clusters that are computed in a caller's buffer
        self.fixed = lazy_values(source.block)

    def lower(self) -> ProgramFunc:
        """The program; its kernels and constants' functions are in `kernels` and `constants`."""
        source = self.source
        returned = source.block.terminator.operands
        types = [buffer_type(v, "global") for v in (*source.parameters, *returned)]
        hints = [p.hint for p in source.parameters] + [f"out_{n}" for n in source.output_names]
        body = Block(types, hints)
        outputs = body.arguments[len(source.parameters) :]
        self.builder = Builder(body)
        self.buffers.update(zip(source.parameters, body.arguments, strict=False))
        copies = [(v, o) for v, o in zip(returned, outputs, strict=True) if not self._claim(v, o)]
        for operation in source.block.body:
            self.builder.location = operation.location
            self._lower(operation)
        for value, output in copies:
            self.builder.add(Copy(self._buffer(value), output))
        return ProgramFunc(
            source.symbol,
            Region(body),
            len(returned),
            source.facts,
            source.input_names,
            source.output_names,
        )

    # ---- results in the caller's buffers -----------------------------------------------------------------

    def _claim(self, value: Value, output: Value) -> bool:
        """Lets the cluster behind `value`, through views, write into `output`.  False if none can."""
        while isinstance(value, OpResult) and _is_view(value.operation) and value not in self.fixed:
            value = value.operation.operands[0]
        if producer(value, Cluster) is None or value in self.targets:
            return False
        self.targets[value] = output
        return True

    # ---- operations --------------------------------------------------------------------------------------

    def _lower(self, operation: Operation) -> None:
        if all(r in self.fixed for r in operation.results):
            return  # made on demand, see _constant
        match operation:
            case Cluster():
                self._cluster(operation)
            case Movement() if operation.is_view:
                self._check_dims(operation, {})
                self._view(operation)
            case _:
                raise PassError(f"kernel.lower: {operation.name} at {operation.location} is in no cluster")

    def _check_dims(self, operation: Operation, outside: dict[Value, Value]) -> None:
        """Binds the symbols of dims that are data, and checks what could not be proven."""
        if isinstance(operation, DataDims):
            for read in operation.dim_reads():
                source = self._buffer(outside.get(read.operand, read.operand))
                self.builder.add(Read(source, read.element, read.symbol, Dim.constant(read.lower)))
        if isinstance(operation, GraphOp):
            for check in operation.checks():
                if self.facts.less_equal(0, check.formula) is not True:
                    self.builder.add(Check((check.formula,), check.message)).location = operation.location

    def _cluster(self, cluster: Cluster) -> None:
        outside: dict[Value, Value] = dict(zip(cluster.body.block.arguments, cluster.inputs, strict=True))
        for inner in cluster.walk():
            self._check_dims(inner, outside)
        name = self.names.fresh(_kernel_name(cluster))
        lowered = lower_cluster(cluster, name, self.facts)
        operands = [self._buffer(cluster.inputs[i]) for i in lowered.inputs]
        results = []
        for result in cluster.results:
            target = self.targets.get(result)
            kind = buffer_type(result, "arena" if target is None else "global")
            if target is None:
                self.buffers[result] = self.builder.add(Alloc(kind), result.hint).result
            elif target.type == kind:
                self.buffers[result] = target
            else:
                self.buffers[result] = self.builder.add(View(target, kind, Dim.constant(0)), result.hint).result
            results.append(self.buffers[result])
        for yielded, buffer in zip(cluster.body.block.terminator.operands, results, strict=True):
            self._border(yielded, buffer)
        self._launch(lowered.function, (*operands, *results))

    def _border(self, result: Value, buffer: Value) -> None:
        """Fills what a cluster's kernel leaves out of a padded result."""
        pad = producer(result, Pad)
        if pad is None or not pad.is_frame:
            return
        kernel = border_kernel(pad, self.names.fresh("border"), self.facts)
        (kind,) = (p.type for p in kernel.parameters)
        assert isinstance(kind, BufferType) and isinstance(buffer.type, BufferType)
        joined = BufferType(kind.dtype, kind.dims, buffer.type.space)
        self._launch(kernel, (self.builder.add(View(buffer, joined, Dim.constant(0))).result,))

    def _launch(self, kernel: KernelFunc, buffers: tuple[Value, ...]) -> None:
        self.kernels.append(kernel)
        self.builder.add(Launch(buffers, kernel.symbol, tuple(Dim.symbol(s) for s in kernel.scalars)))

    def _view(self, view: Movement) -> None:
        base = self._buffer(view.operands[0])
        assert isinstance(base.type, BufferType)
        kind = buffer_type(view.results[0], base.type.space)
        self.buffers[view.results[0]] = self.builder.add(View(base, kind, Dim.constant(0)), view.results[0].hint).result

    # ---- constants ---------------------------------------------------------------------------------------

    def _buffer(self, value: Value) -> Value:
        if value not in self.buffers:
            self.buffers[value] = self._constant(value)
        return self.buffers[value]

    def _constant(self, value: Value) -> Value:
        assert value in self.fixed, f"{value.type} has no buffer"
        known = producer(value, GraphConstant)
        if known is not None:
            return self.builder.add(Constant(known.value, buffer_type(value, "global")), value.hint).result
        name = self.names.fresh(f"{value.hint or 'constant'}_value")
        self.constants.append(_outlined(value, name))
        return self.builder.add(Constant(SymbolRef(name), buffer_type(value, "global")), value.hint).result


def buffer_type(value: Value, space: str) -> BufferType:
    """The dense buffer that holds a tensor."""
    kind = tensor(value)
    assert space == "arena" or space == "global"
    return BufferType(kind.dtype, kind.dims, "arena" if space == "arena" else "global")


def _is_view(operation: Operation) -> bool:
    return isinstance(operation, Movement) and operation.is_view


def _outlined(value: Value, name: str) -> GraphFunc:
    """A function without parameters that computes `value`."""
    needed: list[Operation] = []

    def visit(part: Value) -> None:
        assert isinstance(part, OpResult)
        if part.operation not in needed:
            for operand in part.operation.operands:
                visit(operand)
            needed.append(part.operation)

    visit(value)
    block = Block()
    builder = Builder(block)
    copies: dict[Value, Value] = {}
    for operation in needed:
        builder.add(operation.clone(copies))
    builder.add(Return((copies[value],)))
    return GraphFunc(SymbolRef(name), Region(block))


def _kernel_name(cluster: Cluster) -> str:
    """The names of its operations, at most four: `conv_add_relu`."""
    names = [o.name.partition(".")[2] for o in cluster.walk() if o.operands and isinstance(o, GraphOp)]
    return "_".join(names[:4]) + ("_more" if len(names) > 4 else "") or "fill"
