"""The clustered `graph.func` becomes the host's `program.func`.

In: a graph function of clusters, views and code on constants only.  Out: the program function and its kernels,
one for each distinct cluster.

Functions that it calls are written out in their place: those of a `graph.if` one behind the other, their launches under
the condition that decides; that of a `graph.loop` in a `program.loop` (headrace.passes.lowering.turns).

Clusters become launches, two where the result has padding around: its border is filled by a kernel of its own; none
where the result has no elements.  Views (`Movement.is_view`) become `program.view`.  A result that the caller asked
for is computed in the caller's buffer where its producer allows it, and copied there otherwise.  What depends on
constants only becomes a graph.func without parameters behind a `program.constant`: the artefact's writer evaluates it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headrace.ir.access import SymbolRef
from headrace.ir.core import Block, Operation, OpResult, Region, Value, producer
from headrace.ir.dims import Dim, Facts, dim_max, dim_min
from headrace.ir.errors import PassError
from headrace.ir.graph.families import DataDims, DimCheck, GraphOp, Movement, tensor
from headrace.ir.graph.ops.cluster import Cluster
from headrace.ir.graph.ops.concat import Concat
from headrace.ir.graph.ops.constant import Constant as GraphConstant
from headrace.ir.graph.ops.control import If
from headrace.ir.graph.ops.device import Call as GraphCall
from headrace.ir.graph.ops.func import GraphFunc, Return
from headrace.ir.graph.ops.loop import Loop
from headrace.ir.graph.ops.pad import Pad
from headrace.ir.graph.ops.slice import Slice
from headrace.ir.graph.places import Part, Places, operand_parts
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.module import Module
from headrace.ir.program.ops.program import Alloc, Call, Check, Constant, Copy, Launch, ProgramFunc, Read, View
from headrace.ir.rewrite import Builder
from headrace.ir.types import BufferType, Space, TensorType
from headrace.passes.lowering.cluster import lower_cluster
from headrace.passes.lowering.names import Names, symbols_under
from headrace.passes.lowering.padding import border_kernel
from headrace.passes.lowering.turns import Turns


class HostLowering:
    """One graph function on its way down, with those that it calls."""

    def __init__(self, module: Module, source: GraphFunc) -> None:
        self.module = module
        self.source = source
        self.kernels: list[KernelFunc] = []
        self.constants: list[GraphFunc] = []
        self.facts: dict[str, None] = {}  # lines of all functions
        self.names = Names(source)
        for function in module.functions(GraphFunc):
            self.names.taken |= symbols_under(function)
        self.bound = {s for p in source.parameters for d in tensor(p).dims for s in d.symbols}  # so far

    def lower(self) -> ProgramFunc:
        """The program; its kernels and constants' functions are in `kernels` and `constants`."""
        source = self.source
        returned = source.block.terminator.operands
        types = [buffer_type(v) for v in (*source.parameters, *returned)]
        hints = [p.hint for p in source.parameters] + [f"out_{n}" for n in source.output_names]
        body = Block(types, hints)
        count = len(source.parameters)
        self.builder = Builder(body)
        self.inline(source, body.arguments[:count], list(body.arguments[count:]), None)
        return ProgramFunc(
            source.symbol,
            Region(body),
            len(returned),
            tuple(self.facts),
            source.input_names,
            source.output_names,
        )

    def inline(
        self, source: GraphFunc, inputs: Sequence[Value], outputs: Sequence[Value | None], when: Dim | None
    ) -> list[Value]:
        """What a function does, from buffers to buffers; nothing where `when` is -1.  The buffers of its results: those
        that are given, and new ones for the others."""
        self.facts.update(dict.fromkeys(source.facts))
        return _Body(self, source, inputs, outputs, when).lower()


