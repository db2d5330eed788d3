"""Recurrent layers: what graph.lstm, graph.gru and graph.rnn share.

In: the input's share of every gate at every time, computed by one matmul in front (`projected`), the weights of the
state, initial states.  Out: the hidden state at every time, and each state after the last.

    kernel.parallel (d: task directions, g: task groups of the batch) {
      the states, in scratch, from their initial values
      kernel.for (t: sequential time) {
        the cell's contractions of the hidden states with its weights, into scratch
        one kernel.map: new states, and the hidden ones to the result
      }
      the last states to the results
    }

The weights are the only large thing that a step reads; the few sequences of a group share them.  `time` runs backwards
for the second direction; where sequences have lengths of their own, a step beyond the end leaves the states as they
are and gives 0, which is right for both directions.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from headrace.ir.access import Access, Axis
from headrace.ir.core import Value
from headrace.ir.declare import declaration_of, segments_of
from headrace.ir.dims import Dim, ceildiv, dim_min
from headrace.ir.graph.cell_functions import CELL_FUNCTIONS
from headrace.ir.graph.families import Array, DimCheck, OwnKernel, accumulator, must_be_equal, tensor
from headrace.ir.kernel.build import ScalarBuilder
from headrace.ir.kernel.writer import KernelWriter, at
from headrace.ir.types import I64, DType, Type

DIRECTIONS = {"forward": 1, "reverse": 1, "bidirectional": 2}
Arrays = dict[str, Array | None]  # operands by field
Settings = tuple[str, tuple[str, ...], tuple[float, ...], tuple[float, ...], float]  # direction to clip, in field order


GROUP = 4  # sequences that share each weight that is loaded; as many as there are registers for their sums


@dataclass(frozen=True, slots=True)
class Scan:
    """One step of one group of sequences, in a kernel being written."""

    w: KernelWriter
    buffers: Mapping[Value, Value]
    d: Dim  # direction
    first: Dim  # sequence of the group
    count: Dim  # of sequences in the group
    time: Dim
    states: tuple[Value, ...]  # scratch, the hidden state first: [sequence of the group, element]
    rooms: tuple[Value, ...]  # more scratch, as the cell asked for
    dtype: DType  # of scratch and arithmetic

    def points(self, extent: Dim) -> Points:
        """Axes over the group's sequences and over elements of one."""
        return Points(self.w.axis("r", self.count), self.w.axis("i", extent), self.first)


@dataclass(frozen=True, slots=True)
class Points:
    """The axes of one operation: sequences of the group, elements."""

    row: Axis
    element: Axis
    first: Dim

    @property
    def axes(self) -> tuple[Axis, Axis]:
        return self.row, self.element

    @property
    def sequence(self) -> Dim:
        """Which of the batch."""
        return self.first + Dim.symbol(self.row.name)

    def of_gate(self, number: int, size: Dim) -> Dim:
        """The element, counted from the start of a gate, among those of all gates."""
        return Dim.symbol(self.element.name) + size * number


