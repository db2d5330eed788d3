"""Loops, conditions, barriers and terminators of the kernel dialect.

    kernel.parallel (j: task 48, i: task m) {    // iterations independent; `task`, `grid` and `thread` as kinds
      kernel.for (k: sequential 768) {           // in order; `unroll` as kind: the emitter expands it fully
        kernel.if {where = [-i + m - 1]} {       // runs the first region if each formula is >= 0
          kernel.barrier                         // all threads of the workgroup have arrived
        } else {
          kernel.barrier
        }
      }
    }

Axes run from 0 in steps of 1 and are named uniquely within the function.
"""

from __future__ import annotations

from headrace.ir.access import Axis
from headrace.ir.core import Operation, Region, Value
from headrace.ir.declare import op
from headrace.ir.dims import Dim
from headrace.ir.types import BOOL, ScalarType


@op("kernel.parallel")
class Parallel(Operation):
    """All points of the axes, in any order or at once; one thread each where the kind is `thread`."""

    axes: tuple[Axis, ...]
    body: Region

    is_pure = False

    def verify_op(self) -> None:
        kinds = {a.kind for a in self.axes}
        if not kinds <= {"parallel", "task", "grid", "thread"} or len(kinds) > 1:
            raise self.fail(f"axes of kinds {', '.join(sorted(kinds))}; expected one of parallel, task, grid, thread")


@op("kernel.for")
class For(Operation):
    """One axis, in order."""

    axes: tuple[Axis, ...]
    body: Region

    is_pure = False

    @property
    def axis(self) -> Axis:
        return self.axes[0]

    def verify_op(self) -> None:
        if len(self.axes) != 1 or self.axis.kind not in ("sequential", "unroll"):
            raise self.fail("expected one axis, sequential or unroll")
        if self.axis.kind == "unroll" and not self.axis.extent.is_constant:
            raise self.fail(f"axis {self.axis.name} is unroll, but its extent {self.axis.extent} is no constant")


@op("kernel.if")
class If(Operation):
    """Runs `then` if each formula of `where` is >= 0 and `condition`, if there is one, holds; else `otherwise`."""

    condition: Value | None
    where: tuple[Dim, ...]
    then: Region
    otherwise: Region

    is_pure = False

    def verify_op(self) -> None:
        if self.condition is not None and self.condition.type != ScalarType(BOOL):
            raise self.fail(f"the condition is {self.condition.type}, expected bool")


@op("kernel.barrier")
class Barrier(Operation):
    """Waits until every thread of the workgroup is here; writes before it are seen after it."""

    is_pure = False


@op("kernel.yield")
class Yield(Operation):
    """Ends the region of a map or reduce with the values it gives."""

    values: tuple[Value, ...]

    is_terminator = True
