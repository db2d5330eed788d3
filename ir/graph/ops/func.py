"""graph.func, graph.return: a function on tensors.

    graph.func @main(%x: f32[batch, 3]) {facts = ["batch in [1, 64]"], input_names = ["x"], output_names = ["y"]} {
      %y = graph.relu %x : f32[batch, 3]
      graph.return %y
    }

Names are those of the model.  A function without parameters and names stands for a constant that is computed
when the artefact is written.  A private one is called by others of the module (`graph.if`), and is no model by itself.
"""

from __future__ import annotations

from headrace.ir.access import SymbolRef
from headrace.ir.core import Operation, Region, Value
from headrace.ir.declare import op
from headrace.ir.module import Function
from headrace.ir.types import TensorType


@op("graph.func")
class GraphFunc(Function):
    """A function on tensors; `facts` speak of the symbols in its parameters' dims."""

    symbol: SymbolRef
    body: Region
    facts: tuple[str, ...] = ()
    input_names: tuple[str, ...] = ()
    output_names: tuple[str, ...] = ()
    private: bool = False

    @property
    def stands_for_constant(self) -> bool:
        """Whether it is no model, but what a `program.constant` means."""
        return not self.parameters and not self.output_names

    def verify_op(self) -> None:
        for value in (*self.parameters, *self.block.terminator.operands):
            if not isinstance(value.type, TensorType):
                raise self.fail(f"a parameter or result is {value.type}, expected a tensor")


@op("graph.return")
class Return(Operation):
    """Ends a graph.func."""

    values: tuple[Value, ...]

    is_terminator = True


@op("graph.yield")
class Yield(Operation):
    """Ends the region of a graph operation."""

    values: tuple[Value, ...]

    is_terminator = True
