"""The reference interpreter of the program dialect: memory, launches, and the checks between them.

In: a program.func, arrays for its inputs.  Out: arrays of its outputs.  Planned buffers are windows of one
arena, so that two that overlap while both are in use destroy each other here as they would on a device.  Each
byte knows which buffer wrote it last: to read through one buffer what another wrote is a fault even where the
bytes happen to be right.  Without a plan each buffer has memory of its own; so it has in a `wide` run, where
all floats are float64 and no plan would fit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from headrace.ir.access import SymbolRef
from headrace.ir.bind import bind
from headrace.ir.core import BlockArgument, Operation, OpResult, Value
from headrace.ir.errors import DataError, ExecutionError
from headrace.ir.graph.interpret import run_device, run_graph
from headrace.ir.graph.ops.func import GraphFunc
from headrace.ir.kernel.interpret import execute
from headrace.ir.kernel.interpret.memory import OVERWRITTEN, UNDEFINED, WRITTEN, layout, undefined
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.module import Module, module_of
from headrace.ir.program.ops.program import (
    Alloc,
    Call,
    Check,
    Constant,
    Copy,
    Launch,
    Loop,
    ProgramFunc,
    Read,
    State,
    View,
    guard_of,
)
from headrace.ir.types import BufferType, DType

Array = np.ndarray[Any, Any]
NOBODY = 0
MOST_TURNS = 10_000  # of one loop: more are nothing to wait for


class Memory:
    """A block of bytes, and for each the number of the buffer that wrote it last."""

    __slots__ = ("bytes", "writer")

    def __init__(self, size: int) -> None:
        self.bytes = np.full(size, 0xFF, np.uint8)
        self.writer = np.zeros(size, np.int32)

    def grow(self, size: int) -> None:
        """At least `size` bytes; what is there stays."""
        missing = size - len(self.bytes)
        if missing > 0:
            self.bytes = np.concatenate([self.bytes, np.full(missing, 0xFF, np.uint8)])
            self.writer = np.concatenate([self.writer, np.zeros(missing, np.int32)])


@dataclass(frozen=True, slots=True)
class Window:
    """A part of a memory that holds a buffer: where it starts, how many elements it spans, and whose it is."""

    memory: Memory
    start: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    span: int
    owner: int

    @property
    def size(self) -> int:
        return self.span * self.dtype.itemsize

    @property
    def elements(self) -> Array:
        """The content from the first element to the last, flat, what lies between the elements included: a view."""
        return self.memory.bytes[self.start : self.start + self.size].view(self.dtype)

    @property
    def writers(self) -> Array:
        """Who wrote each element: a view of the number of its first byte."""
        return self.memory.writer[self.start : self.start + self.size : self.dtype.itemsize]

    def states(self) -> Array:
        """For the kernel interpreter: which elements this buffer wrote."""
        writers = self.writers
        lost = np.where(writers == NOBODY, np.uint8(UNDEFINED), np.uint8(OVERWRITTEN))
        return np.where(writers == self.owner, np.uint8(WRITTEN), lost)

    def claim(self, written: Array) -> None:
        """Those elements are this buffer's now."""
        spread = np.repeat(written, self.dtype.itemsize)
        self.memory.writer[self.start : self.start + self.size][spread] = self.owner


def run_program(
    function: ProgramFunc,
    inputs: Sequence[Array],
    symbols: Mapping[str, int] | None = None,
    *,
    wide: bool = False,
    execute: Callable[..., None] = execute,
) -> list[Array]:
    """The outputs; kernels run by `execute`.  Raises ExecutionError and KernelFault."""
    if len(inputs) != len(function.inputs):
        raise ExecutionError(f"@{function.function_name}: {len(inputs)} inputs, expected {len(function.inputs)}")
    return _Run(function, inputs, symbols or {}, wide, execute).run()


def _buffer(value: Value) -> BufferType:
    assert isinstance(value.type, BufferType)
    return value.type


