"""ONNX LSTM, GRU and RNN nodes, as far as they are alike.  In: a node.  Out: the operands and results of layers.

The matmul of the whole input with its weights stands in front of a layer, for both directions at once.  Directions
with different functions become a layer each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from headrace.ir.core import Value, producer
from headrace.ir.dims import Dim
from headrace.ir.graph.cell_functions import CELL_FUNCTIONS
from headrace.ir.graph.families import tensor
from headrace.ir.graph.importing import OnnxNode
from headrace.ir.graph.ops.arithmetic import Add
from headrace.ir.graph.ops.concat import Concat
from headrace.ir.graph.ops.fill import Fill
from headrace.ir.graph.ops.matmul import MatMul
from headrace.ir.graph.ops.reshape import reshaped
from headrace.ir.graph.ops.slice import sliced
from headrace.ir.graph.ops.transpose import Transpose
from headrace.ir.graph.recurrent import DIRECTIONS, Recurrent, Settings


@dataclass(frozen=True, slots=True)
class Part:
    """Some directions of a node: which, what they are called, and their functions."""

    first: int
    count: int
    settings: Settings


class RecurrentNode:
    """A node and the kind of layer that it is."""

    def __init__(self, node: OnnxNode, cls: type[Recurrent]) -> None:
        self.node = node
        self.gates = cls.gates
        self.defaults = cls.defaults
        for number, rank in ((0, 3), (1, 3), (2, 3)):
            if node.tensor(number).rank != rank:
                raise node.fail(f"input {number} is {node.tensor(number)}, expected rank {rank}")
        self.batch_first = bool(node.attribute("layout", 0))
        self.direction = node.attribute("direction", "forward")
        if self.direction not in DIRECTIONS:
            raise node.fail(f"direction is {self.direction!r}, expected {', '.join(DIRECTIONS)}")
        size = node.tensor(2).dims[2]
        self.hidden = node.attribute("hidden_size", size.value if size.is_constant else 0)
        if self.hidden < 1:
            raise node.unsupported(
                "the hidden size is data, expected an attribute hidden_size or weights of known dims"
            )
        self.lengths = node.input(4)

    # ---- operands ----------------------------------------------------------------------------------------

    def projected(self, part: Part, bias: Value | None) -> Value:
        """The input times its weights, plus a bias for each gate: [time, batch, direction, gate]."""
        node = self.node
        x, weights = node.operand(0), self.rows(node.operand(1), part)
        if self.batch_first:
            x = node.add(Transpose(x, (1, 0, 2)))
        time, batch, features = tensor(x).dims
        width = Dim.constant(self.gates * self.hidden)
        columns = width * part.count
        turned = node.add(Transpose(weights, (2, 0, 1)))
        matrix = reshaped(node, turned, (tensor(turned).dims[0], columns))
        found = node.add(MatMul(reshaped(node, x, (time * batch, features)), matrix))
        if bias is not None:
            found = node.add(Add(found, reshaped(node, self.rows(bias, part), (columns,))))
        return reshaped(node, found, (time, batch, Dim.constant(part.count), width))

    def bias(self, recurrent: bool, gates: slice | None = None) -> Value | None:
        """[direction, gate]: the biases of the input's or of the state's weights; of all gates, or of some."""
        if self.node.input(3) is None:
            return None
        chosen = range(self.gates)[gates or slice(None)]
        start = (self.gates if recurrent else 0) + chosen.start
        size = Dim.constant(self.hidden)
        return sliced(self.node, self.node.operand(3), 1, size * start, size * len(chosen))

    def both_biases(self) -> Value | None:
        """[direction, gate]: the sum of both."""
        one, other = self.bias(False), self.bias(True)
        return None if one is None or other is None else self.node.add(Add(one, other))

    def matrix(self, part: Part, gates: slice | None = None) -> Value:
        """The weights of the state, of all gates or of some: [direction, element, gate]."""
        node, size = self.node, Dim.constant(self.hidden)
        weights = self.rows(node.operand(2), part)
        if gates is not None:
            chosen = range(self.gates)[gates]
            weights = sliced(node, weights, 1, size * chosen.start, size * len(chosen))
        return node.add(Transpose(weights, (0, 2, 1)))

    def state(self, number: int, part: Part) -> Value | None:
        """An initial state: [direction, batch, element]; None where it is 0."""
        value = self.node.input(number)
        filled = None if value is None else producer(value, Fill)
        if value is None or (filled is not None and not filled.value):
            return None
        return self.rows(self.node.add(Transpose(value, (1, 0, 2))) if self.batch_first else value, part)

    def optional(self, number: int, part: Part) -> Value | None:
        """An operand with a row for each direction, if it is given."""
        value = self.node.input(number)
        return None if value is None else self.rows(value, part)

    def rows(self, value: Value, part: Part) -> Value:
        """The rows of the part's directions."""
        if part.count == DIRECTIONS[self.direction]:
            return value
        return sliced(self.node, value, 0, Dim.constant(part.first), Dim.constant(part.count))

    # ---- layers ------------------------------------------------------------------------------------------

    def layers(self, make: Callable[[Part], Recurrent]) -> Sequence[Value]:
        """The node's outputs, from a layer for each part of it."""
        node = self.node
        found = [node.add_all(make(part)) for part in self._parts()]
        hidden, *states = [
            values[0] if len(values) == 1 else node.add(Concat(values, tensor(values[0]).rank - 3))
            for values in zip(*found, strict=True)
        ]
        if self.batch_first:
            hidden = node.add(Transpose(hidden, (2, 0, 1, 3)))
            states = [node.add(Transpose(s, (1, 0, 2))) for s in states]
        return [hidden, *states][: max(node.output_count, 1)]

    def _parts(self) -> list[Part]:
        count, each = DIRECTIONS[self.direction], len(self.defaults)
        clip = self.node.attribute("clip", 0.0)
        functions = self._functions(count * each)
        by_direction = [functions[d * each : (d + 1) * each] for d in range(count)]
        if len(set(by_direction)) == 1:
            return [Part(0, count, (self.direction, *_columns(by_direction[0]), clip))]
        return [
            Part(d, 1, (direction, *_columns(by_direction[d]), clip))
            for d, direction in enumerate(("forward", "reverse"))
        ]

    def _functions(self, count: int) -> tuple[tuple[str, float, float], ...]:
        """(name, alpha, beta) of each function; parameters that are given go to the functions that take them."""
        node = self.node
        names = node.attribute("activations", self.defaults * (count // len(self.defaults)))
        if len(names) != count:
            raise node.fail(f"activations are {len(names)}, expected {count}")
        alphas, betas = (self._numbers(f"activation_{name}") for name in ("alpha", "beta"))
        known = {name.lower(): name for name in CELL_FUNCTIONS}
        found = []
        for name in names:
            if name.lower() not in known:
                raise node.fail(f"activation {name!r} is not known; expected one of {', '.join(CELL_FUNCTIONS)}")
            function = CELL_FUNCTIONS[known[name.lower()]]
            alpha, beta = _taken(function.alpha, alphas), _taken(function.beta, betas)
            found.append((known[name.lower()], alpha, beta))
        return tuple(found)

    def _numbers(self, name: str) -> list[float]:
        given: tuple[float, ...] = self.node.attribute(name, ())
        return list(given)


def _taken(default: float | None, given: list[float]) -> float:
    """The next given parameter, for a function that takes one."""
    if default is None:
        return 0.0
    return float(given.pop(0)) if given else default


def _columns(
    functions: Sequence[tuple[str, float, float]],
) -> tuple[tuple[str, ...], tuple[float, ...], tuple[float, ...]]:
    names, alphas, betas = zip(*functions, strict=True)
    return names, alphas, betas
