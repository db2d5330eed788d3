"""graph.if: one of two functions, chosen by data.

    %y = graph.if %c captures(%x) {then = @half, otherwise = @whole, symbol = "c", types = [f32[c*n]]} : f32[c*n]

The functions are private; both take the captured values, and nothing else of what is around them: that way every pass
on functions works on them as well.  A dim in which their results differ is a formula of `symbol`, which is 1 where the
condition holds and 0 where it does not (`selected`).  All formulas below may mention it, and the symbols that a
function reads from data: in the one that is not taken these are 1.
"""

from __future__ import annotations

from collections.abc import Sequence

from headrace.ir.access import SymbolRef
from headrace.ir.core import Operation, Value
from headrace.ir.declare import op
from headrace.ir.dims import Dim
from headrace.ir.graph.families import tensor
from headrace.ir.types import TensorType, Type


@op("graph.if")
class If(Operation):
    """What `then` gives where the condition, a bool, holds, else what `otherwise` gives."""

    condition: Value
    captures: tuple[Value, ...]
    then: SymbolRef
    otherwise: SymbolRef
    symbol: str
    types: tuple[TensorType, ...]

    def infer(self) -> Sequence[Type]:
        return self.types

    def verify_op(self) -> None:
        kind = tensor(self.condition)
        if kind.dtype.kind != "bool" or kind.elements != 1:
            raise self.fail(f"the condition is {kind}, expected one bool")

    @property
    def functions(self) -> tuple[SymbolRef, SymbolRef]:
        return self.then, self.otherwise


def selected(symbol: str, then: TensorType, otherwise: TensorType) -> TensorType | None:
    """The type of a value that is one or the other; None where no type is both."""
    if then.dtype != otherwise.dtype or then.rank != otherwise.rank:
        return None
    pairs = zip(then.dims, otherwise.dims, strict=True)
    return then.with_dims(tuple(a if a == b else b + Dim.symbol(symbol) * (a - b) for a, b in pairs))
