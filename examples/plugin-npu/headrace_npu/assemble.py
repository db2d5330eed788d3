"""Instructions of one kernel in the making: the scalar unit's formulas, registers, room in the scratchpad.

In: formulas and sizes.  Out: rows of words.  A formula that was computed already, and is still in its register, is not
computed again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import reduce

from headrace.ir.dims import Dim, fold
from headrace.ir.errors import CodegenError
from headrace_npu.isa import REGISTERS, SCRATCHPAD, WORDS, Opcode


@dataclass(slots=True)
class Assembler:
    """`symbols`: the register of each scalar and axis whose value is there."""

    name: str
    rows: list[tuple[int, ...]] = field(default_factory=list)
    symbols: dict[str, int] = field(default_factory=dict)
    _known: dict[tuple[int, ...], int] = field(default_factory=dict)  # registers by what computes their value
    _registers: int = 0
    _elements: int = 0

    def add(self, opcode: Opcode, *operands: int) -> None:
        """One instruction; the words that it does not use are 0."""
        row = (int(opcode), *operands)
        self.rows.append(row + (0,) * (WORDS - len(row)))

    def scalar(self, opcode: Opcode, *operands: int) -> int:
        """The register with the result of an instruction whose first word is its target."""
        key = (int(opcode), *operands)
        if key not in self._known:
            self._known[key] = self._register()
            self.add(opcode, self._known[key], *operands)
        return self._known[key]

    def formula(self, dim: Dim) -> int:
        """The register with the value of a formula."""
        return fold(dim, _ScalarUnit(self))

    def room(self, elements: int) -> int:
        """Where in the scratchpad a tile may lie.  Raises CodegenError."""
        start = self._elements
        self._elements += elements
        if self._elements > SCRATCHPAD:
            raise CodegenError(
                f"npu: kernel @{self.name} needs {self._elements} elements of {SCRATCHPAD} in the scratchpad"
            )
        return start

    @contextmanager
    def scope(self) -> Iterator[None]:
        """What is computed and kept inside is not there any more behind it."""
        kept = dict(self._known), dict(self.symbols), self._registers, self._elements
        yield
        self._known, self.symbols, self._registers, self._elements = kept

    @contextmanager
    def loop(self, axis: str, extent: Dim) -> Iterator[None]:
        """Repeats what is added inside."""
        count = self.formula(extent)
        with self.scope():
            self.symbols[axis] = self._register()
            self.add(Opcode.LOOP, self.symbols[axis], count)
            yield
        self.add(Opcode.END)

    def _register(self) -> int:
        if self._registers == REGISTERS:
            raise CodegenError(f"npu: kernel @{self.name} needs more than {REGISTERS} registers")
        self._registers += 1
        return self._registers - 1


@dataclass(frozen=True, slots=True)
class _ScalarUnit:
    """Folds a formula to the register that holds its value."""

    to: Assembler

    def constant(self, value: int) -> int:
        bits = value & 0xFFFFFFFFFFFFFFFF
        return self.to.scalar(Opcode.SET, bits & 0xFFFFFFFF, bits >> 32)

    def symbol(self, name: str) -> int:
        return self.to.symbols[name]

    def add(self, parts: Sequence[int]) -> int:
        return self._all(Opcode.ADD, parts)

    def mul(self, parts: Sequence[int]) -> int:
        return self._all(Opcode.MUL, parts)

    def floordiv(self, left: int, right: int) -> int:
        return self.to.scalar(Opcode.DIV, left, right)

    def mod(self, left: int, right: int) -> int:
        return self.to.scalar(Opcode.MOD, left, right)

    def minimum(self, parts: Sequence[int]) -> int:
        return self._all(Opcode.MIN, parts)

    def maximum(self, parts: Sequence[int]) -> int:
        return self._all(Opcode.MAX, parts)

    def _all(self, opcode: Opcode, parts: Sequence[int]) -> int:
        return reduce(lambda left, right: self.to.scalar(opcode, left, right), parts)
