"""The machine that runs a kernel: lanes, buffers and values, and a closure for each operation.

In: a kernel.func, the values of its dim symbols, its buffers.  Out: written buffers, or a KernelFault.

Each operation is translated once into a closure that reads and writes `values`; blocks are lists of these.
What an operation does stands in the modules beside this one, found by its class (`steps`).  An
operation that has a `reference` is run by it: its operands' arrays in, its result's array out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from headrace.ir.access import AccessMap, Axis
from headrace.ir.core import Block, Operation, Value
from headrace.ir.errors import ExecutionError
from headrace.ir.kernel.interpret.accesses import Plan, plan
from headrace.ir.kernel.interpret.faults import place
from headrace.ir.kernel.interpret.lanes import Array, Chosen, Lanes, Saved
from headrace.ir.kernel.interpret.memory import Buffer
from headrace.ir.kernel.ops.control import Parallel
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.kernel.ops.matrix import Mma
from headrace.ir.kernel.ops.structured import INDEPENDENT, Structured
from headrace.ir.types import DType

Step = Callable[[], None]
Translators = Mapping[type[Operation], Callable[["Machine", Any], Step]]


def parallel_axes(operation: Operation) -> tuple[Axis, ...]:
    """The axes of an operation whose points run in lock step."""
    if isinstance(operation, Parallel):
        return operation.axes
    if isinstance(operation, Structured | Mma):
        return tuple(a for a in operation.axes if a.kind in INDEPENDENT)
    return ()


class Machine:
    """One run of one kernel."""

    def __init__(
        self,
        function: KernelFunc,
        symbols: Mapping[str, int],
        translators: Translators,
        *,
        wide: bool,
        chosen: Chosen | None,
        split: bool,
    ) -> None:
        self.function = function
        self.translators = translators
        self.wide = wide
        self.split = split  # reductions run in two parts, joined by `combine`
        self.chosen = chosen  # for the one operation that the body consists of
        self.positions: dict[Operation, tuple[int, ...]] = {}
        rank, depth = self._lay_out(function, 0, 0)
        self.lanes = Lanes(max(rank, 1), depth, {s: int(n) for s, n in symbols.items()})
        self.values: dict[Value, Any] = {}  # arrays; the buffers of buffer values; the copies of tokens
        self.scope: dict[str, int | None] = {}  # axes around what is being translated -> position; None: irregular
        self.copies: list[Any] = []  # asynchronous ones that were started

    def _lay_out(self, operation: Operation, rank: int, depth: int) -> tuple[int, int]:
        """Gives every parallel axis its position.  Returns how many positions and levels there are below."""
        axes = parallel_axes(operation)
        if axes or isinstance(operation, Parallel | Structured):
            self.positions[operation] = tuple(range(rank, rank + len(axes)))
            rank, depth = rank + len(axes), depth + 1
        deepest = (rank, depth)
        for region in operation.regions:
            for inner in region.block.operations:
                below = self._lay_out(inner, rank, depth)
                deepest = (max(deepest[0], below[0]), max(deepest[1], below[1]))
        return deepest

    # ---- translating -------------------------------------------------------------------------------------

    def translate(self, block: Block) -> Step:
        """A closure that runs the operations before the terminator."""
        steps = [self._step(operation) for operation in block.body]

        def run() -> None:
            for step in steps:
                step()

        return steps[0] if len(steps) == 1 else run

    def _step(self, operation: Operation) -> Step:
        for cls in type(operation).__mro__:
            if cls in self.translators:
                return self.translators[cls](self, operation)
        reference = getattr(operation, "reference", None)
        if reference is None:
            raise ExecutionError(f"{place(operation)}: the interpreter does not know {operation.name}")
        values, operands, result = self.values, operation.operands, operation.result

        def run() -> None:
            values[result] = reference(*[values[o] for o in operands])

        return run

    @contextmanager
    def inside(self, operation: Operation) -> Iterator[None]:
        """While the regions of a parallel operation are translated: its axes are lanes."""
        before = self.scope
        chosen = self.chosen_for(operation)
        picked = () if chosen is None else chosen.axes
        axes = zip(parallel_axes(operation), self.positions[operation], strict=True)
        self.scope = {**before, **{a.name: None if a.name in picked else p for a, p in axes}}
        yield
        self.scope = before

    @contextmanager
    def naming(self, names: Sequence[str]) -> Iterator[None]:
        """While what follows is translated: symbols whose values differ from lane to lane in no regular way."""
        before = self.scope
        self.scope = {**before, **dict.fromkeys(names)}
        yield
        self.scope = before

    def plan(self, map: AccessMap, steps: Sequence[int] = (), lanes: int = 1) -> Plan:
        """Takes an access apart, within the scope of now."""
        return plan(map.indices, steps or (0,) * len(map.indices), lanes, self.scope)

    # ---- running -----------------------------------------------------------------------------------------

    def chosen_for(self, operation: Operation) -> Chosen | None:
        """The points of the operation that run, if only some do."""
        return self.chosen if operation.parent is self.function.block else None

    def open(self, operation: Operation, kind: str) -> Saved | None:
        """Opens the level of a parallel operation; None if it has no lanes."""
        return self.lanes.open(parallel_axes(operation), self.positions[operation], kind, self.chosen_for(operation))

    def buffer(self, value: Value) -> Buffer:
        found = self.values[value]
        assert isinstance(found, Buffer)
        return found

    def name_of(self, value: Value) -> str:
        """What messages call a buffer."""
        if value.hint is not None:
            return f"%{value.hint}"
        index = getattr(value, "index", 0)
        return f"parameter {index}" if value in self.function.parameters else "an unnamed buffer"

    def numpy(self, dtype: DType) -> np.dtype[Any]:
        """How elements are held: as declared, but as float64 for all floats in a wide run."""
        return np.dtype(np.float64) if self.wide and dtype.is_float else dtype.numpy

    def scalar(self, number: float | int | bool, dtype: DType) -> Array:
        """A number in all lanes."""
        return np.full((1,) * self.lanes.rank, number, self.numpy(dtype))