class _Body:
    """One call of a function: where its values lie, and the operations that make them."""

    def __init__(
        self,
        program: HostLowering,
        source: GraphFunc,
        inputs: Sequence[Value],
        outputs: Sequence[Value | None],
        when: Dim | None,
    ) -> None:
        self.program = program
        self.builder = program.builder
        self.names = program.names
        self.source = source
        self.outputs = list(outputs)
        self.when = when
        self.facts: Facts = source.known
        self.places = settled(source)
        self.fixed = self.places.lazy
        self.buffers: dict[Value, Value] = dict(zip(source.parameters, inputs, strict=True))

    def lower(self) -> list[Value]:
        for operation in self.source.block.body:
            self.builder.location = operation.location
            self._lower(operation)
        returned = self.source.block.terminator.operands
        for number, value in enumerate(returned):
            if number not in self.places.results:
                self.builder.add(Copy(self.buffer(value), self._output(number), self.when))
        return [self._output(number) for number in range(len(returned))]

    # ---- operations --------------------------------------------------------------------------------------

    def _lower(self, operation: Operation) -> None:
        if all(r in self.fixed for r in operation.results):
            return  # made on demand, see _constant
        match operation:
            case Cluster():
                self._cluster(operation)
            case If():
                self._branches(operation)
            case GraphCall():
                buffers = [self.buffer(v) for v in (*operation.values, *operation.results)]
                self.builder.add(Call(tuple(buffers), operation.function))
            case Loop():
                self._turns(operation)
            case Movement() | Concat() | Pad() if _is_no_kernel(operation):
                self._check_dims(operation, {})
                self.buffer(operation.result)
            case _:
                raise PassError(f"kernel.lower: {operation.name} at {operation.location} is in no cluster")

    def _check_dims(self, operation: Operation, outside: dict[Value, Value]) -> None:
        """Binds the symbols of dims that are data, and checks what could not be proven."""
        if isinstance(operation, DataDims):
            around, self.builder.location = self.builder.location, operation.location  # errors name it alone
            for read in operation.dim_reads():
                source = self.buffer(outside.get(read.operand, read.operand))
                self.read(source, read.element, read.symbol, read.lower, None)
            self.builder.location = around
        if isinstance(operation, GraphOp):
            for check in (*operation.checks(), *_sizes_of(operation)):
                if self.facts.less_equal(0, check.formula) is not True:
                    self._check(operation, check)

    def _check(self, operation: GraphOp, check: DimCheck) -> None:
        formula = check.formula if self.when is None else dim_max(check.formula, -self.when - 1)
        self.builder.add(Check((formula,), check.message)).location = operation.location

    def read(self, source: Value, element: int, symbol: str, lower: int, upper: int | None) -> None:
        """Makes a symbol of an element.  In a branch that is not taken it is 1, which may be a size or a divisor."""
        self.program.bound.add(symbol)
        low, high = Dim.constant(lower), None if upper is None else Dim.constant(upper)
        if self.when is None:
            self.builder.add(Read(source, element, symbol, low, high))
            return
        assert isinstance(source.type, BufferType) and lower <= 1
        dtype = source.type.dtype
        one = self.program.module.constants.add(np.ones(1, dtype.numpy))
        single = BufferType(dtype, (Dim.constant(1),), "arena")
        copy = self.builder.add(Alloc(single)).result
        part = BufferType(dtype, single.dims, source.type.space)
        wanted = self.builder.add(View(source, part, Dim.constant(element * dtype.bytes), self.when)).result
        self.builder.add(Copy(wanted, copy, self.when))
        instead = self.builder.add(Constant(one, BufferType(dtype, single.dims))).result
        self.builder.add(Copy(instead, copy, -self.when - 1))
        self.builder.add(Read(copy, 0, symbol, low, high))

    def _branches(self, operation: If) -> None:
        """One function behind the other, each where the condition is as it wants it."""
        self.read(self.buffer(operation.condition), 0, operation.symbol, 0, 1)
        inputs = [self.buffer(c) for c in operation.captures]
        # A size that one of them reads is known behind both only: then each has a buffer of its own, to be copied.
        outputs = [self.buffer(r) if self._is_bound(r) else None for r in operation.results]
        copies: list[tuple[Value, Value, TensorType, Dim]] = []
        holds = Dim.symbol(operation.symbol)
        for symbol, when in zip(operation.functions, (holds - 1, -holds), strict=True):
            function = self.program.module.function(symbol.name)
            assert isinstance(function, GraphFunc), "the verifier has seen it"
            guard = when if self.when is None else dim_min(self.when, when)
            given = function.block.terminator.operands
            results = [o and self._as(o, tensor(v), guard) for o, v in zip(outputs, given, strict=True)]
            made = self.program.inline(function, inputs, results, guard)
            for result, own, value, output in zip(operation.results, made, given, outputs, strict=True):
                if output is None:
                    copies.append((own, result, tensor(value), guard))
            self.builder.location = operation.location
        for own, late, kind, guard in copies:
            self.builder.add(Copy(own, self._as(self.buffer(late), kind, guard), guard))

    def _turns(self, loop: Loop) -> None:
        """The function again and again."""
        function = self.program.module.function(loop.body.name)
        assert isinstance(function, GraphFunc), "the verifier has seen it"
        if loop.most is not None:
            self.read(self.buffer(loop.most), 0, loop.limit.symbols[0], 0, None)
        goes_on = None
        if loop.condition is not None:
            goes_on = self.names.fresh(f"{loop.turn}_begins")
            self.read(self.buffer(loop.condition), 0, goes_on, 0, 1)
        given = [self.buffer(v) for v in loop.given]
        turns = Turns(loop, function, self.builder, self.names, self.when, self.guard)
        around = set(self.program.bound)
        self.program.bound |= {loop.turn, *loop.symbols}
        self.buffers.update(turns.lower(given, goes_on, set(self.program.bound), self.program.inline))
        self.program.bound = around | {loop.turn, *loop.symbols, *loop.sizes}

    def _is_bound(self, value: Value) -> bool:
        return {s for d in tensor(value).dims for s in d.symbols} <= self.program.bound

    def _as(self, buffer: Value, kind: TensorType, when: Dim) -> Value:
        """A buffer as one for a tensor of that type, which is what it holds where the guard lets one see."""
        assert isinstance(buffer.type, BufferType)
        if buffer.type.dims == kind.dims:
            return buffer
        own = BufferType(kind.dtype, kind.dims, buffer.type.space)
        return self.builder.add(View(buffer, own, Dim.constant(0), when), buffer.hint).result

    def _cluster(self, cluster: Cluster) -> None:
        outside: dict[Value, Value] = dict(zip(cluster.body.block.arguments, cluster.inputs, strict=True))
        for inner in cluster.walk():
            self._check_dims(inner, outside)
        if all(any(d == 0 for d in tensor(r).dims) for r in cluster.results):
            return  # nothing is to be computed
        name = self.names.fresh(_kernel_name(cluster))
        lowered = lower_cluster(cluster, name, self.facts, self._global)
        operands = [self.buffer(cluster.inputs[i]) for i in lowered.inputs]
        results = [self.buffer(r) for r in cluster.results]
        self._launch(lowered.function, (*operands, *results))

    def _border(self, pad: Pad, buffer: Value) -> None:
        """Fills what the kernels that make the middle leave out of a padded result."""
        kernel = border_kernel(pad, self.names.fresh("border"), self.facts)
        (kind,) = (p.type for p in kernel.parameters)
        assert isinstance(kind, BufferType) and isinstance(buffer.type, BufferType)
        joined = BufferType(kind.dtype, kind.dims, buffer.type.space)
        self._launch(kernel, (self.builder.add(View(buffer, joined, Dim.constant(0), self.guard(joined))).result,))

    def _launch(self, kernel: KernelFunc, buffers: tuple[Value, ...]) -> None:
        self.program.kernels.append(kernel)
        self.builder.add(Launch(buffers, kernel.symbol, tuple(Dim.symbol(s) for s in kernel.scalars), self.when))

    # ---- buffers -----------------------------------------------------------------------------------------

    def buffer(self, value: Value) -> Value:
        """Where a value lies; memory is taken when the first of its parts is asked for."""
        if value not in self.buffers:
            part = self.places.part(value)
            if value in self.fixed:
                self.buffers[value] = self._constant(value)
            elif part is not None:
                self.buffers[value] = self._view(value, part)
            else:
                kind = self._type(value, "arena")
                self.buffers[value] = self.builder.add(Alloc(kind, None, self.guard(kind)), value.hint).result
            self._frame(value)
        return self.buffers[value]

    def _output(self, number: int) -> Value:
        """Where a result of the function goes."""
        found = self.outputs[number]
        if found is not None:
            return found
        dense = buffer_type(self.source.block.terminator.operands[number])
        kind = BufferType(dense.dtype, dense.dims, "arena")
        made = self.builder.add(Alloc(kind, None, self.guard(kind))).result
        self.outputs[number] = made
        return made

    def _view(self, value: Value, part: Part) -> Value:
        """The buffer of a value that is part of another; that one's own where it is all of it."""
        whole = self._output(part.whole) if isinstance(part.whole, int) else self.buffer(part.whole)
        assert isinstance(whole.type, BufferType)
        kind = self._type(value, whole.type.space)
        if kind == whole.type:
            return whole
        view = View(whole, kind, part.offset * kind.dtype.bytes, self._guard_of_view(kind, part.offset, whole.type))
        return self.builder.add(view, value.hint).result

    def _guard_of_view(self, kind: BufferType, offset: Dim, whole: BufferType) -> Dim | None:
        """Under which condition a view lies within the whole, where it could end up outside otherwise."""
        known = {s for dim in whole.dims for s in dim.symbols}
        inside = set(offset.symbols) <= known and self.facts.less_equal(kind.elements, whole.elements) is True
        return self.guard(kind) if inside else self.when

    def guard(self, kind: BufferType) -> Dim | None:
        """Under which condition a buffer has a size at all, where that could be below 0 otherwise."""
        proven = all(self.facts.less_equal(0, d) is True for d in kind.dims)
        return None if proven else self.when

    def _frame(self, value: Value) -> None:
        """A padded value's border is filled as soon as there is memory for it."""
        cluster = producer(value, Cluster)
        made = value if cluster is None else cluster.body.block.terminator.operands[cluster.results.index(value)]
        pad = producer(made, Pad)
        if pad is not None and pad.is_frame and value not in self.fixed:
            self._border(pad, self.buffers[value])

    def _type(self, value: Value, space: Space) -> BufferType:
        """Of the buffer that holds a value."""
        kind, strides = tensor(value), self.places.strides(value)
        assert strides is not None, f"{kind} is no view"
        return BufferType(kind.dtype, kind.dims, space, None if self.places.is_dense(value) else strides)

    def _global(self, value: Value) -> BufferType:
        """The same as a kernel's parameter."""
        return self._type(value, "global")

    # ---- constants ---------------------------------------------------------------------------------------

    def _constant(self, value: Value) -> Value:
        assert value in self.fixed, f"{value.type} has no buffer"
        known = producer(value, GraphConstant)
        if known is not None:
            return self.builder.add(Constant(known.value, buffer_type(value)), value.hint).result
        name = self.names.fresh(f"{value.hint or 'constant'}_value")
        self.program.constants.append(_outlined(value, name))
        return self.builder.add(Constant(SymbolRef(name), buffer_type(value)), value.hint).result


