"""graph.constant: a tensor known at compile time; its elements lie in the constants store.

    %b = graph.constant {value = dense<[1.0, 2.0]> : f32[2]} : f32[2]

More than 16 elements stand in the text as digest and type, `#3f5a...: f32[64, 3, 3, 3]`.
"""

from __future__ import annotations

from collections.abc import Sequence

from headrace.ir.constants import ConstantRef
from headrace.ir.core import Operation
from headrace.ir.declare import op
from headrace.ir.types import Type


@op("graph.constant")
class Constant(Operation):
    """The array behind `value`."""

    value: ConstantRef

    def infer(self) -> Sequence[Type]:
        return [self.value.type]
