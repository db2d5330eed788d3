"""graph.lstm: long short-term memory, one layer, one or two directions.

    %y, %h, %c = graph.lstm %shares, %r, %h0, %c0, %peep, %lengths
        {hidden = 256, direction = "bidirectional"} : f32[seq, n, 2, 256], f32[2, n, 256], f32[2, n, 256]

`shares` is the input's part of the gates i, o, f, c, biases included: f32[seq, n, 2, 1024]; `r` are the weights of the
hidden state, f32[2, 256, 1024], from element to gate.  With f, g, h the three functions, and `.` element by element:

    i = f(x_i + h r_i + p_i . c)      f = f(x_f + h r_f + p_f . c), or 1 - i if `coupled`
    c' = f . c + i . g(x_c + h r_c)   o = f(x_o + h r_o + p_o . c')   h' = o . h(c')

`clip` bounds what f and g are applied to, but, as in ONNX Runtime, not the c' of the last formula.

ONNX LSTM becomes a matmul of the whole input with its weights, then this.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headrace.ir.core import Value
from headrace.ir.declare import op
from headrace.ir.dims import Dim
from headrace.ir.graph.families import Array, Sampler
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.recurrent import Arrays, Recurrent, Scan
from headrace.ir.graph.recurrent_node import Part, RecurrentNode
from headrace.ir.graph.recurrent_sample import RecurrentSample
from headrace.ir.graph.sampling import chance
from headrace.ir.kernel.build import ScalarBuilder
from headrace.ir.kernel.writer import at

INPUT, OUTPUT, FORGET, CELL = range(4)  # the gates, in order
PEEPS = {INPUT: 0, OUTPUT: 1, FORGET: 2}


@op("graph.lstm")
class Lstm(Recurrent):
    """The hidden state at every time, the last one, and the last cell state."""

    projected: Value
    recurrent: Value
    initial_h: Value | None
    initial_c: Value | None
    peepholes: Value | None
    lengths: Value | None
    hidden: int
    direction: str = "forward"
    functions: tuple[str, ...] = ("Sigmoid", "Tanh", "Tanh")
    alphas: tuple[float, ...] = (0.0, 0.0, 0.0)
    betas: tuple[float, ...] = (0.0, 0.0, 0.0)
    clip: float = 0.0
    coupled: bool = False

    gates = 4
    states = ("h", "c")
    defaults = ("Sigmoid", "Tanh", "Tanh")

    def initial_states(self) -> Sequence[Value | None]:
        return [self.initial_h, self.initial_c]

    def weights(self) -> Sequence[tuple[Value | None, tuple[Dim, ...]]]:
        directions = Dim.constant(self.directions)
        return [
            (self.recurrent, (directions, self.size, self.size * self.gates)),
            (self.peepholes, (directions, self.size * len(PEEPS))),
        ]

    def rooms(self) -> Sequence[int]:
        return [self.hidden * self.gates]

    def step(self, scan: Scan) -> None:
        (gates,) = scan.rooms
        self.contract(scan, scan.states[0], self.recurrent, gates, self.gates, lambda p: self.share(scan, p))
        p = scan.points(self.size)
        reads = [self.room(gates, p, gate) for gate in range(self.gates)]
        if self.peepholes is not None:
            peepholes = scan.buffers[self.peepholes]
            reads += [at(peepholes, scan.d, p.of_gate(place, self.size)) for place in PEEPS.values()]

        def compute(b: ScalarBuilder, _h: Value, c: Value, *found: Value) -> list[Value]:
            gate, peeps = found[: self.gates], found[self.gates :]

            def opened(number: int, cell: Value) -> Value:
                x = b.muladd(peeps[PEEPS[number]], cell, gate[number]) if peeps else gate[number]
                return self.activate(b, 0, x)

            taken = opened(INPUT, c)
            kept = b.sub(b.constant(1, taken), taken) if self.coupled else opened(FORGET, c)
            cell = b.muladd(kept, c, b.mul(taken, self.activate(b, 1, gate[CELL])))
            return [b.mul(opened(OUTPUT, cell), self.function(b, 2, cell)), cell]

        self.advance(scan, p, reads, compute)

    def step_reference(self, x: Array, states: Sequence[Array], d: int, given: Arrays) -> list[Array]:
        (h, c), weights, peepholes = states, given["recurrent"], given["peepholes"]
        assert weights is not None
        gate = np.split(x + self.product(h, weights[d]), self.gates, axis=-1)
        peeps = [] if peepholes is None else np.split(peepholes[d], len(PEEPS))

        def opened(number: int, cell: Array) -> Array:
            return self.activated(0, gate[number] + peeps[PEEPS[number]] * cell if peeps else gate[number])

        taken = opened(INPUT, c)
        kept = 1 - taken if self.coupled else opened(FORGET, c)
        cell = kept * c + taken * self.activated(1, gate[CELL])
        return [opened(OUTPUT, cell) * self.applied(2, cell), cell]

    @classmethod
    def sample(cls, sampler: Sampler) -> Lstm:
        s = RecurrentSample(sampler, cls)
        states = (s.maybe_state(), s.maybe_state())
        operands = (s.projected, s.matrix(cls.gates), *states, s.maybe_vector(len(PEEPS)), s.lengths)
        return cls(*operands, s.hidden, *s.settings, chance(sampler, 0.3))


@onnx_import("LSTM", since=7)
def _lstm(node: OnnxNode) -> Sequence[Value]:
    view = RecurrentNode(node, Lstm)
    bias, coupled = view.both_biases(), bool(node.attribute("input_forget", 0))

    def layer(part: Part) -> Lstm:
        shares, weights, peepholes = view.projected(part, bias), view.matrix(part), view.optional(7, part)
        operands = (shares, weights, view.state(5, part), view.state(6, part), peepholes, view.lengths)
        return Lstm(*operands, view.hidden, *part.settings, coupled)

    return view.layers(layer)
