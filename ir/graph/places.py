"""Where the values of a clustered function lie: in memory of their own, or in a part of another's.

In: a graph.func of clusters, of views, and of concats, slices and paddings outside of clusters.  Out: for each value
the part that it is of another, if it is one, and its strides.

    %a = graph.cluster ... : f32[n, 8, 64]
    %b = graph.cluster ... : f32[n, 8, 32]
    %y = graph.concat %a, %b {axis = 2} : f32[n, 8, 96]      %a is %y from element 0 on, strides [768, 96, 1],
    %z = graph.slice %y {starts = [0, 2, 64], ...}           %b from 64 on; %z is %y from 256 on

Reshapes and slices lie in what they are of.  The operands of concats and paddings lie in the result, and results of
the function in the caller's memory: both are told to `Places` by `place`, which says no where a value already lies
elsewhere, or somebody needs it without gaps.
"""

from __future__ import annotations

from dataclasses import dataclass

from headrace.ir.core import Operation, OpResult, Value, contains, producer
from headrace.ir.dims import Dim
from headrace.ir.graph.families import DataDims, Movement, tensor
from headrace.ir.graph.lazy import lazy_values
from headrace.ir.graph.linear import ZERO
from headrace.ir.graph.ops.cluster import Cluster
from headrace.ir.graph.ops.concat import Concat
from headrace.ir.graph.ops.control import If
from headrace.ir.graph.ops.device import Call
from headrace.ir.graph.ops.func import GraphFunc, Return
from headrace.ir.graph.ops.loop import Loop
from headrace.ir.graph.ops.pad import Pad
from headrace.ir.graph.ops.slice import Slice
from headrace.ir.graph.strides import Shape, dense_strides, plain_strides, reshaped_strides


@dataclass(frozen=True, slots=True)
class Part:
    """What a value is of `whole`, another value or the function's result of that number: elements `strides` apart, from
    element `offset` on."""

    whole: Value | int
    offset: Dim
    strides: Shape