def buffer_type(value: Value) -> BufferType:
    """The dense buffer in the caller's memory, or a constant's, that holds a tensor."""
    kind = tensor(value)
    return BufferType(kind.dtype, kind.dims)


def _sizes_of(operation: GraphOp) -> list[DimCheck]:
    """That dims which are made there are none below 0, as they are where a window is larger than what it moves over."""
    given = {d for o in operation.operands for d in tensor(o).dims}
    made = dict.fromkeys(d for r in operation.results for d in tensor(r).dims if d not in given)
    return [DimCheck(d, f"a dim of {d} would be below 0") for d in made]


def settled(source: GraphFunc) -> Places:
    """The places of all values: the operands of concats and paddings outside of clusters lie in these.

    Raises PassError for an operand that cannot.
    """
    places = Places(source)
    for operation in reversed(source.block.body):
        if isinstance(operation, Concat | Pad) and operation.result not in places.lazy:
            strides = places.strides(operation.result)
            assert strides is not None, "a concat is no view"
            for x, (first, inner) in zip(operation.operands, operand_parts(operation, strides), strict=True):
                if not places.place(x, Part(operation.result, first, inner)):
                    where = f"kernel.lower: {operation.name} at {operation.location}"
                    raise PassError(f"{where}: an operand has another place; graph.place-parts must come before")
    return places


def _is_no_kernel(operation: Operation) -> bool:
    """Whether an operation outside of clusters says only where values lie."""
    return not isinstance(operation, Movement) or operation.is_view or isinstance(operation, Slice)


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
