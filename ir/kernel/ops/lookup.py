"""kernel.check, kernel.let: errors of the data, and formulas that mention integers read from memory.

    kernel.func @rows(%table: buffer<f32[30522, 768]>, %ids: buffer<i64[n]>, %y: buffer<f32[n, 768]>)
        {outputs = 1, scalars = ["n"]} {
      kernel.parallel (t: task n) {
        %0 = kernel.load %ids[t] : i64
        %1 = kernel.index {value = 30522} : i64
        %2 = kernel.compare %0, %1 {predicate = lt} : bool                  // and whether it is negative
        kernel.check %2 values(%0, %1) {message = "index {0} is out of range for a dim of {1}", node = 1}
        kernel.let (row: given 30522) %0 {                              // a symbol like an axis, with one value
          kernel.for (j: sequential 768) {
            %3 = kernel.load %table[row, j] : f32
            kernel.store %3, %y[t, j]
          }
        }
      }
    }

A failed check ends the kernel; its *site*, the number of the check in the function's order from 1, is what the kernel
returns.  `values` (at most two) replace `{0}` and `{1}` in the message; `node` says which of the launch's nodes it is
about.  The compiler writes checks before what they protect: nothing is read at an index that is out of range.
"""

from __future__ import annotations

from headrace.ir.access import Axis
from headrace.ir.core import Operation, Region, Value
from headrace.ir.declare import op
from headrace.ir.types import BOOL, I64, ScalarType

MOST_VALUES = 2
VALUE_BYTES = 8 * MOST_VALUES  # what a kernel that fails leaves at the start of its scratch
OUT_OF_RANGE = "index {0} is out of range for a dim of {1}"


@op("kernel.check")
class Check(Operation):
    """An error with `message` unless the condition holds."""

    condition: Value
    values: tuple[Value, ...]
    message: str
    node: int = 0

    is_pure = False

    def verify_op(self) -> None:
        if self.condition.type != ScalarType(BOOL):
            raise self.fail(f"the condition is {self.condition.type}, expected bool")
        if len(self.values) > MOST_VALUES or any(v.type != ScalarType(I64) for v in self.values):
            raise self.fail(f"values are {', '.join(str(v.type) for v in self.values)}, expected at most two i64")
        if self.node < 0:
            raise self.fail(f"node is {self.node}, expected 0 or more")


@op("kernel.let")
class Let(Operation):
    """Runs its body with a symbol that stands for an integer; it must lie inside [0, extent)."""

    axes: tuple[Axis, ...]
    index: Value
    body: Region

    is_pure = False

    @property
    def axis(self) -> Axis:
        return self.axes[0]

    def verify_op(self) -> None:
        if len(self.axes) != 1 or self.axis.kind != "given":
            raise self.fail("expected one axis, of kind given")
        if self.index.type != ScalarType(I64):
            raise self.fail(f"the index is {self.index.type}, expected i64")


def filled_in(message: str, values: list[int]) -> str:
    """The message of a check with its values."""
    for number, value in enumerate(values):
        message = message.replace(f"{{{number}}}", str(value))
    return message
