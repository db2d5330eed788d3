"""graph.rnn: a plain recurrent layer, one or two directions.

    %y, %h = graph.rnn %shares, %r, %h0, %lengths {hidden = 64, direction = "forward"} :
        f32[seq, n, 1, 64], f32[1, n, 64]

`shares` is the input's part of the sum, bias included; h' = f(x + h r).  See graph.lstm.
"""

from __future__ import annotations

from collections.abc import Sequence

from headrace.ir.core import Value
from headrace.ir.declare import op
from headrace.ir.dims import Dim
from headrace.ir.graph.families import Array, Sampler
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.recurrent import Arrays, Recurrent, Scan
from headrace.ir.graph.recurrent_node import Part, RecurrentNode
from headrace.ir.graph.recurrent_sample import RecurrentSample


@op("graph.rnn")
class Rnn(Recurrent):
    """The hidden state at every time, and the last one."""

    projected: Value
    recurrent: Value
    initial_h: Value | None
    lengths: Value | None
    hidden: int
    direction: str = "forward"
    functions: tuple[str, ...] = ("Tanh",)
    alphas: tuple[float, ...] = (0.0,)
    betas: tuple[float, ...] = (0.0,)
    clip: float = 0.0

    gates = 1
    defaults = ("Tanh",)

    def weights(self) -> Sequence[tuple[Value | None, tuple[Dim, ...]]]:
        return [(self.recurrent, (Dim.constant(self.directions), self.size, self.size))]

    def rooms(self) -> Sequence[int]:
        return [self.hidden]

    def step(self, scan: Scan) -> None:
        (total,) = scan.rooms
        self.contract(scan, scan.states[0], self.recurrent, total, self.gates, lambda p: self.share(scan, p))
        p = scan.points(self.size)
        self.advance(scan, p, [self.room(total, p)], lambda b, _, x: [self.activate(b, 0, x)])

    def step_reference(self, x: Array, states: Sequence[Array], d: int, given: Arrays) -> list[Array]:
        weights = given["recurrent"]
        assert weights is not None
        return [self.activated(0, x + self.product(states[0], weights[d]))]

    @classmethod
    def sample(cls, sampler: Sampler) -> Rnn:
        s = RecurrentSample(sampler, cls)
        return cls(s.projected, s.matrix(1), s.maybe_state(), s.lengths, s.hidden, *s.settings)


@onnx_import("RNN", since=7)
def _rnn(node: OnnxNode) -> Sequence[Value]:
    view = RecurrentNode(node, Rnn)
    bias = view.both_biases()

    def layer(part: Part) -> Rnn:
        shares = view.projected(part, bias)
        return Rnn(shares, view.matrix(part), view.state(5, part), view.lengths, view.hidden, *part.settings)

    return view.layers(layer)