class Recurrent(OwnKernel):
    """Base of the recurrent layers; a subclass says what its cell does."""

    projected: Value
    initial_h: Value | None
    lengths: Value | None
    hidden: int
    direction: str
    functions: tuple[str, ...]
    alphas: tuple[float, ...]
    betas: tuple[float, ...]
    clip: float

    gates: ClassVar[int]  # rows of `projected` for each hidden element
    states: ClassVar[tuple[str, ...]] = ("h",)
    defaults: ClassVar[tuple[str, ...]]  # the functions where a model names none

    # ---- what a cell is ----------------------------------------------------------------------------------

    @abstractmethod
    def weights(self) -> Sequence[tuple[Value | None, tuple[Dim, ...]]]:
        """The operands that are the cell's own, and the dims they must have."""
        raise NotImplementedError

    @abstractmethod
    def rooms(self) -> Sequence[int]:
        """The scratch that a step needs beside the states: elements of each buffer."""
        raise NotImplementedError

    @abstractmethod
    def step(self, scan: Scan) -> None:
        """Writes one step; it ends with `advance`."""
        raise NotImplementedError

    @abstractmethod
    def step_reference(self, x: Array, states: Sequence[Array], d: int, given: Arrays) -> list[Array]:
        """The new states of a whole batch, in the type of a kernel's scratch; `x` is the input's share of the gates."""
        raise NotImplementedError

    # ---- types -------------------------------------------------------------------------------------------

    @property
    def directions(self) -> int:
        return DIRECTIONS[self.direction]

    @property
    def size(self) -> Dim:
        """Elements of the hidden state."""
        return Dim.constant(self.hidden)

    def infer(self) -> Sequence[Type]:
        x = tensor(self.projected)
        if x.rank != 4:
            raise self.fail(f"the projected input is {x}, expected dims for time, batch, direction and gate")
        if not x.dtype.is_float:
            raise self.wrong_dtype(x.dtype, ("float",))
        if self.direction not in DIRECTIONS:
            raise self.fail(f"direction is {self.direction!r}, expected {', '.join(DIRECTIONS)}")
        for check in self.checks():
            if check.formula.is_constant and check.formula.value < 0:
                raise self.fail(check.message)
        known = all(f in CELL_FUNCTIONS for f in self.functions)
        if not known or not len(self.functions) == len(self.alphas) == len(self.betas) == len(self.defaults):
            raise self.fail(f"functions are {', '.join(self.functions)}, expected {len(self.defaults)} known ones")
        for value, _ in self._shapes():
            kind = tensor(value)
            right = kind.dtype.is_integer if value is self.lengths else kind.dtype == x.dtype
            if not right:
                raise self.wrong_dtype(kind.dtype, ("int",) if value is self.lengths else (x.dtype.name,))
        last = x.with_dims((Dim.constant(self.directions), x.dims[1], self.size))
        return [x.with_dims((x.dims[0], *last.dims)), *[last] * len(self.states)]

    def checks(self) -> Sequence[DimCheck]:
        found: list[DimCheck] = []
        for value, dims in self._shapes():
            kind = tensor(value)
            listed = ", ".join(str(d) for d in dims)
            if kind.rank != len(dims):
                raise self.fail(f"found an operand {kind}, expected dims {listed}")
            for d, wanted in zip(kind.dims, dims, strict=True):
                found += must_be_equal(d, wanted, f"found an operand {kind}, expected dims {listed}")
        return tuple(dict.fromkeys(found))

    def _shapes(self) -> list[tuple[Value, tuple[Dim, ...]]]:
        time, batch = tensor(self.projected).dims[:2]
        directions = Dim.constant(self.directions)
        pairs: list[tuple[Value | None, tuple[Dim, ...]]] = [
            (self.projected, (time, batch, directions, self.size * self.gates)),
            (self.lengths, (batch,)),
            *((value, (directions, batch, self.size)) for value in self.initial_states()),
            *self.weights(),
        ]
        return [(value, dims) for value, dims in pairs if value is not None]

    def initial_states(self) -> Sequence[Value | None]:
        """The operands with the states to begin with; zeros where there is none."""
        return [self.initial_h]

    # ---- the kernel --------------------------------------------------------------------------------------

    def write(self, w: KernelWriter, buffers: Mapping[Value, Value]) -> None:
        kind = tensor(self.projected)
        time, batch = kind.dims[:2]
        wide = accumulator(kind.dtype)
        with w.tasks(d=Dim.constant(self.directions), g=ceildiv(batch, GROUP)) as (d, g):
            states, rooms = (
                tuple(w.scratch(wide, (Dim.constant(GROUP), Dim.constant(n)), "room") for n in sizes)
                for sizes in ([self.hidden] * len(self.states), self.rooms())
            )
            first = g * GROUP
            scan = Scan(w, buffers, d, first, dim_min(GROUP, batch - first), time, states, rooms, wide)
            for state, given in zip(states, self.initial_states(), strict=True):
                p = scan.points(self.size)
                reads = [] if given is None else [at(buffers[given], d, p.sequence, p.element)]
                w.map(
                    p.axes,
                    reads,
                    [at(state, *p.axes)],
                    lambda b, *x: [b.cast(x[0], wide) if x else b.constant(0, wide)],
                )
            with w.loop("t", time) as t:
                self.step(replace(scan, time=self._time(t, d, time)))
            for state, result in zip(states, self.results[1:], strict=True):
                p = scan.points(self.size)
                shown = at(buffers[result], d, p.sequence, p.element)
                w.map(p.axes, [at(state, *p.axes)], [shown], lambda b, x: [b.cast(x, kind.dtype)])

    def _time(self, t: Dim, d: Dim, count: Dim) -> Dim:
        """The time of step t in direction d."""
        backwards = count - 1 - t
        if self.direction == "bidirectional":
            return t + d * (backwards - t)
        return t if self.direction == "forward" else backwards

    def contract(
        self,
        scan: Scan,
        state: Value,
        weights: Value,
        into: Value,
        gates: int,
        added: Callable[[Points], Access] | None,
    ) -> None:
        """`into` becomes a state times weights [direction, element, gate], plus an element of `added`."""
        p, k = scan.points(self.size * gates), scan.w.axis("k", self.size, "reduction")
        scan.w.contract(
            p.axes,
            k,
            (at(state, p.row, k), at(scan.buffers[weights], scan.d, k, p.element)),
            [] if added is None else [added(p)],
            at(into, *p.axes),
            lambda b, total, *late: [b.add(total, b.cast(late[0], scan.dtype)) if late else total],
            scan.dtype,
        )

    def share(self, scan: Scan, p: Points, gate: int = 0) -> Access:
        """The input's share of an element, counted from the start of a gate."""
        return at(scan.buffers[self.projected], scan.time, p.sequence, scan.d, p.of_gate(gate, self.size))

    def room(self, room: Value, p: Points, gate: int = 0) -> Access:
        """What scratch holds for an element, counted from the start of a gate."""
        return at(room, p.row, p.of_gate(gate, self.size))

    def advance(self, scan: Scan, p: Points, reads: Sequence[Access], compute: Callable[..., Sequence[Value]]) -> None:
        """The map that ends a step: `compute` takes the states, then the elements read, gives the new states."""
        count = len(scan.states)
        ends = [] if self.lengths is None else [at(scan.buffers[self.lengths], p.sequence)]
        result, kind = self.results[0], tensor(self.results[0])

        def body(b: ScalarBuilder, *found: Value) -> list[Value]:
            old = found[:count]
            others = found[count : len(found) - len(ends)]
            new = list(compute(b, *old, *(b.cast(x, scan.dtype) for x in others)))
            shown = new[0]
            if ends:
                runs = b.compare("lt", b.index(scan.time), b.cast(found[-1], I64))
                new = [b.select(runs, n, o) for n, o in zip(new, old, strict=True)]
                shown = b.select(runs, shown, b.constant(0, shown))
            return [*new, b.cast(shown, kind.dtype)]

        kept = [at(s, *p.axes) for s in scan.states]
        shown = at(scan.buffers[result], scan.time, scan.d, p.sequence, p.element)
        scan.w.map(p.axes, [*kept, *reads, *ends], [*kept, shown], body)

    def activate(self, b: ScalarBuilder, number: int, x: Value) -> Value:
        """Function `number` of the cell, of what of x lies within the clip: for gates and candidates."""
        if self.clip:
            x = b.maximum(b.minimum(x, b.constant(self.clip, x)), b.constant(-self.clip, x))
        return self.function(b, number, x)

    def function(self, b: ScalarBuilder, number: int, x: Value) -> Value:
        """Function `number` of the cell."""
        return CELL_FUNCTIONS[self.functions[number]].scalar(b, x, self.alphas[number], self.betas[number])

    # ---- the reference -----------------------------------------------------------------------------------
    # States and gates have the type of the kernel's scratch: what overflows there is infinite, NaN where it cancels.

    def reference(self, *operands: Array) -> tuple[Array, ...]:
        wide = np.promote_types(accumulator(tensor(self.projected).dtype).numpy, operands[0].dtype)  # f64 where all are
        given = self._named(operands, wide)
        shares = given["projected"]
        assert shares is not None
        steps, batch = shares.shape[:2]
        shape = (self.directions, batch, self.hidden)
        fields = [f"initial_{name}" for name in self.states]
        states = [np.zeros(shape, wide) if given[f] is None else np.array(given[f]) for f in fields]
        hidden = np.zeros((steps, *shape), wide)
        ends = given["lengths"]
        with np.errstate(all="ignore"):
            for d in range(self.directions):
                order = range(steps) if d == 0 and self.direction != "reverse" else reversed(range(steps))
                for time in order:
                    runs = np.ones((batch, 1), np.bool_) if ends is None else time < ends.reshape(-1, 1)
                    new = self.step_reference(shares[time, :, d], [s[d] for s in states], d, given)
                    hidden[time, d] = np.where(runs, new[0], 0)
                    for state, value in zip(states, new, strict=True):
                        state[d] = np.where(runs, value, state[d])
        return tuple(a.astype(operands[0].dtype) for a in (hidden, *states))

    def _named(self, operands: Sequence[Array], wide: np.dtype[Any]) -> Arrays:
        """Operands by field, floats in a wide type."""
        left = list(operands)
        found: Arrays = {}
        for field, count in zip(declaration_of(self).operand_fields, segments_of(self), strict=True):
            array = left.pop(0) if count else None
            integers = array is None or array.dtype.kind in "iu"
            found[field.name] = array if integers else np.asarray(array, wide)
        return found

    def product(self, state: Array, weights: Array) -> Array:
        """Sums that the type holds do not overflow on the way."""
        return np.asarray(np.matmul(state, weights, dtype=np.float64), state.dtype)

    def activated(self, number: int, x: Array) -> Array:
        """As `activate`, in numpy."""
        return self.applied(number, np.clip(x, -self.clip, self.clip) if self.clip else x)

    def applied(self, number: int, x: Array) -> Array:
        """As `function`, in numpy."""
        return CELL_FUNCTIONS[self.functions[number]].reference(x, self.alphas[number], self.betas[number])
