"""Loop and Scan whose number of turns is data or a symbol.  In: a node's body and inputs.  Out: a graph.loop's results.

The body becomes a function.  It is imported for the types that the first turn finds; where a turn leaves others, once
more with a symbol for each dim that it changes; and what it hands on as it is becomes a captured value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import GraphProto

from headrace.compiler.frontends.onnx.held import Held
from headrace.compiler.frontends.onnx.node import NodeUnsupported
from headrace.compiler.frontends.onnx.outline import bodies, inside
from headrace.compiler.frontends.onnx.scope import Scope
from headrace.compiler.frontends.onnx.state import State
from headrace.compiler.frontends.onnx.unrolled import ZERO, each, legal_axis, moved, part, scanned_axes
from headrace.ir.core import Block, Value
from headrace.ir.dims import Dim, dim_max
from headrace.ir.graph.families import tensor
from headrace.ir.graph.ops.arithmetic import Max
from headrace.ir.graph.ops.cast import Cast
from headrace.ir.graph.ops.formulas import Formulas
from headrace.ir.graph.ops.loop import NO_LIMIT, Loop, stacked
from headrace.ir.graph.ops.slice import Slice
from headrace.ir.types import BOOL, I64, TensorType

Around = tuple[Sequence[Value], Sequence[Value]]
# In a function's block, with its parameters by what is given for them: what the body takes before the carried values,
# and behind them.
Enter = Callable[[Block, dict[Value, Value]], Around]


@dataclass(frozen=True, slots=True)
class Imported:
    """A body: its block, what is given for the first parameters, the carried ones (None: those are captured), results,
    the symbols of dims that turns change, and all that mean something inside only."""

    block: Block
    captures: tuple[Value, ...]
    taken: tuple[Value | None, ...]
    results: tuple[Value, ...]
    symbols: tuple[str, ...]
    own: frozenset[str]


@dataclass(frozen=True)
class Turning:
    """A node whose body is a function; `load` imports a graph in a scope that holds its inputs."""

    graph: GraphProto
    name: str
    scope: Scope
    state: State
    load: Callable[[GraphProto, Scope], Sequence[Held | None]]

    def loop(self, inputs: Sequence[Held | None]) -> Sequence[Value | None]:
        """The outputs of Loop.  Raises NodeUnsupported."""
        state = self.state
        most, condition = (_tensor(v) for v in (*inputs, None, None)[:2])
        carried = [v for v in map(_tensor, inputs[2:]) if v is not None]
        turn = state.symbol("turn")

        def enter(block: Block, given: dict[Value, Value]) -> Around:
            number = state.add(Formulas((Dim.symbol(turn),), (), I64))
            return [number, state.add_constant(np.array(True))], []  # the condition holds wherever a turn is taken

        found = self._imported(carried, enter, first=1)
        if found is None:
            return [None] * (len(self.graph.output) - 1)
        begins = condition is None or self._holds(condition)
        if begins and self._holds(found.results[0]):
            return self._added(turn, self._limit(most), None, carried, found, found.results[1:])
        if condition is None or begins:
            condition = state.add_constant(np.array(True))
        return self._added(turn, self._limit(most), condition, carried, found, found.results)

    def scan(self, inputs: Sequence[Held | None], attributes: Mapping[str, Any]) -> Sequence[Value | None]:
        """The outputs of Scan, as from version 9 on.  Raises NodeUnsupported."""
        given, count = [v for v in map(_tensor, inputs) if v is not None], int(attributes["num_scan_inputs"])
        carried, scanned = given[: len(given) - count], given[len(given) - count :]
        axes = scanned_axes(attributes, scanned)
        lengths = dict.fromkeys(tensor(x).dims[axis] for x, axis in zip(scanned, axes, strict=True))
        if len(lengths) != 1:
            raise NodeUnsupported(f"scans {' and '.join(map(str, lengths))} elements, expected one number")
        (length,) = lengths
        turn = self.state.symbol("turn")
        backwards = each(attributes, "scan_input_directions", count)
        places = [length - 1 - Dim.symbol(turn) if b else Dim.symbol(turn) for b in backwards]

        def enter(block: Block, given: dict[Value, Value]) -> Around:
            inner = [inside(x, block, self.state, given) for x in scanned]
            return [], [part(x, axis, at, self.state) for x, axis, at in zip(inner, axes, places, strict=True)]

        found = self._imported(carried, enter, first=0)
        if found is None:
            return [None] * len(self.graph.output)
        results = self._added(turn, (None, length), None, carried, found, found.results)
        rows = results[len(carried) :]
        reverse = each(attributes, "scan_output_directions", len(rows))
        ends = each(attributes, "scan_output_axes", len(rows))
        turned = [self._turned(x, r, axis) for x, r, axis in zip(rows, reverse, ends, strict=True)]
        return [*results[: len(carried)], *turned]

    def _turned(self, x: Value, reverse: int, axis: int) -> Value:
        """What turns have appended, from the last to the first if need be, along the axis that is wanted."""
        dims = tensor(x).dims
        rest = len(dims) - 1
        if reverse:
            x = self.state.add(Slice(x, (dims[0] - 1, *[ZERO] * rest), dims, (-1, *[1] * rest)))
        return moved(x, legal_axis(axis, len(dims), "scan_output_axes"), self.state)

    # ---- what is known before it -----------------------------------------------------------------------------------

    def _holds(self, condition: Value) -> bool:
        known = self.state.integers(condition)
        return known is not None and len(known) == 1 and known[0] == 1

    def _limit(self, most: Value | None) -> tuple[Value | None, Dim]:
        """The number where it is data, and the formula that stands for it."""
        if most is None:
            return None, NO_LIMIT
        known = self.state.integers(most)
        if known is not None and len(known) == 1:
            proven = self.state.facts.less_equal(ZERO, known[0]) is True
            return None, known[0] if proven else dim_max(known[0], ZERO)
        wide = most if tensor(most).dtype == I64 else self.state.add(Cast(most, I64))
        none = self.state.add_constant(np.zeros((1,) * tensor(wide).rank, np.int64))
        return self.state.add(Max(wide, none)), Dim.symbol(self.state.symbol("most"))

    # ---- the body ------------------------------------------------------------------------------------------------

    def _imported(self, carried: Sequence[Value], enter: Enter, first: int) -> Imported | None:
        """The body, imported until its types fit; None where a node of it cannot be imported.  `first`: the number of
        the result that the next turn takes as the first carried value."""
        kinds: list[TensorType | None] = [tensor(c) for c in carried]  # None: the same value in all turns
        symbols: list[str] = []
        while True:
            mark = self.state.mark()
            found = self._import_once(carried, kinds, enter)
            if found is None:
                return None
            block, captures, taken, results = found
            if len(results) < first + len(carried):
                raise NodeUnsupported(f"its body gives {len(results)} outputs for {len(carried)} carried values")
            changes = [_changes(*v, symbols) for v in zip(taken, results[first:], strict=False)]
            if not any(changes):
                own = frozenset((*symbols, *self.state.symbols_since(mark)))
                return Imported(block, captures, taken, results, tuple(symbols), own)
            self.state.back_to(mark)
            for number, change in enumerate(changes):
                kind = kinds[number]
                if change and kind is not None:
                    kinds[number] = None if change is True else self._freed(kind, change, symbols)

    def _freed(self, kind: TensorType, axes: Sequence[int], symbols: list[str]) -> TensorType:
        """The type with new symbols for some dims."""
        dims = list(kind.dims)
        for axis in axes:
            symbols.append(self.state.symbol("moved"))
            dims[axis] = Dim.symbol(symbols[-1])
        return kind.with_dims(tuple(dims))

    def _import_once(
        self, carried: Sequence[Value], kinds: Sequence[TensorType | None], enter: Enter
    ) -> tuple[Block, tuple[Value, ...], tuple[Value | None, ...], tuple[Value, ...]] | None:
        """The body's function for carried values of these types: block, captures, carried parameters, results."""
        (body,), captured = bodies([self.graph], self.scope, self.state)
        block = body.block
        given: dict[Value, Value] = dict(zip(captured, block.arguments, strict=True))
        with self.state.builder.at(block):
            before, behind = enter(block, given)
            same = [
                inside(x, block, self.state, given) if k is None else None for x, k in zip(carried, kinds, strict=True)
            ]
            taken = tuple(block.add_argument(k, x.hint) if k else None for x, k in zip(carried, kinds, strict=True))
            values = [*before, *(t or s for t, s in zip(taken, same, strict=True)), *behind]
            if len(self.graph.input) != len(values):
                raise NodeUnsupported(f"its body takes {len(self.graph.input)} inputs, expected {len(values)}")
            body.scope.values.update(zip((i.name for i in self.graph.input), values, strict=True))
            results = [_tensor(v) for v in self.load(self.graph, body.scope)]
        self.state.at(self.name)
        made = tuple(v for v in results if v is not None)
        return (block, tuple(given), taken, made) if len(made) == len(results) else None

    # ---- the operation -------------------------------------------------------------------------------------------

    def _added(
        self,
        turn: str,
        limit: tuple[Value | None, Dim],
        condition: Value | None,
        carried: Sequence[Value],
        found: Imported,
        results: Sequence[Value],
    ) -> Sequence[Value]:
        """The loop's results; what all turns hand on as it is is none of them."""
        first = 0 if condition is None else 1
        if first and (tensor(results[0]).dtype != BOOL or tensor(results[0]).elements != 1):
            raise NodeUnsupported(f"a turn gives {results[0].type} as its condition, expected one bool")
        after, rows = results[first : first + len(carried)], results[first + len(carried) :]
        sizes: list[str] = []
        known = [self._outside(tensor(row), found.own | {turn}, sizes) for row in rows]
        moving = [(c, t, a) for c, t, a in zip(carried, found.taken, after, strict=True) if t is not None]
        most, most_dim = limit
        turns = most_dim if condition is None else Dim.symbol(turn)
        types = (*(tensor(t) for _, t, _ in moving), *(stacked(k, turns) for k in known))
        function = self.state.add_function(
            f"{turn}_body", found.block, (*results[:first], *(a for *_, a in moving), *rows)
        )
        initial = tuple(c for c, *_ in moving)
        loop = Loop(
            most, condition, found.captures, initial, function, turn, found.symbols, most_dim, types, tuple(sizes)
        )
        made = iter(self.state.add_all(loop))
        kept = [c if t is None else next(made) for c, t in zip(carried, found.taken, strict=True)]
        return [*kept, *made]

    def _outside(self, row: TensorType, inner: frozenset[str], sizes: list[str]) -> TensorType:
        """What a turn appends, with symbols for dims that are formulas of what only a turn knows."""
        dims = []
        for dim in row.dims:
            if inner.intersection(dim.symbols):
                sizes.append(self.state.symbol("row"))
                dim = Dim.symbol(sizes[-1])
            dims.append(dim)
        return row.with_dims(tuple(dims))


def _tensor(held: Held | None) -> Value | None:
    if held is not None and not isinstance(held, Value):
        raise NodeUnsupported(
            "carries a sequence or an optional from turn to turn, as often as data say; expected tensors"
        )
    return held


def _changes(taken: Value | None, after: Value, symbols: Sequence[str]) -> bool | list[int]:
    """True where a turn hands a value on as it is; else the dims that it may change and that have no symbol yet."""
    if taken is None:
        return False
    if taken is after:
        return True
    now, then = tensor(taken), tensor(after)
    if now.dtype != then.dtype or now.rank != then.rank:
        raise NodeUnsupported(f"a turn makes {then} of {now}, expected one element type and rank")
    free = [Dim.symbol(s) for s in symbols]
    return [i for i, (d, e) in enumerate(zip(now.dims, then.dims, strict=True)) if d != e and d not in free]
