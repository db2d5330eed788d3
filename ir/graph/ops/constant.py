"""graph.constant: a tensor known at compile time; its elements lie in the constants store.

    %w = graph.constant {value = #3f5a0c...} : f32[64, 3, 3, 3]
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
