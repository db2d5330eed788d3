"""Compile `Dim`s to the plan's bytecode, and read bytecode back.  In: formulas.  Out: instructions, a slot for each.

    (batch*784 + 63) floordiv 64 * 64        %0 = dim 0 0          the symbol batch
                                             %1 = const 784
                                             %2 = mul %0 %1
                                             %3 = const 63
                                             %4 = add %2 %3   ...

Every instruction defines the next slot and reads earlier ones only, so checking a code is one pass, and equal
subformulas, also of different segments, are computed once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import IntEnum

from headrace.ir.dims import Dim, dim_max, dim_min, fold
from headrace.ir.errors import ArtefactError

Instruction = tuple[int, int, int]
Scope = tuple[dict[Instruction, int], dict[str, int]]


class Op(IntEnum):
    """ORDER: docs/artefact.md, runtime/src/formula.h."""

    CONST = 1
    DIM = 2
    READ = 3
    ARG = 4
    ADD = 5
    MUL = 6
    FLOORDIV = 7
    MOD = 8
    MIN = 9
    MAX = 10
    CHECK = 11
    EXPECT = 12


class Emitter:
    """Collects the instructions of one segment after the other; slots are numbered through."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._taken: list[Instruction] = []
        self._slots: dict[Instruction, int] = {}
        self._symbols: dict[str, int] = {}
        self.count = 0

    def emit(self, op: Op, a: int = 0, b: int = 0) -> int:
        """The slot of an instruction, which is new unless the same one is there already."""
        instruction = (int(op), a, b)
        slot = self._slots.get(instruction)
        if slot is None:
            slot = self._slots[instruction] = self.count
            self._taken.append(instruction)
            self.count += 1
        return slot

    def bind(self, symbol: str, slot: int) -> None:
        if symbol in self._symbols:
            raise ArtefactError(f"{self._place}: symbol {symbol!r} is bound twice")
        self._symbols[symbol] = slot

    def is_bound(self, symbol: str) -> bool:
        return symbol in self._symbols

    def scope(self) -> Scope:
        """What is known now, for `leave`."""
        return dict(self._slots), dict(self._symbols)

    def leave(self, scope: Scope) -> None:
        """Forgets what came to be known since."""
        self._slots, self._symbols = scope

    def slot(self, dim: Dim) -> int:
        """The slot that holds a formula.  Raises ArtefactError for an unbound symbol or a number beyond 64 bits."""
        return fold(dim, self)

    def take(self) -> list[Instruction]:
        """What was emitted since the last call."""
        taken, self._taken = self._taken, []
        return taken

    # The algebra that `fold` computes with: values are slots.

    def constant(self, value: int) -> int:
        if not -(2**63) <= value < 2**63:
            raise ArtefactError(f"{self._place}: {value} does not fit 64 bits")
        return self.emit(Op.CONST, value & 0xFFFFFFFF, value >> 32 & 0xFFFFFFFF)

    def symbol(self, name: str) -> int:
        if name not in self._symbols:
            raise ArtefactError(f"{self._place}: symbol {name!r} is bound by no input dim and no read")
        return self._symbols[name]

    def add(self, parts: list[int]) -> int:
        return self._chain(Op.ADD, parts)

    def mul(self, parts: list[int]) -> int:
        return self._chain(Op.MUL, parts)

    def floordiv(self, left: int, right: int) -> int:
        return self.emit(Op.FLOORDIV, left, right)

    def mod(self, left: int, right: int) -> int:
        return self.emit(Op.MOD, left, right)

    def minimum(self, parts: list[int]) -> int:
        return self._chain(Op.MIN, parts)

    def maximum(self, parts: list[int]) -> int:
        return self._chain(Op.MAX, parts)

    def _chain(self, op: Op, parts: list[int]) -> int:
        slot = parts[0]
        for part in parts[1:]:
            slot = self.emit(op, slot, part)
        return slot


def decode(instructions: Sequence[Instruction], known: list[Dim], leaf: Callable[[Instruction], Dim]) -> None:
    """Appends the formula of each instruction to `known`, the formulas of the slots so far.

    `leaf` names the symbol of a DIM, READ or ARG.  Operands must have been checked to be earlier slots.
    """
    for op, a, b in instructions:
        match op:
            case Op.CONST:
                value = b << 32 | a
                known.append(Dim.constant(value - (1 << 64) if value >> 63 else value))
            case Op.ADD:
                known.append(known[a] + known[b])
            case Op.MUL:
                known.append(known[a] * known[b])
            case Op.FLOORDIV:
                known.append(known[a] // known[b])
            case Op.MOD:
                known.append(known[a] % known[b])
            case Op.MIN:
                known.append(dim_min(known[a], known[b]))
            case Op.MAX:
                known.append(dim_max(known[a], known[b]))
            case Op.CHECK | Op.EXPECT:
                known.append(known[a])
            case _:
                known.append(leaf((op, a, b)))
