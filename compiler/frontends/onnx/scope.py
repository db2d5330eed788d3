"""Names of values while a graph is imported.  In: a name.  Out: what it stands for, here or around.

A graph's nodes see its inputs, its initializers and one another's outputs; those of a branch also what is
around it; those of a function only its parameters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from onnx import AttributeProto, TensorProto

from headrace.compiler.frontends.onnx.held import Held


@dataclass
class Scope:
    """Names and what they stand for; None for the output of a node that cannot be imported."""

    opsets: Mapping[str, int]
    values: dict[str, Held | None] = field(default_factory=dict)
    constants: dict[str, TensorProto] = field(default_factory=dict)  # made when first used
    attributes: Mapping[str, AttributeProto] = field(default_factory=dict)  # of the function call
    above: Scope | None = None
    caller: str | None = None  # the node that is located, inside of a function
    depth: int = 0

    def within(self) -> Scope:
        """The scope of a graph within a node, whose nodes see all that is known here."""
        return Scope(self.opsets, {}, {}, self.attributes, self, self.caller, self.depth)

    def scopes(self) -> Iterable[Scope]:
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.above

    @property
    def names(self) -> list[str]:
        return [n for s in self.scopes() for n in (*s.values, *s.constants)]

    def holds(self, name: str) -> bool:
        return any(name in s.values or name in s.constants for s in self.scopes())
