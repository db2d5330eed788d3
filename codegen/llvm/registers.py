"""Register buffers as SSA values.

In: loads and stores whose indices are constants once loops are unrolled.  Out: names of values; a phi for each
piece of a buffer where control flow meets.

A buffer is cut into *pieces*: vectors of as many lanes as all its accesses have, or single elements where these
differ or do not line up.
"""

from __future__ import annotations

from collections.abc import Sequence

from headrace.codegen.llvm.code import Code
from headrace.codegen.llvm.types import scalar_name, type_name
from headrace.ir.core import Operation, Value, walk
from headrace.ir.dims import Dim
from headrace.ir.errors import CodegenError
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.kernel.ops.memory import Alloc, Load, Store
from headrace.ir.types import BufferType, Element, with_lanes

Piece = tuple[Value, int]  # (buffer, first element)
State = dict[Piece, str]


class Registers:
    """What each piece of each live register buffer holds at the current point."""

    def __init__(self, function: KernelFunc) -> None:
        self.state: State = {}
        self._lanes: dict[Value, int] = {}  # of a piece
        for operation in function.walk():
            if isinstance(operation, Load | Store) and is_register(_buffer(operation)):
                self._see(operation)

    def _see(self, operation: Load | Store) -> None:
        buffer, lanes = _buffer(operation), operation.lanes
        start, step = flat_index(operation)
        in_line = step == 1 and all(factor % lanes == 0 for _, factor in start.terms)
        wanted = lanes if lanes == 1 or in_line else 1
        self._lanes[buffer] = wanted if self._lanes.get(buffer, wanted) == wanted else 1

    # ---- accesses ----------------------------------------------------------------------------------------

    def load(self, code: Code, buffer: Value, start: Dim, step: Dim, lanes: int) -> str:
        """The elements start, start + step, ... as one value."""
        pieces = self._pieces(code, buffer, start, step, lanes)
        values = [self.state.get(p, "poison") for p in pieces]
        if len(values) == 1:
            return values[0]
        element = scalar_name(_type(buffer).dtype)
        total = "poison"
        for lane, value in enumerate(values):
            total = code.add(f"insertelement <{lanes} x {element}> {total}, {element} {value}, i64 {lane}")
        return total

    def store(self, code: Code, buffer: Value, start: Dim, step: Dim, lanes: int, value: str) -> None:
        """Puts the lanes of `value` there."""
        pieces = self._pieces(code, buffer, start, step, lanes)
        if len(pieces) == 1:
            self.state[pieces[0]] = value
            return
        kind = f"<{lanes} x {scalar_name(_type(buffer).dtype)}>"
        for lane, piece in enumerate(pieces):
            self.state[piece] = code.add(f"extractelement {kind} {value}, i64 {lane}")

    def _pieces(self, code: Code, buffer: Value, start: Dim, step: Dim, lanes: int) -> list[Piece]:
        if not start.is_constant or not step.is_constant:
            raise CodegenError(
                f"kernel @{code.name}: element {start} of a register buffer {buffer.type}: expected a constant once"
                " loops of kind unroll are expanded"
            )
        count = 1 if self._lanes[buffer] == lanes else lanes
        pieces = [(buffer, start.value + i * step.value) for i in range(count)]
        size = _type(buffer).elements.value
        last = pieces[-1][1] + (lanes - 1 if count == 1 else 0)
        if not (0 <= pieces[0][1] < size and 0 <= last < size):
            raise CodegenError(f"kernel @{code.name}: element {last} of a register buffer {buffer.type}")
        return pieces

    # ---- control flow ------------------------------------------------------------------------------------

    def changed_in(self, loop: Operation) -> list[Piece]:
        """All pieces of the buffers from outside that code in `loop` stores to."""
        inside = {a.result for a in walk(loop, Alloc)}
        targets = dict.fromkeys(s.target.value for s in walk(loop, Store))
        found: list[Piece] = []
        for buffer in targets:
            if is_register(buffer) and buffer not in inside:
                found += [(buffer, at) for at in range(0, _type(buffer).elements.value, self._lanes[buffer])]
        return found

    def piece_type(self, piece: Piece) -> str:
        return type_name(self._element(piece[0]))

    def _element(self, buffer: Value) -> Element:
        return with_lanes(_type(buffer).dtype, self._lanes[buffer])

    def release(self, operations: Sequence[Operation]) -> None:
        """Forgets the buffers allocated by these operations."""
        gone = {o.result for o in operations if isinstance(o, Alloc)}
        if gone:
            self.state = {piece: value for piece, value in self.state.items() if piece[0] not in gone}

    def merge(self, code: Code, first: tuple[State, str], second: tuple[State, str]) -> None:
        """At the top of a block reached from two: `(what held there, name of the block)` each."""
        merged: State = {}
        for piece in [*first[0], *(p for p in second[0] if p not in first[0])]:
            one, other = first[0].get(piece, "poison"), second[0].get(piece, "poison")
            if one == other:
                merged[piece] = one
            else:
                merged[piece] = code.phi(self.piece_type(piece), [(one, first[1]), (other, second[1])]).name
        self.state = merged


def is_register(value: Value) -> bool:
    """Whether it is a register buffer."""
    return isinstance(value.type, BufferType) and value.type.space == "register"


def flat_index(operation: Load | Store) -> tuple[Dim, Dim]:
    """(element of lane 0, step from lane to lane) in the buffer, as formulas."""
    access = operation.source if isinstance(operation, Load) else operation.target
    kind = _type(access.value)
    steps = tuple(Dim.constant(s) for s in operation.lane_steps)
    return kind.element_at(access.map.indices), kind.element_at(steps)


def _buffer(operation: Load | Store) -> Value:
    return operation.source.value if isinstance(operation, Load) else operation.target.value


def _type(buffer: Value) -> BufferType:
    assert isinstance(buffer.type, BufferType)
    return buffer.type
