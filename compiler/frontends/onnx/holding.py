"""Nodes that hold graphs: If, Loop, Scan and SequenceMap.  In: the node, and how to import a graph.  Out: its outputs.

A graph becomes part of the one around it, a branch that data choose a function of its own, and the body of a loop one
too, or is written out for each turn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from onnx import GraphProto, NodeProto

from headrace.compiler.frontends.onnx.branches import is_squeezed_where, squeezes_or_hands_on
from headrace.compiler.frontends.onnx.held import Held, Tensors, is_structure
from headrace.compiler.frontends.onnx.node import NodeUnsupported
from headrace.compiler.frontends.onnx.outline import bodies, chosen
from headrace.compiler.frontends.onnx.scope import Scope
from headrace.compiler.frontends.onnx.state import State
from headrace.compiler.frontends.onnx.turning import Turning
from headrace.compiler.frontends.onnx.unrolled import TurnsUnknown, loop, scan
from headrace.ir.core import Value
from headrace.ir.errors import ModelError

HOLDING_GRAPHS = (("If", ""), ("Loop", ""), ("Scan", ""), ("SequenceMap", ""))


@dataclass(frozen=True)
class HoldingNode:
    """One of them; `attributes` are those that are no graphs, `graph` imports one in a scope that holds its inputs."""

    node: NodeProto
    name: str
    opset: int
    attributes: Mapping[str, Any]
    scope: Scope
    file: str
    state: State
    graph: Callable[[GraphProto, Scope], Sequence[Held | None]]

    def outputs(self, inputs: Sequence[Held | None]) -> Sequence[Held | None]:
        """None for an output that cannot be imported.  Raises NodeUnsupported and ModelError."""
        match self.node.op_type:
            case "If":
                return self._branch(inputs[0])
            case "SequenceMap":
                return self._mapped(inputs)
        if self.node.op_type == "Scan" and self.opset < 9:
            raise NodeUnsupported("known from opset 9 on")
        return self._turns(inputs)

    def _turns(self, inputs: Sequence[Held | None]) -> Sequence[Held | None]:
        """The outputs of Loop and Scan: written out where the number of turns is known and small."""
        turning = Turning(self._held("body"), self.name, self.scope, self.state, self.graph)
        is_loop = self.node.op_type == "Loop"
        try:
            if is_loop:
                return loop(inputs, self._body, self.state)
            return scan(inputs, self.attributes, self._body, self.state)
        except TurnsUnknown:  # nobody uses what was written out
            self.state.at(self.name)
        return turning.loop(inputs) if is_loop else turning.scan(inputs, self.attributes)

    def _held(self, name: str) -> GraphProto:
        found: GraphProto = next(a.g for a in self.node.attribute if a.name == name)
        return found

    def _fail(self, message: str) -> ModelError:
        return ModelError(f"{self.file}: node {self.name!r}: {message}")

    def _body(self, given: Sequence[Held | None]) -> Sequence[Held | None]:
        """The outputs of the node's body on these inputs, whose nodes become part of the graph around it."""
        body, inner = self._held("body"), self.scope.within()
        if len(body.input) != len(given):
            raise self._fail(f"its body takes {len(body.input)} inputs, expected {len(given)}")
        inner.values.update(zip((i.name for i in body.input), given, strict=True))
        found = self.graph(body, inner)
        self.state.at(self.name)
        return found

    def _of_branch(self, branch: GraphProto, scope: Scope) -> Sequence[Held | None]:
        if len(branch.output) != len(self.node.output):
            wanted = len(self.node.output)
            raise self._fail(f"branch {branch.name!r} has {len(branch.output)} outputs, expected {wanted}")
        return self.graph(branch, scope)

    def _branch(self, condition: Held | None) -> Sequence[Held | None]:
        """The outputs of the branch that is taken; one that data choose is a function."""
        if not isinstance(condition, Value):
            raise NodeUnsupported("the condition is no tensor")
        branches = [self._held("then_branch"), self._held("else_branch")]
        known = self.state.integers(condition)
        if known is not None and len(known) == 1 and known[0].is_constant:
            return self._of_branch(branches[0 if known[0].value else 1], self.scope.within())
        if squeezes_or_hands_on(*branches):
            (squeezed,) = self._of_branch(branches[0], self.scope.within())
            if not isinstance(squeezed, Value) or is_squeezed_where(condition, squeezed, self.state):
                return [squeezed]
        found, given = bodies(branches, self.scope, self.state)
        results = []
        for branch, body in zip(branches, found, strict=True):
            with self.state.builder.at(body.block):
                results.append(self._of_branch(branch, body.scope))
        if any(is_structure(v) for values in results for v in values):
            raise NodeUnsupported("a branch that data choose makes a sequence or an optional, expected tensors")
        made = [[v for v in values if isinstance(v, Value)] for values in results]
        if made != results:
            return [None] * len(self.node.output)
        self.state.at(self.name)
        return chosen(condition, found[0], found[1], made, given, self.state)

    def _mapped(self, inputs: Sequence[Held | None]) -> Sequence[Held | None]:
        """The outputs of SequenceMap: its body once for each element of the first sequence."""
        lengths = [len(v.elements) for v in inputs if isinstance(v, Tensors)]
        if not isinstance(inputs[0], Tensors) or len(set(lengths)) > 1:
            raise self._fail(f"sequences of {lengths} elements, expected the first input to be one, all of one length")
        columns: list[list[Value | None]] = [[] for _ in self.node.output]
        for number in range(lengths[0]):
            given = [v.elements[number] if isinstance(v, Tensors) else v for v in inputs]
            for column, found in zip(columns, self._body(given), strict=True):
                if is_structure(found):
                    raise self._fail("the body makes a sequence, expected tensors")
                column.append(found if isinstance(found, Value) else None)
        return [None if None in c else Tensors(tuple(v for v in c if v is not None)) for c in columns]
