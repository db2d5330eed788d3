"""graph.gru: gated recurrent units, one layer, one or two directions.

    %y, %h = graph.gru %shares, %r, %q, %bias, %h0, %lengths {hidden = 64, direction = "forward"} :
        f32[seq, n, 1, 64], f32[1, n, 64]

`shares` is the input's part of the gates z, r and of the candidate; `r` are the weights of the hidden state for the
gates, f32[1, 64, 128], `q` those for the candidate, f32[1, 64, 64].  With f, g the functions:

    z = f(x_z + h r_z)    r = f(x_r + h r_r)    h' = (1 - z) . n + z . h
    n = g(x_n + (r . h) q), or g(x_n + r . (h q + bias)) where `bias` is given (ONNX: linear_before_reset)

See graph.lstm.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headrace.ir.core import Value
from headrace.ir.declare import op
from headrace.ir.dims import Dim
from headrace.ir.graph.families import Array, Sampler
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.ops.arithmetic import Add
from headrace.ir.graph.ops.concat import Concat
from headrace.ir.graph.ops.fill import Fill
from headrace.ir.graph.recurrent import DIRECTIONS, Arrays, Recurrent, Scan
from headrace.ir.graph.recurrent_node import Part, RecurrentNode
from headrace.ir.graph.recurrent_sample import RecurrentSample
from headrace.ir.kernel.build import ScalarBuilder
from headrace.ir.kernel.writer import at

UPDATE, RESET, CANDIDATE = range(3)
OPENING, LAST = slice(UPDATE, CANDIDATE), slice(CANDIDATE, None)  # the gates proper, and the candidate


@op("graph.gru")
class Gru(Recurrent):
    """The hidden state at every time, and the last one."""

    projected: Value
    recurrent: Value
    candidate: Value
    candidate_bias: Value | None
    initial_h: Value | None
    lengths: Value | None
    hidden: int
    direction: str = "forward"
    functions: tuple[str, ...] = ("Sigmoid", "Tanh")
    alphas: tuple[float, ...] = (0.0, 0.0)
    betas: tuple[float, ...] = (0.0, 0.0)
    clip: float = 0.0

    gates = 3
    defaults = ("Sigmoid", "Tanh")

    def weights(self) -> Sequence[tuple[Value | None, tuple[Dim, ...]]]:
        directions = Dim.constant(self.directions)
        return [
            (self.recurrent, (directions, self.size, self.size * CANDIDATE)),
            (self.candidate, (directions, self.size, self.size)),
            (self.candidate_bias, (directions, self.size)),
        ]

    def rooms(self) -> Sequence[int]:
        before = [self.hidden] if self.candidate_bias is None else []
        return [self.hidden * CANDIDATE, self.hidden, *before]

    def step(self, scan: Scan) -> None:
        gates, product, *reset = scan.rooms
        self.contract(scan, scan.states[0], self.recurrent, gates, CANDIDATE, lambda p: self.share(scan, p))
        if self.candidate_bias is None:
            self._reset_before(scan, gates, product, *reset)
        else:
            self._reset_behind(scan, gates, product, scan.buffers[self.candidate_bias])

    def _reset_before(self, scan: Scan, gates: Value, product: Value, reset: Value) -> None:
        p = scan.points(self.size)
        reads = [self.room(gates, p, RESET), at(scan.states[0], *p.axes)]
        scan.w.map(p.axes, reads, [at(reset, *p.axes)], lambda b, r, h: [b.mul(self.activate(b, 0, r), h)])
        self.contract(scan, reset, self.candidate, product, 1, lambda p: self.share(scan, p, CANDIDATE))
        p = scan.points(self.size)

        def compute(b: ScalarBuilder, h: Value, z: Value, n: Value) -> list[Value]:
            return [self._mixed(b, h, z, self.activate(b, 1, n))]

        self.advance(scan, p, [self.room(gates, p, UPDATE), self.room(product, p)], compute)

    def _reset_behind(self, scan: Scan, gates: Value, product: Value, bias: Value) -> None:
        self.contract(scan, scan.states[0], self.candidate, product, 1, lambda p: at(bias, scan.d, p.element))
        p = scan.points(self.size)
        reads = [self.room(gates, p, UPDATE), self.room(gates, p, RESET), self.room(product, p)]

        def compute(b: ScalarBuilder, h: Value, z: Value, r: Value, n: Value, x: Value) -> list[Value]:
            return [self._mixed(b, h, z, self.activate(b, 1, b.muladd(self.activate(b, 0, r), n, x)))]

        self.advance(scan, p, [*reads, self.share(scan, p, CANDIDATE)], compute)

    def _mixed(self, b: ScalarBuilder, h: Value, z: Value, n: Value) -> Value:
        """(1 - z) n + z h."""
        opened = self.activate(b, 0, z)
        return b.muladd(opened, h, b.mul(b.sub(b.constant(1, opened), opened), n))

    def step_reference(self, x: Array, states: Sequence[Array], d: int, given: Arrays) -> list[Array]:
        (h,), weights, candidate, bias = states, given["recurrent"], given["candidate"], given["candidate_bias"]
        assert weights is not None and candidate is not None
        share = np.split(x, self.gates, axis=-1)
        products = np.split(self.product(h, weights[d]), CANDIDATE, axis=-1)
        update, reset = (self.activated(0, s + p) for s, p in zip(share, products, strict=False))
        if bias is None:
            inner = self.product(reset * h, candidate[d])
        else:
            inner = reset * (self.product(h, candidate[d]) + bias[d])
        return [(1 - update) * self.activated(1, share[CANDIDATE] + inner) + update * h]

    @classmethod
    def sample(cls, sampler: Sampler) -> Gru:
        s = RecurrentSample(sampler, cls)
        operands = (s.projected, s.matrix(CANDIDATE), s.matrix(1), s.maybe_vector(1), s.maybe_state(), s.lengths)
        return cls(*operands, s.hidden, *s.settings)


@onnx_import("GRU", since=7)
def _gru(node: OnnxNode) -> Sequence[Value]:
    view = RecurrentNode(node, Gru)
    behind = bool(node.attribute("linear_before_reset", 0))
    bias, inner = _biases(view, behind)

    def layer(part: Part) -> Gru:
        shares = view.projected(part, bias)
        weights, candidate = view.matrix(part, OPENING), view.matrix(part, LAST)
        added = None if inner is None else view.rows(inner, part)
        return Gru(shares, weights, candidate, added, view.state(5, part), view.lengths, view.hidden, *part.settings)

    return view.layers(layer)


def _biases(view: RecurrentNode, behind: bool) -> tuple[Value | None, Value | None]:
    """(what is added to the input's share, what is added to the candidate's product before the reset)."""
    if not behind:
        return view.both_biases(), None
    one, other, last = view.bias(False, OPENING), view.bias(True, OPENING), view.bias(False, LAST)
    if one is None or other is None or last is None:
        dims = (Dim.constant(DIRECTIONS[view.direction]), Dim.constant(view.hidden))
        return None, view.node.add(Fill(dims, 0.0, view.node.tensor(0).dtype))
    return view.node.add(Concat((view.node.add(Add(one, other)), last), 1)), view.bias(True, LAST)
