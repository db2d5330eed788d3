"""A node that cannot be compiled.  In: the node and why.  Out: its part of the message; its parts are its fields."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class UnsupportedNode:
    """A node that cannot be compiled, and why; `str(node)` is its part of the message."""

    name: str
    op: str
    domain: str
    opset: int | None  # None where the model imports no version of the domain
    inputs: tuple[str, ...]  # types like f32[n, 3], of those inputs that are known
    reason: str  # the nearest supported form too, where there is one

    def __str__(self) -> str:
        """`node 'a' (NonMaxSuppression, opset 13, of f32[1, 8, 4]): nothing here computes it`."""
        operator = f"{self.domain}.{self.op}" if self.domain else self.op
        operator = operator if operator.isprintable() else repr(operator)
        opset = "unknown" if self.opset is None else self.opset
        shown = f", of {', '.join(self.inputs)}" if self.inputs else ""
        return f"node {self.name!r} ({operator}, opset {opset}{shown}): {self.reason}"