class _Run:
    """One call."""

    def __init__(
        self,
        function: ProgramFunc,
        inputs: Sequence[Array],
        symbols: Mapping[str, int],
        wide: bool,
        execute: Callable[..., None],
    ) -> None:
        self.function = function
        self.execute = execute
        self.module: Module = module_of(function)
        self.wide = wide
        self.arena = Memory(0)
        self.owners = 0
        self.windows: dict[Value, Window] = {}
        self.constants: dict[SymbolRef, Array] = {}
        name = f"@{function.function_name}"
        shaped = [(f"input {p.index}", p.type, a.shape) for p, a in zip(function.inputs, inputs, strict=True)]
        self.symbols = bind(name, shaped, function.known, symbols)
        for parameter, array in zip(function.inputs, inputs, strict=True):
            kind = _buffer(parameter)
            if array.dtype != kind.dtype.numpy and not (wide and kind.dtype.is_float):
                given = f"input {parameter.index} has elements {array.dtype}"
                raise ExecutionError(f"{name}: {given}, expected {kind.dtype}")
            self.windows[parameter] = self.filled(kind, array)

    def run(self) -> list[Array]:
        # Dims of outputs may depend on data that is read below: their memory is made when it is first used.
        for operation in self.function.block.operations:
            self.operation(operation)
        return [self.result(o) for o in self.function.written]

    def operation(self, operation: Operation) -> None:
        when = guard_of(operation)
        if when is not None and int(when.evaluate(self.symbols)) < 0:
            if isinstance(operation, Alloc | View):
                self.windows[operation.result] = Window(Memory(0), 0, self.numpy(operation.type.dtype), (0,), 0, NOBODY)
            return
        match operation:
            case Constant():
                self.windows[operation.result] = self.constant(operation)
            case Alloc():
                self.windows[operation.result] = self.alloc(operation)
            case View():
                self.windows[operation.result] = self.view(operation)
            case Launch():
                self.launch(operation)
            case Call():
                self.call(operation)
            case Copy():
                self.copy(operation)
            case Read():
                self.read(operation)
            case State():
                self.windows[operation.result] = self.own(operation.type)
            case Loop():
                self.loop(operation)
            case Check():
                for formula in operation.where:
                    if int(formula.evaluate(self.symbols)) < 0:
                        raise self.fail(operation, operation.message)
            case _:
                raise self.fail(operation, f"the interpreter does not know {operation.name}")

    # ---- memory ------------------------------------------------------------------------------------------

    def window(self, value: Value) -> Window:
        if value not in self.windows:
            self.windows[value] = self.own(_buffer(value))
        return self.windows[value]

    def numpy(self, dtype: DType) -> np.dtype[Any]:
        return np.dtype(np.float64) if self.wide and dtype.is_float else dtype.numpy

    def shape(self, kind: BufferType) -> tuple[int, ...]:
        return tuple(int(d.evaluate(self.symbols)) for d in kind.dims)

    def own(self, kind: BufferType) -> Window:
        """A new buffer in memory of its own."""
        dtype, shape = self.numpy(kind.dtype), self.shape(kind)
        self.owners += 1
        memory = Memory(prod(shape) * dtype.itemsize)
        memory.bytes[:] = undefined(dtype, prod(shape)).view(np.uint8)
        return Window(memory, 0, dtype, shape, prod(shape), self.owners)

    def filled(self, kind: BufferType, array: Array) -> Window:
        window = self.own(kind)
        window.elements[:] = array.reshape(-1)
        window.claim(np.ones(array.size, np.bool_))
        return window

    def alloc(self, operation: Alloc) -> Window:
        kind = operation.type
        if operation.offset is None or self.wide:
            return self.own(kind)
        start = int(operation.offset.evaluate(self.symbols))
        if start < 0 or start % 64:
            raise self.fail(operation, f"offset is {start}, expected a multiple of 64")
        self.owners += 1
        shape = self.shape(kind)
        window = Window(self.arena, start, kind.dtype.numpy, shape, prod(shape), self.owners)
        self.arena.grow(start + window.size)
        return window

    def view(self, operation: View) -> Window:
        base = self.window(operation.x)
        declared = operation.type.dtype.bytes
        offset = int(operation.offset.evaluate(self.symbols))
        start = base.start + offset // declared * base.dtype.itemsize
        shape, _, span = layout(operation.type, self.symbols)
        window = Window(base.memory, start, base.dtype, shape, span, base.owner)
        if not span:
            return Window(base.memory, base.start, base.dtype, shape, 0, base.owner)  # an empty one lies anywhere
        if isinstance(operation.x, OpResult) and isinstance(operation.x.operation, State):
            base.memory.grow(start + window.size)
        elif offset % declared or offset < 0 or start + window.size > base.start + base.size:
            raise self.fail(operation, f"bytes {offset} and on of {list(base.shape)} cannot hold {list(window.shape)}")
        return window

    def constant(self, operation: Constant) -> Window:
        value = operation.value
        if not isinstance(value, SymbolRef):
            return self.filled(operation.type, self.module.constants.array(value))
        if value not in self.constants:
            function = self.module.function(value.name)
            if not isinstance(function, GraphFunc) or function.parameters:
                raise self.fail(operation, f"{value} is no graph.func without parameters")
            (self.constants[value],) = run_graph(function, [], wide=self.wide)
        array = self.constants[value]
        if array.shape != self.shape(operation.type):
            raise self.fail(operation, f"{value} gives shape {list(array.shape)}, expected {operation.type}")
        return self.filled(operation.type, array)

    # ---- work --------------------------------------------------------------------------------------------

    def launch(self, operation: Launch) -> None:
        kernel = self.module.function(operation.kernel.name)
        if not isinstance(kernel, KernelFunc):
            raise self.fail(operation, f"{operation.kernel} is no kernel.func")
        if len(operation.buffers) != len(kernel.parameters) or len(operation.scalars) != len(kernel.scalars):
            raise self.fail(operation, f"{operation.kernel} takes other buffers or scalars")
        scalars = {s: int(d.evaluate(self.symbols)) for s, d in zip(kernel.scalars, operation.scalars, strict=True)}
        windows = [self.window(b) for b in operation.buffers]
        states = [w.states() for w in windows]
        try:
            self.execute(kernel, [w.elements for w in windows], states, scalars, wide=self.wide)
        except DataError as error:
            node = operation.location.nodes[error.node : error.node + 1]
            raise DataError(f"node {node[0]!r}: {error}" if node else str(error)) from None
        for window, state in list(zip(windows, states, strict=True))[len(kernel.inputs) :]:
            window.claim(state == WRITTEN)

    def call(self, operation: Call) -> None:
        function = self.module.function(operation.function.name)
        count = len(function.parameters)
        windows = [self.window(b) for b in operation.buffers]
        for window in windows[:count]:
            self.check_written(operation, window)
        operands = [w.elements.reshape(w.shape) for w in windows[:count]]
        results = run_device(function, operands, self.symbols, wide=self.wide)
        for window, result in zip(windows[count:], results, strict=True):
            window.elements[:] = result.reshape(-1)
            window.claim(np.ones(len(window.elements), np.bool_))

    def copy(self, operation: Copy) -> None:
        source, target = self.window(operation.source), self.window(operation.target)
        if source.size != target.size:
            raise self.fail(operation, f"copies {source.size} bytes to {target.size}")
        self.check_written(operation, source)
        target.elements[:] = source.elements
        target.claim(np.ones(len(target.elements), np.bool_))

    def read(self, operation: Read) -> None:
        source = self.window(operation.x)
        self.check_written(operation, source)
        number = int(source.elements[operation.element])
        low = int(operation.lower.evaluate(self.symbols))
        high = None if operation.upper is None else int(operation.upper.evaluate(self.symbols))
        if number < low or (high is not None and number > high):
            expected = f"at least {low}" if high is None else f"{low} to {high}"
            raise self.fail(operation, f"{operation.symbol} is {number}, expected {expected}")
        self.symbols[operation.symbol] = number

    def loop(self, operation: Loop) -> None:
        """Each turn has an arena of its own; symbols that the body binds are gone behind it."""
        outside = self.arena, dict(self.symbols)
        bound = [int(d.evaluate(self.symbols)) for d in operation.starts]
        limit, turns = int(operation.limit.evaluate(self.symbols)), 0
        while True:
            self.symbols |= dict(zip(operation.symbols, bound, strict=True))
            if turns >= limit or int(operation.condition.evaluate(self.symbols)) < 0:
                break
            if turns == MOST_TURNS:
                raise self.fail(
                    operation, f"takes more than {MOST_TURNS} turns, which the interpreter does not wait for"
                )
            self.arena = Memory(0)
            for inner in operation.body.block.body:
                self.operation(inner)
            bound = [int(d.evaluate(self.symbols)) for d in operation.next.values]
            turns += 1
        self.arena, self.symbols = outside[0], outside[1] | {s: self.symbols[s] for s in operation.symbols}

    def result(self, output: BlockArgument) -> Array:
        window = self.window(output)
        missing = int(np.count_nonzero(window.writers != window.owner))
        if missing:
            name = output.hint or f"output {self.function.written.index(output)}"
            raise ExecutionError(
                f"@{self.function.function_name}: {missing} of {prod(window.shape)} elements of {name} were not written"
            )
        return window.elements.reshape(window.shape)

    def check_written(self, operation: Operation, window: Window) -> None:
        wrong = np.flatnonzero(window.writers != window.owner)
        if len(wrong):
            nobody = window.writers[wrong[0]] == NOBODY
            what = "which nothing has written" if nobody else "which another buffer has overwritten"
            raise self.fail(operation, f"reads element {wrong[0]}, {what}")

    def fail(self, operation: Operation, message: str) -> ExecutionError:
        nodes = f" (node {operation.location})" if operation.location.nodes else ""
        return ExecutionError(f"@{self.function.function_name}: {operation.name}{nodes}: {message}")
