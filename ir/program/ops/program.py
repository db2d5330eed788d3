"""program.func and its operations: the host's part of a model.

    program.func @main(%x: buffer<f32[batch, 784]>, %y: buffer<f32[batch, 10]>)
        {outputs = 1, input_names = ["x"], output_names = ["y"]} {
      %w = program.constant {value = @w0, type = buffer<f32[784, 10]>} : buffer<f32[784, 10]>
      %t = program.alloc {type = buffer<f32[batch, 10], arena>, offset = 0} : buffer<f32[batch, 10], arena>
      program.launch buffers(%x, %w, %t) {kernel = @matmul, scalars = [batch]}
      %v = program.view %t {type = buffer<f32[batch*10], arena>, offset = 0} : buffer<f32[batch*10], arena>
      program.launch buffers(%v, %y) {kernel = @softmax, scalars = [batch]}
    }

The last `outputs` parameters are the caller's result buffers; their dims are formulas over the symbols that the
inputs' dims bind.  `program.read` makes a data element a symbol for everything below it: what comes after is
a new segment with a plan of its own.  Buffers of space `global` are the caller's or constants, `arena` is
planned by `program.plan-memory`, which sets the offsets (None before).

A `program.loop` holds what is done again and again:

    %s = program.state {type = buffer<f32[n], arena>} : buffer<f32[n], arena>
    program.loop {symbols = ["t", "n_t"], starts = [0, n], limit = 9, condition = n_t - 2} {
      %x = program.view %s {type = buffer<f32[n_t], arena>, offset = 0} : buffer<f32[n_t], arena>
      program.launch buffers(%x) {kernel = @halve, scalars = [n_t]}
      program.next {values = [t + 1, (n_t + 1) floordiv 2]}
    }

Its symbols are known in it, as they are in this turn, and below it, as the last turn left them.  Buffers of its own are
made anew in each turn, in an arena of its own.

`when`, where it is given, is -1 or 0: an operation with -1 is left out, a buffer with -1 has no bytes.  So the
branches of an if stand one behind the other, with `when = holds - 1` and `when = -holds`.
"""

from __future__ import annotations

from collections.abc import Sequence

from headrace.ir.access import SymbolRef
from headrace.ir.constants import ConstantRef
from headrace.ir.core import Operation, OpResult, Region, Value
from headrace.ir.declare import op
from headrace.ir.dims import Dim
from headrace.ir.module import BufferFunction
from headrace.ir.types import BufferType, Type


@op("program.func")
class ProgramFunc(BufferFunction):
    """The host's part of a model: parameters are the inputs, then the outputs."""

    symbol: SymbolRef
    body: Region
    outputs: int
    facts: tuple[str, ...] = ()
    input_names: tuple[str, ...] = ()
    output_names: tuple[str, ...] = ()

    def verify_op(self) -> None:
        for parameter in self.parameters:
            self.check_buffer(parameter)


@op("program.constant")
class Constant(Operation):
    """A constant's buffer: an array of the store, or what a graph.func without parameters computes.

    The function is evaluated when the artefact is written, one at a time, so that packed or cast weights never
    lie in memory all at once.
    """

    value: ConstantRef | SymbolRef
    type: BufferType

    def infer(self) -> Sequence[Type]:
        return [self.type]


class _InArena(Operation):
    """Base of what makes a buffer in an arena."""

    type: BufferType

    def infer(self) -> Sequence[Type]:
        return [self.type]

    def verify_op(self) -> None:
        if self.type.space != "arena":
            raise self.fail(f"space is {self.type.space}, expected arena")


@op("program.alloc")
class Alloc(_InArena):
    """A buffer in the arena, `offset` bytes from its start (a multiple of 64); undefined until written."""

    type: BufferType
    offset: Dim | None = None
    when: Dim | None = None

    is_pure = False


@op("program.view")
class View(Operation):
    """The same memory with other dims, from `offset` bytes on: with strides, a part.  An empty one lies anywhere."""

    x: Value
    type: BufferType
    offset: Dim
    when: Dim | None = None

    def infer(self) -> Sequence[Type]:
        return [self.type]

    def verify_op(self) -> None:
        kind = self.x.type
        if not isinstance(kind, BufferType) or (kind.space, kind.dtype) != (self.type.space, self.type.dtype):
            raise self.fail(f"views {kind} as {self.type}, expected the same space and element type")


@op("program.launch")
class Launch(Operation):
    """Runs a kernel on its whole task domain; `scalars` are the values of the kernel's scalars, in order.

    How many tasks that are follows from the kernel's `task` axes (`headrace.ir.kernel.tasks`).
    """

    buffers: tuple[Value, ...]
    kernel: SymbolRef
    scalars: tuple[Dim, ...]
    when: Dim | None = None

    is_pure = False


@op("program.call")
class Call(Operation):
    """Runs a graph.device_func: its operands' buffers, then those of its results, all of them dense."""

    buffers: tuple[Value, ...]
    function: SymbolRef

    is_pure = False


@op("program.copy")
class Copy(Operation):
    """Copies a whole buffer; sizes are equal."""

    source: Value
    target: Value
    when: Dim | None = None

    is_pure = False


@op("program.read")
class Read(Operation):
    """Binds `symbol` to the integer at `element` (row-major) of a buffer; an error unless lower <= it <= upper.

    Everything below may use the symbol.  The error names the location's node.
    """

    x: Value
    element: int
    symbol: str
    lower: Dim
    upper: Dim | None = None

    is_pure = False


@op("program.check")
class Check(Operation):
    """An error with `message` unless every formula is >= 0."""

    where: tuple[Dim, ...]
    message: str

    is_pure = False


@op("program.state")
class State(_InArena):
    """A buffer that grows where a view reaches beyond it, and keeps what it holds.  `type`: what it is at first."""

    type: BufferType

    is_pure = False


@op("program.next")
class Next(Operation):
    """Ends a turn of a loop: what its symbols are in the next one, or below the loop."""

    values: tuple[Dim, ...]

    is_terminator = True
    is_pure = False


@op("program.loop")
class Loop(Operation):
    """Turns of the body while condition >= 0, at most `limit`.  Symbols are `starts` in the first turn."""

    symbols: tuple[str, ...]
    starts: tuple[Dim, ...]
    limit: Dim
    condition: Dim
    body: Region

    is_pure = False

    @property
    def next(self) -> Next:
        found = self.body.block.terminator
        assert isinstance(found, Next), "the verifier has seen it"
        return found

    def verify_op(self) -> None:
        end = self.body.block.terminator
        if not isinstance(end, Next):
            raise self.fail(f"its body ends with {end.name}, expected program.next")
        counts = (len(self.starts), len(end.values))
        if counts != (len(self.symbols),) * 2:
            raise self.fail(f"has {len(self.symbols)} symbols, {counts[0]} starts and {counts[1]} next values")
        if self.body.block.arguments:
            raise self.fail("its body has arguments, expected none")


def guard_of(operation: Operation) -> Dim | None:
    """When an operation counts; a view of a buffer without bytes has none either."""
    while True:
        found = operation.attributes.get("when")
        if found is not None or not isinstance(operation, View) or not isinstance(operation.x, OpResult):
            assert found is None or isinstance(found, Dim)
            return found
        operation = operation.x.operation


def bytes_of(buffer: Alloc | View) -> Dim:
    """How many a buffer takes."""
    when = guard_of(buffer)
    return buffer.type.bytes if when is None else buffer.type.bytes * (when + 1)
