"""graph.loop: a function again and again, as often as data or a symbol says.

    %last, %all = graph.loop condition(%c) captures(%w) carried(%x) {body = @turn, turn = "t", symbols = ["n_x"],
        limit = 9, types = [f32[n_x, 4], f32[t, 3]]} : f32[n_x, 4], f32[t, 3]

with `@turn(%w: f32[4, 3], %x: f32[n_x, 4])` a private function that returns a bool, f32[..., 4] and f32[3].  A turn
takes the captured values and the carried ones, and gives whether another one is due (only where there is a condition),
the carried values for it, and values that are appended.  The first turn runs where the condition holds, at most `limit`
are taken; `most`, where it is given, is what the symbol `limit` stands for, and is data.

The results are the carried values after the last turn, then what was appended, one row a turn.  In the function `turn`
is the number of the turn, from 0 on, and `symbols` are dims of carried values that turns change; behind the loop they
are the number of turns taken and the dims that the last one left.  All rows are of one size; dims of it that are only
known in a turn are `sizes` behind the loop, 0 where there was none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from headrace.ir.access import SymbolRef
from headrace.ir.core import Operation, Value
from headrace.ir.declare import op
from headrace.ir.dims import Dim
from headrace.ir.graph.families import tensor
from headrace.ir.types import BOOL, TensorType, Type

NO_LIMIT = Dim.constant(2**63 - 1)
OTHER_SIZE = "a turn appends values of another size than the first"


@op("graph.loop")
class Loop(Operation):
    """Turns of `body` while the condition holds, at most `limit`."""

    most: Value | None
    condition: Value | None
    captures: tuple[Value, ...]
    carried: tuple[Value, ...]
    body: SymbolRef
    turn: str
    symbols: tuple[str, ...]
    limit: Dim
    types: tuple[TensorType, ...]
    sizes: tuple[str, ...] = ()

    def infer(self) -> Sequence[Type]:
        return self.types

    def verify_op(self) -> None:
        for name, value, kinds in (("most", self.most, ("int", "uint")), ("condition", self.condition, ("bool",))):
            if value is not None and (tensor(value).dtype.kind not in kinds or tensor(value).elements != 1):
                raise self.fail(f"{name} is {value.type}, expected one {kinds[0]}")
        if self.most is not None and (len(self.limit.symbols) != 1 or self.limit != Dim.symbol(self.limit.symbols[0])):
            raise self.fail(f"limit is {self.limit}, expected a symbol for what `most` holds")
        if len(self.types) < len(self.carried):
            raise self.fail(f"gives {len(self.types)} results, but carries {len(self.carried)} values")

    @property
    def functions(self) -> tuple[SymbolRef, ...]:
        return (self.body,)

    @property
    def given(self) -> tuple[Value, ...]:
        """What the body takes in its first turn."""
        return (*self.captures, *self.carried)

    @property
    def turns(self) -> Dim:
        """How many are taken, as far as it is known before the first."""
        return self.limit if self.condition is None else Dim.symbol(self.turn)

    @property
    def rows(self) -> tuple[TensorType, ...]:
        """What each turn appends, in symbols that are known behind the loop."""
        return tuple(t.with_dims(t.dims[1:]) for t in self.types[len(self.carried) :])


def moved_dims(
    loop: Loop, parameters: Sequence[TensorType], results: Sequence[TensorType]
) -> Mapping[str, tuple[Dim, Dim]]:
    """What each symbol is in the first turn, and what it is in the next.  Raises VerifyError where types do not fit.

    `parameters`: of the body's carried values; `results`: what a turn makes of these.
    """
    found: dict[str, tuple[Dim, Dim]] = {}
    for number, (first, inside, after) in enumerate(
        zip([tensor(c) for c in loop.carried], parameters, results, strict=True)
    ):
        if not first.dtype == inside.dtype == after.dtype or not first.rank == inside.rank == after.rank:
            raise loop.fail(f"carried value {number} is {first}, in the body {inside}, and {after} after a turn")
        for start, now, then in zip(first.dims, inside.dims, after.dims, strict=True):
            symbol = now.symbols[0] if len(now.symbols) == 1 and now == Dim.symbol(now.symbols[0]) else None
            if symbol not in loop.symbols:
                if not start == now == then:
                    raise loop.fail(f"carried value {number} has a dim of {start}, in the body {now}, then {then}")
            elif found.setdefault(symbol, (start, then)) != (start, then):
                raise loop.fail(f"{symbol} would be {found[symbol]} and {(start, then)} at once")
    missing = [s for s in loop.symbols if s not in found]
    if missing:
        raise loop.fail(f"{missing[0]} is no dim of a carried value")
    return found


def row_sizes(loop: Loop, rows: Sequence[TensorType]) -> Mapping[str, Dim]:
    """What each of `sizes` is in a turn.  `rows`: what the body appends.  Raises VerifyError where types do not fit."""
    found: dict[str, Dim] = {}
    for outside, inside in zip(loop.rows, rows, strict=True):
        if outside.dtype != inside.dtype or outside.rank != inside.rank:
            raise loop.fail(f"appends {inside}, expected {outside}")
        for size, now in zip(outside.dims, inside.dims, strict=True):
            symbol = size.symbols[0] if len(size.symbols) == 1 and size == Dim.symbol(size.symbols[0]) else None
            if symbol in loop.sizes and symbol is not None:
                found[symbol] = now
            elif size != now:
                raise loop.fail(f"appends {inside}, expected {outside}")
    missing = [s for s in loop.sizes if s not in found]
    if missing:
        raise loop.fail(f"{missing[0]} is no dim of what is appended")
    return found


def stacked(row: TensorType, turns: Dim) -> TensorType:
    """What a value of each turn is, one behind the other."""
    return row.with_dims((turns, *row.dims))


def body_results(loop: Loop, given: Sequence[TensorType]) -> tuple[Sequence[TensorType], Sequence[TensorType]]:
    """Of what a body gives, the carried values and what is appended.  Raises VerifyError."""
    first = 0 if loop.condition is None else 1
    count = first + len(loop.carried)
    if len(given) < count or len(given) - count != len(loop.types) - len(loop.carried):
        raise loop.fail(f"its body gives {len(given)} results")
    if first and (given[0].dtype != BOOL or given[0].elements != 1):
        raise loop.fail(f"its body gives {given[0]} as the condition, expected one bool")
    return given[first:count], given[count:]


def loop_types(loop: Loop, parameters: Sequence[TensorType], given: Sequence[TensorType]) -> tuple[TensorType, ...]:
    """The types of the results, from those of the body's carried parameters and results.  Raises VerifyError."""
    carried, rows = body_results(loop, given)
    moved_dims(loop, parameters, carried)
    row_sizes(loop, rows)
    return (*parameters, *(stacked(row, loop.turns) for row in loop.rows))