class Places:
    """The places of one function's values; results of the function have theirs from the start."""

    def __init__(self, function: GraphFunc) -> None:
        self.block = function.block
        self.lazy = lazy_values(function.block)
        # Memory is there from the start of its segment: its size may mention no symbol that data bind later.
        self._bound = {s for p in function.parameters for d in tensor(p).dims for s in d.symbols}
        self._parts: dict[Value, Part] = {}
        for number, value in enumerate(function.block.terminator.operands):
            self.place(value, Part(number, ZERO, dense_strides(tensor(value).dims)))

    @property
    def results(self) -> set[int]:
        """The numbers of the function's results that are made in the caller's memory."""
        return {part.whole for part in self._parts.values() if isinstance(part.whole, int)}

    def strides(self, value: Value) -> Shape | None:
        """Of a value's elements; None where a view would need more than strides."""
        part = self._parts.get(value)
        if part is not None:
            return part.strides
        inner = self._viewed(value)
        return dense_strides(tensor(value).dims) if inner is None else self._strides_of_view(inner)

    def is_dense(self, value: Value) -> bool:
        """Whether it lies row-major, without gaps."""
        return self.strides(value) == dense_strides(tensor(value).dims)

    def part(self, value: Value) -> Part | None:
        """What it is of another value; None if its memory is its own."""
        view = self._viewed(value)
        if value in self._parts or view is None:
            return self._parts.get(value)
        strides = self._strides_of_view(view)
        assert strides is not None, f"{view.name} of {view.operands[0].type} is no view there"
        return Part(view.operands[0], self._start_of_view(view), strides)

    def place(self, value: Value, part: Part) -> bool:
        """Lets a value, or what it is a view of, be made in a part.  False, and nothing changed, where it cannot."""
        strides: Shape | None = plain_strides(tensor(value).dims, part.strides)
        while (view := self._viewed(value)) is not None:
            if isinstance(view, Slice) or strides is None or value in self._parts:
                return False
            if isinstance(view, DataDims) and not self.is_known(value):
                return False  # what it is a view of is made before these dims are read
            strides = reshaped_strides(tensor(value).dims, strides, tensor(view.operands[0]).dims)
            value = view.operands[0]
        if strides is None or value in self._parts or not self._is_made(value, strides):
            return False
        if not isinstance(part.whole, int) and not self.is_known(part.whole):
            return False
        return self.try_part(value, Part(part.whole, part.offset, strides))

    def try_part(self, value: Value, part: Part) -> bool:
        """The same of a value that nothing is known of yet."""
        self._parts[value] = part
        if self._serves(value):
            return True
        del self._parts[value]
        return False

    def forget(self, value: Value) -> None:
        """Undoes `place`."""
        while value not in self._parts:
            view = self._viewed(value)
            assert view is not None, "the value was placed"
            value = view.operands[0]
        del self._parts[value]

    def rename(self, old: Value, new: Value) -> None:
        """`new` is what `old` was."""
        if old in self._parts:
            self._parts[new] = self._parts.pop(old)
        for value, part in self._parts.items():
            if part.whole is old:
                self._parts[value] = Part(new, part.offset, part.strides)

    def is_known(self, value: Value) -> bool:
        """Whether its size is known from the start."""
        return {s for d in tensor(value).dims for s in d.symbols} <= self._bound

    # ---- views -------------------------------------------------------------------------------------------

    def _viewed(self, value: Value) -> Movement | None:
        """The view outside of clusters that it is."""
        operation = value.operation if isinstance(value, OpResult) and value not in self.lazy else None
        return operation if isinstance(operation, Movement) and operation.parent is self.block else None

    def _strides_of_view(self, view: Movement) -> Shape | None:
        inner = self.strides(view.operands[0])
        if inner is None:
            return None
        if isinstance(view, Slice):
            return sliced_strides(view, inner)
        return reshaped_strides(tensor(view.operands[0]).dims, inner, tensor(view.result).dims)

    def _start_of_view(self, view: Movement) -> Dim:
        inner = self.strides(view.operands[0])
        assert inner is not None
        return sliced_start(view, inner) if isinstance(view, Slice) else ZERO

    # ---- what a place must allow ---------------------------------------------------------------------------

    def _is_made(self, value: Value, strides: Shape) -> bool:
        """Whether kernels write it, and can with such strides; those of borders want none."""
        maker = value.operation if isinstance(value, OpResult) and value not in self.lazy else None
        if isinstance(maker, If | Call):
            return strides == dense_strides(tensor(value).dims)
        if not isinstance(maker, Cluster | Concat | Pad):
            return False
        made = maker.body.block.terminator.operands if isinstance(maker, Cluster) else maker.results
        return strides == dense_strides(tensor(value).dims) or not any(producer(m, Pad) for m in made)

    def _serves(self, value: Value) -> bool:
        """Whether all users can do with the strides that it has now."""
        if self.strides(value) is None:
            return False
        dense = self.is_dense(value)
        for user in value.users:
            if isinstance(user, Movement) and user.result not in self.lazy:
                if isinstance(user, DataDims) and user.reads_dims_in(value):
                    if not dense:
                        return False
                elif not self._serves(user.result):
                    return False
            elif not dense and (isinstance(user, Return | If | Loop | Call) or _reads_dims(user)):
                return False
        return True


def sliced_strides(part: Slice, strides: Shape) -> Shape:
    """Of a slice of what has `strides`."""
    return plain_strides(part.sizes, [s * t for s, t in zip(strides, part.steps, strict=True)])


def sliced_start(part: Slice, strides: Shape) -> Dim:
    """The first element of a slice of what has `strides`."""
    return sum((s * b for s, b in zip(strides, part.starts, strict=True)), start=ZERO)


def operand_parts(operation: Concat | Pad, strides: Shape) -> list[tuple[Dim, Shape]]:
    """Where the operands of what has `strides` lie in it: from which element on, with which strides."""
    if isinstance(operation, Pad):
        return [(sum((s * b for s, b in zip(strides, operation.before, strict=True)), start=ZERO), strides)]
    found, start = [], ZERO
    for x in operation.xs:
        found.append((start * strides[operation.axis], strides))
        start = start + tensor(x).dims[operation.axis]
    return found


def _reads_dims(operation: Operation) -> bool:
    """Whether the host reads dims from what the cluster is given."""
    return contains(operation, DataDims)
