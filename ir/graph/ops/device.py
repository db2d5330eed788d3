"""graph.device_func, graph.call: a part of a model that another device runs.

    %y = graph.call %x {function = @npu_0, types = [f32[n, 64]]} : f32[n, 64]

calls

    graph.device_func @npu_0(%x: f32[n, 64]) {device = "npu"} {
      %0 = graph.relu %x : f32[n, 64]
      graph.return %0
    }

It is no graph.func, so that passes on these leave it alone: it goes through the pipeline of its own target.  Its
formulas are over the caller's symbols, and it binds none of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

from headrace.ir.access import SymbolRef
from headrace.ir.core import Operation, Region, Value
from headrace.ir.declare import op
from headrace.ir.module import Function
from headrace.ir.types import TensorType, Type


@op("graph.device_func")
class DeviceFunc(Function):
    """A function on tensors for the target preset `device`."""

    symbol: SymbolRef
    body: Region
    device: str
    facts: tuple[str, ...] = ()


@op("graph.call")
class Call(Operation):
    """What a device's function gives, of these types, for these operands."""

    values: tuple[Value, ...]
    function: SymbolRef
    types: tuple[TensorType, ...]

    def infer(self) -> Sequence[Type]:
        return self.types
