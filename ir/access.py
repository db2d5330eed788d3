"""Index maps: which element of an operand an operation touches, as formulas; and the axes these range over.

    %x[i*2 + kh - 1, k] else 0.0      Access: the element; what a read outside the buffer gives
    i: parallel batch                 Axis: a loop variable, what kind of loop, how often

An axis always runs from 0 in steps of 1; tiles and offsets live in the index formulas.  Its name is a
symbol, unique within the function, that formulas inside its loop may mention.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from headrace.ir.core import Value
from headrace.ir.dims import Dim, DimLike

# parallel: iterations are independent; reduction: they combine into accumulators; sequential: in order, and
# `sequential_unroll` the same for few iterations, which are written out one after the other.
# The other kinds are parallel ones that say where they run: `task` is the flattened task domain of the kernel ABI,
# `unroll` a register tile, `vector` the lanes of a vector, `grid` and `thread` a device.  `given` is no loop at all: an
# integer from memory, known to lie inside [0, extent).
# `reduction_unroll` is a reduction whose few iterations are written out one after the other; the points of
# `reduction_split` and `reduction_vector`, SPREAD over several vectors and their lanes, have accumulators of their own.
SPREAD = ("reduction_split", "reduction_vector")
REDUCTIONS = ("reduction", "reduction_unroll", *SPREAD)
SEQUENTIAL = ("sequential", "sequential_unroll")
AXIS_KINDS = ("parallel", *SEQUENTIAL, "task", "unroll", "vector", "grid", "thread", "given", *REDUCTIONS)


@dataclass(frozen=True, slots=True)
class Axis:
    """A loop variable: `name` runs over [0, extent)."""

    name: str
    kind: str
    extent: Dim

    def __str__(self) -> str:
        return f"{self.name}: {self.kind} {self.extent}"


@dataclass(frozen=True, slots=True)
class AccessMap:
    """One formula per dim of the buffer.  `otherwise` makes reads outside the buffer legal: they give it."""

    indices: tuple[Dim, ...]
    otherwise: float | int | bool | None = None

    def substitute(self, values: Mapping[str, DimLike]) -> AccessMap:
        return replace(self, indices=tuple(i.substitute(values) for i in self.indices))

    def __str__(self) -> str:
        ending = "" if self.otherwise is None else f" else {self.otherwise!r}".lower()
        return f"[{', '.join(str(i) for i in self.indices)}]{ending}"


class Access(NamedTuple):
    """An operand and the map that says which element of it."""

    value: Value
    map: AccessMap


@dataclass(frozen=True, slots=True)
class SymbolRef:
    """The name of a function, `@name`."""

    name: str

    def __str__(self) -> str:
        return f"@{self.name}"
